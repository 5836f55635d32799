//! The rules of the house, as tests: `cargo xtask tidy` runs them, and so does every test run.
//!
//! `sources` reads texts, `directions` holds the code map against cargo's view, `flags` looks for flags
//! that are accepted and then ignored. What cargo itself checks (formatting, clippy, documents) is not
//! repeated; that generated code is up to date is a test of `storeapi-proto`. Invariant: a finding
//! names file and line, and all findings of a rule are told at once.

mod directions;
mod flags;
mod sources;

use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A text file of the workspace.
struct Text {
    /// Path from the root.
    path: String,
    content: String,
}

impl Text {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.content.lines().enumerate().map(|(i, line)| (i + 1, line))
    }
}

/// Every text file; what is built, fetched or fuzzed apart.
fn texts() -> Vec<Text> {
    const SKIPPED: &[&str] = &["target", ".git", "corpus", "artifacts", "coverage", "node_modules"];
    let (root, mut out) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() && !SKIPPED.contains(&entry.file_name().to_string_lossy().as_ref()) {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(content) = std::fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                out.push(Text { path, content });
            }
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// Rust files that people wrote.
fn sources() -> Vec<Text> {
    let written = |t: &Text| t.path.ends_with(".rs") && !t.path.contains("/src/gen/");
    texts().into_iter().filter(written).collect()
}

/// Fails with all findings.
fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

//! Watched files: a glance, a hash, an expanded copy.
//!
//! Holds file work only. Links are followed, because Kubernetes swaps them. Invariant: the copy is put in
//! place whole.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use aws_lc_rs::digest::{Context, SHA256};

/// The most an unpacked configuration may hold.
const MAX_CONFIG: u64 = 256 << 20;

/// Sizes and times of all watched files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Glance(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Glance {
    pub(super) fn take(&mut self, file: &str, dirs: &[String]) -> std::io::Result<()> {
        if !file.is_empty() {
            self.note(file.into())?;
        }
        dirs.iter().try_for_each(|dir| walk(Path::new(dir), &mut |path| self.note(path.to_owned())))
    }

    fn note(&mut self, path: PathBuf) -> std::io::Result<()> {
        let found = path.metadata()?;
        self.0.push((path, found.len(), found.modified().ok()));
        Ok(())
    }
}

/// Calls `visit` for every file below `dir`, sorted. Directories behind links are not entered, as
/// upstream, so that a link cannot make a circle.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, visit)?;
        } else if path.metadata()?.is_file() {
            visit(&path)?;
        }
    }
    Ok(())
}

fn hash_into(digest: &mut Context, path: &Path) -> std::io::Result<()> {
    digest.update(path.as_os_str().as_encoded_bytes());
    digest.update(&[0xff]);
    digest.update(&std::fs::read(path)?);
    Ok(())
}

pub(super) fn hash_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut digest = Context::new(&SHA256);
    hash_into(&mut digest, path).with_context(|| format!("hash file {}", path.display()))?;
    Ok(digest.finish().as_ref().to_vec())
}

pub(super) fn hash_dirs(dirs: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut digest = Context::new(&SHA256);
    for dir in dirs {
        walk(Path::new(dir), &mut |path| hash_into(&mut digest, path))
            .with_context(|| format!("build hash of {dir}"))?;
    }
    Ok(digest.finish().as_ref().to_vec())
}

/// Writes `from` to `to`: unpacked where it is gzip, `$(NAME)` replaced from the environment.
pub(super) fn expand_to(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(from).context("read file")?;
    if bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .take(MAX_CONFIG)
            .read_to_end(&mut plain)
            .context("read compressed config file")?;
        bytes = plain;
    }
    let text = String::from_utf8(bytes).context("config file is not UTF-8")?;
    let expanded = expand(&text, |name| std::env::var(name).ok()).context("expand environment variables")?;
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = to.with_file_name(name);
    let placed = std::fs::write(&beside, expanded).and_then(|()| std::fs::rename(&beside, to));
    if placed.is_err() {
        // The error that counts is the one above.
        let _ = std::fs::remove_file(&beside);
    }
    placed.with_context(|| format!("write file {}", to.display()))
}

/// Replaces `$(NAME)`, NAME of letters, digits and underscores that does not begin with a digit.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let name = &inner[..end];
        if inner[end..].starts_with(')') && name.starts_with(|c: char| !c.is_ascii_digit()) {
            let value = variable(name)
                .with_context(|| format!("found reference to unset environment variable {name:?}"))?;
            out.push_str(&value);
            rest = &inner[end + 1..];
        } else {
            out.push_str("$(");
            rest = inner;
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let env = |n: &str| (n == "POD_1").then(|| "p".to_owned());
        assert_eq!(expand("a: $(POD_1)-$POD_1-${POD_1}-$(", env).unwrap(), "a: p-$POD_1-${POD_1}-$(");
        assert_eq!(expand("$(1A) $(a b)", env).unwrap(), "$(1A) $(a b)");
        assert!(expand("$(NONE)", env).unwrap_err().to_string().contains("NONE"));
    }

    #[test]
    fn copies_hashes_and_glances_follow_the_files() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("in.gz"), dir.path().join("out"));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"global: {}\n").unwrap();
        std::fs::write(&from, packed.finish().unwrap()).unwrap();
        expand_to(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"global: {}\n");
        let rules = dir.path().join("rules");
        std::fs::create_dir_all(rules.join("deep")).unwrap();
        let dirs = [rules.display().to_string()];
        let look = || {
            let mut g = Glance::default();
            g.take("", &dirs).unwrap();
            (g, hash_dirs(&dirs).unwrap())
        };
        let empty = look();
        assert_eq!(empty, look());
        std::fs::write(rules.join("deep/a.yml"), "x").unwrap();
        assert!(empty.0 != look().0 && empty.1 != look().1);
    }
}

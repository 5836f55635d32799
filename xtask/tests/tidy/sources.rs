//! Rules that a text shows by itself: heads, lengths, words.

use crate::{none, root, sources, texts};

/// Files that may be longer than [`LONGEST`], each with the reason.
const LONG: &[(&str, &str)] = &[];

/// The hard limit; about 500 lines is the aim.
const LONGEST: usize = 600;

/// The most lines of a binary's `main.rs`: it hands over, and that is all.
const LONGEST_MAIN: usize = 20;

#[test]
fn every_module_begins_with_its_head() {
    let headless = |t: &crate::Text| !t.content.starts_with("//! ");
    let found = sources().into_iter().filter(headless).map(|t| t.path).collect();
    none("a module says on its first line what it is (`//! …`)", found);
}

#[test]
fn files_keep_to_one_idea() {
    let mut found = Vec::new();
    for text in sources() {
        let (lines, excused) = (text.content.lines().count(), LONG.iter().any(|(p, _)| *p == text.path));
        match (lines > LONGEST, excused) {
            (true, false) => found.push(format!("{}: {lines} lines", text.path)),
            (false, true) => found.push(format!("{}: no longer long, strike it from the list", text.path)),
            _ => {}
        }
    }
    found.extend(LONG.iter().filter(|(p, _)| !root().join(p).exists()).map(|(p, _)| format!("{p} is gone")));
    none("a file has at most 600 lines, or a reason", found);
}

#[test]
fn binaries_only_hand_over() {
    let mains = sources().into_iter().filter(|t| t.path.ends_with("/src/main.rs"));
    let long = mains.filter(|t| t.content.lines().count() >= LONGEST_MAIN);
    none("main.rs has fewer than 20 lines", long.map(|t| t.path).collect());
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file is not found.
    let words = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ig", "nore")];
    let mut found = Vec::new();
    for text in sources() {
        // Examples in documents may leave out what they are not about.
        for (n, line) in text.lines().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            found.extend(
                words.iter().filter(|w| line.contains(*w)).map(|w| format!("{}:{n}: {w}", text.path)),
            );
        }
    }
    none("code is finished and tests run", found);
}

#[test]
fn no_text_names_one_machine_or_a_package_registry() {
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let hosts = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("proxy.golang", ".org"),
        concat!("npmjs", ".org"),
        concat!("deb.debian", ".org"),
    ];
    let mut found = Vec::new();
    for text in texts() {
        let lock = text.path.ends_with("Cargo.lock");
        for (n, line) in text.lines() {
            let host = hosts.iter().find(|h| line.contains(*h) && !(lock && line.starts_with("source = ")));
            if let Some(word) = host.or(paths.iter().find(|p| line.contains(*p))) {
                found.push(format!("{}:{n}: {word}", text.path));
            }
        }
    }
    none("texts hold on any machine", found);
}

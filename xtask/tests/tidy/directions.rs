//! The code map against `cargo metadata`: every crate is on it, and no edge runs against it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{none, root};

fn metadata() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    all["packages"].as_array().unwrap().clone()
}

fn name(of: &Value) -> String {
    of["name"].as_str().unwrap().to_owned()
}

/// A table row's cells as lists of words in backquotes.
fn cells(line: &str) -> Vec<Vec<String>> {
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    line.trim_matches('|').split('|').map(quoted).collect()
}

fn map() -> String {
    std::fs::read_to_string(root().join("crates/README.md")).unwrap()
}

/// The table under "Direction": a crate, and what it may link.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let map = map();
    let section = map.split("\n## ").find(|s| s.starts_with("Direction")).expect("a section Direction");
    let rows = section.lines().filter(|l| l.starts_with("| `"));
    rows.map(|line| {
        let mut cells = cells(line).into_iter();
        let name = cells.next().unwrap().remove(0);
        (name, cells.next().unwrap_or_default().into_iter().collect())
    })
    .collect()
}

#[test]
fn every_edge_is_in_the_table() {
    let (allowed, packages) = (allowed(), metadata());
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let mut found = Vec::new();
    for package in &packages {
        let from = name(package);
        let Some(may) = allowed.get(&from) else {
            found.push(format!("{from} is not in the table"));
            continue;
        };
        for edge in package["dependencies"].as_array().unwrap() {
            let to = name(edge);
            // Tests and benches may use more.
            if edge["kind"] != "dev" && ours.contains(&to) && !may.contains(&to) {
                found.push(format!("{from} links {to}"));
            }
        }
    }
    found.extend(allowed.keys().filter(|c| !ours.contains(*c)).map(|c| format!("{c} is no crate")));
    none("crates link what crates/README.md allows", found);
}

#[test]
fn the_table_has_no_circle() {
    let mut left = allowed();
    while !left.is_empty() {
        let free = left.iter().find(|(_, may)| may.iter().all(|m| !left.contains_key(m)));
        let free = free.unwrap_or_else(|| panic!("a circle among {:?}", left.keys())).0.clone();
        left.remove(&free);
    }
}

#[test]
fn every_crate_is_on_the_map_with_its_invariant() {
    let map = map();
    let described: BTreeSet<String> = map
        .lines()
        .filter(|l| l.starts_with("| `") && l.trim_matches('|').split('|').count() == 3)
        .map(|l| cells(l).remove(0).remove(0))
        .collect();
    let missing = metadata().iter().map(name).filter(|n| !described.contains(n)).collect();
    none("crates/README.md has a line for every crate", missing);
}

#[test]
fn every_package_keeps_the_workspace_rules() {
    let mut found = Vec::new();
    for package in metadata() {
        let manifest = package["manifest_path"].as_str().unwrap();
        let folder = std::path::Path::new(manifest).parent().unwrap();
        if folder.file_name().unwrap().to_string_lossy() != name(&package) {
            found.push(format!("{}: a package is named as its folder", name(&package)));
        }
        if package["publish"] != serde_json::json!([]) {
            found.push(format!("{}: publish.workspace is missing", name(&package)));
        }
        if !std::fs::read_to_string(manifest).unwrap().contains("[lints]\nworkspace = true") {
            found.push(format!("{}: the workspace's lints are missing", name(&package)));
        }
    }
    none("packages are alike", found);
}

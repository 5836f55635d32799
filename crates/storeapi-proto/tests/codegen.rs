//! The generated code is what `proto/` gives; `UPDATE_EXPECT=1` rewrites it.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every definition below `proto/`, as paths relative to it, in a fixed order.
fn definitions(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("proto/ is readable").flatten() {
        let folder = entry.path();
        for file in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|e| e == "proto") {
                found.push(path.strip_prefix(dir).expect("below proto/").display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn generated_code_is_up_to_date() {
    let proto = root().join("proto");
    let out = std::env::temp_dir().join(format!("storeapi-proto-codegen-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("a scratch folder");
    let descriptors = protox::compile(definitions(&proto), [&proto]).expect("the definitions compile");
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(&out)
        .compile_fds(descriptors)
        .expect("the code generates");

    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(&out).expect("generated files").flatten() {
        let fresh = std::fs::read_to_string(entry.path()).expect("generated code is text");
        let target = committed.join(entry.file_name());
        if std::fs::read_to_string(&target).unwrap_or_default() != fresh {
            stale.push(target.display().to_string());
            if update {
                std::fs::write(&target, fresh).expect("src/gen is writable");
            }
        }
    }
    std::fs::remove_dir_all(&out).expect("the scratch folder goes");
    assert!(update || stale.is_empty(), "run `cargo xtask codegen`; stale: {stale:?}");
}

//! Text as a bucket's configuration: read or refused with a reason, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use objstore::config::{parse, validate};

fuzz_target!(|text: &str| {
    if let Err(e) = validate(text) {
        assert!(!e.to_string().is_empty());
    }
    // The provider's part is reached whatever the rest says.
    if let Ok(outer) = parse(text) {
        assert!(outer.kind.len() <= text.len() + 64);
    }
    let _ = validate(&format!("type: S3\nconfig:\n  {}", text.replace('\n', "\n  ")));
    let _ = validate(&format!("type: FILESYSTEM\nconfig:\n  {}", text.replace('\n', "\n  ")));
});

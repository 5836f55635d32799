//! A pattern and values, separated by zero bytes: no panic, and the fast paths agree with the
//! automaton.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::regexp::Regexp;
use model::{MatchType, Matcher};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|b| *b == 0);
    let pattern = parts.next().unwrap_or_default();
    let Ok(matcher) = Matcher::from_bytes(MatchType::Regexp, b"a", pattern) else { return };
    let _ = matcher.to_string();
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    // Repetitions compile to large automata; the matcher above has shown that they do not panic.
    if pattern.contains('{') {
        return;
    }
    let Ok(automaton) = Regexp::new(pattern) else { return };
    for value in parts.map(String::from_utf8_lossy) {
        let matched = matcher.matches(&value);
        assert_eq!(matched, automaton.is_match(&value), "{pattern:?} on {value:?}");
        if matched {
            assert!(value.starts_with(matcher.prefix()));
            assert!(matcher.set_matches().is_none_or(|s| s.iter().any(|w| *w == value)));
        }
    }
});

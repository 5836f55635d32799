//! Tests of `matcher`.

use super::pattern::Pattern;
use super::*;
use crate::regexp::{Regexp, parse};
use proptest::prelude::*;

fn regexp(pattern: &str) -> Matcher {
    Matcher::new(MatchType::Regexp, "a", pattern).unwrap()
}

#[test]
fn sets_and_prefixes_are_drawn_from_patterns() {
    let rows: &[(&str, Option<&[&str]>, &str)] = &[
        ("foo|bar|foo", Some(&["foo", "bar"]), ""),
        ("foo", Some(&["foo"]), "foo"),
        ("pod-(a|b)[12]", Some(&["pod-a1", "pod-a2", "pod-b1", "pod-b2"]), "pod-"),
        ("^(?:x|y)$", Some(&["x", "y"]), ""),
        ("a.?", None, "a"),
        (r"a\.b?", Some(&["a.b", "a."]), "a."),
        ("(?i)foo", None, ""),
        ("foo.*", None, "foo"),
        ("(foo|foz)[0-9]+", None, "fo"),
        ("é|è", Some(&["é", "è"]), ""),
        ("", Some(&[""]), ""),
    ];
    for (pattern, set, prefix) in rows {
        let m = regexp(pattern);
        let got = m.set_matches().map(|s| s.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(got.as_deref(), *set, "{pattern}");
        assert_eq!(m.prefix(), *prefix, "{pattern}");
    }
}

#[test]
fn common_patterns_need_no_automaton() {
    let fast = [
        ".*",
        ".+",
        "",
        "a|b",
        "foo.*",
        "foo.+",
        ".*foo",
        ".+foo.+",
        ".*a.*b.*",
        "(?i)go",
        "(?i:http).*",
        "(a|b).*",
        ".*(x|y).*",
        "^foo.*$|bar",
        "api-.*|web-.+",
    ];
    for pattern in fast {
        let want = !pattern.contains('^');
        assert_eq!(Pattern::new(pattern).unwrap().is_fast(), want, "{pattern}");
    }
    assert!(!Pattern::new("[0-9]+").unwrap().is_fast());
}

#[test]
fn any_number_of_escaped_words_is_a_set() {
    let hosts: Vec<String> = (0..1000).map(|i| format!(r"host-{i}.example:9100|{i}")).collect();
    let pattern: Vec<String> = hosts.iter().map(|h| h.replace('.', r"\.").replace('|', r"\|")).collect();
    let m = Matcher::new(MatchType::Regexp, "instance", pattern.join("|")).unwrap();
    assert_eq!(m.set_matches(), Some(&hosts[..]));
    assert!(m.matches("host-999.example:9100|999") && !m.matches("host-9-example:9100|9"));
    // What has a meaning, escaped or not, is no word.
    for (pattern, yes, no) in [
        (r"a\.b|c.", "cx", "axb"),
        (r"\d|a", "5", r"\d"),
        (r"\Qa.\E|b", "a.", "ax"),
        (r"a\.b|(c)", "c", "(c)"),
    ] {
        let m = Matcher::new(MatchType::Regexp, "a", pattern).unwrap();
        assert!(m.matches(yes) && !m.matches(no), "{pattern}");
    }
    assert!(Matcher::new(MatchType::Regexp, "a", r"a\.b\").is_err());
}

#[test]
fn bytes_that_are_no_text_are_kept_and_match_nothing() {
    let m = Matcher::from_bytes(MatchType::Equal, b"a", b"x\xff").unwrap();
    assert_eq!(m.to_string(), r#"a="x\xff""#);
    assert!(!m.matches("x\u{fffd}") && m.inverse().matches("x\u{fffd}"));
    let m = Matcher::from_bytes(MatchType::Regexp, b"a", b"\xff").unwrap();
    assert!(!m.matches("\u{fffd}"));
    let e = Matcher::from_bytes(MatchType::Regexp, b"a", b"a*\xff").unwrap_err();
    assert_eq!(e.to_string(), "error parsing regexp: invalid UTF-8: `\u{fffd}`");
}

proptest! {
    /// The fast paths and the automaton agree.
    #[test]
    fn fast_paths_agree_with_the_automaton(
        pattern in "(\\(\\?i\\))?(\\.\\*|\\.\\+|a|b|K|é|\\(a\\||\\)|b\\?|x\\||\\[ab\\]){0,6}",
        values in proptest::collection::vec("[abkKAB\u{212a}é\n]{0,6}", 8),
    ) {
        let Ok((node, _)) = parse(&pattern) else { return Ok(()) };
        let (fast, slow) = (Pattern::new(&pattern).unwrap(), Regexp::compile(&pattern, &node, false).unwrap());
        for value in values {
            prop_assert_eq!(fast.is_match(&value), slow.is_match(&value), "{} on {:?}", pattern, value);
            if fast.is_match(&value) {
                prop_assert!(value.starts_with(fast.prefix()));
                prop_assert!(fast.set().is_none_or(|s| s.contains(&value)));
            }
        }
    }

    /// No pattern makes it panic.
    #[test]
    fn any_text_is_answered(pattern in "\\PC{0,24}|[\\\\\\[\\](){}|*+?.^$apPxQE0-9:<>i-]{0,24}", value in "\\PC{0,8}") {
        if let Ok(p) = Pattern::new(&pattern) {
            p.is_match(&value);
        }
    }
}

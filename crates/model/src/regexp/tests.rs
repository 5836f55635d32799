//! Tests of `regexp`.

use super::*;

fn error(pattern: &str) -> String {
    Regexp::new(pattern).unwrap_err().to_string()
}

#[test]
fn refusals_are_in_gos_words() {
    // Recorded from Go 1.26.
    let rows = [
        ("(", "missing closing ): `(`"),
        (")", "unexpected ): `)`"),
        ("a)", "unexpected ): `a)`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("[a", "missing closing ]: `[a`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\y", r"invalid escape sequence: `\y`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"a\", "trailing backslash at end of expression: ``"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?P<a", "invalid named capture: `(?P<a`"),
        ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
    ];
    for (pattern, want) in rows {
        assert_eq!(error(pattern), format!("error parsing regexp: {want}"), "{pattern}");
    }
}

#[test]
fn meaning_is_gos() {
    let rows = [
        ("a.c", "a\nc", true),
        ("(?-s)a.c", "a\nc", false),
        ("a$b", "a\nb", false),
        ("(?m)a$\n^b", "a\nb", true),
        ("(?i)straSSe", "STRASSE", true),
        ("(?i)k", "\u{212a}", true),
        (r"\d+", "٣", false),
        (r"\w", "é", false),
        (r"\bfoo\b", "foo", true),
        (r"\Qa.b*\E+", "a.b***", true),
        ("[[:alpha:]]+", "abc", true),
        ("[^a]", "\n", true),
        (r"\p{Greek}+", "αβγ", true),
        (r"\pN", "½", true),
        ("a{,2}", "a{,2}", true),
        ("x{0}", "", true),
        (r"\x{e9}\x41\101\t", "éAA\t", true),
        ("", "", true),
        ("", "a", false),
        ("a|b|", "", true),
    ];
    for (pattern, text, want) in rows {
        assert_eq!(Regexp::new(pattern).unwrap().is_match(text), want, "{pattern} on {text:?}");
    }
}

#[test]
fn groups_are_expanded_as_in_go() {
    let re = Regexp::new("(?P<a>x+)(y)?(?<b>.*)").unwrap();
    assert_eq!(re.replace("xxyz", "$1-$2-$b-${a}-$$1-$").as_deref(), Some("xx-y-z-xx-$1-$"));
    assert_eq!(re.replace("xz", "[$2][$9][$nope][$1x][${1}x]").as_deref(), Some("[][][][][xx]"));
    assert_eq!(re.replace("zz", "$1"), None);
    let twice = Regexp::new("(?P<n>a)?(?P<n>b)").unwrap();
    assert_eq!((twice.replace("ab", "$n"), twice.replace("b", "$n")), (Some("a".into()), Some("b".into())));
}

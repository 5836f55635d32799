//! Tests of `gofmt`.

use super::*;

#[test]
fn floats_are_written_as_go_writes_them() {
    // (value, 'f', 'g', 'e', %.3f), recorded from Go 1.26.
    let rows: &[(f64, &str, &str, &str, &str)] = &[
        (0.0, "0", "0", "0e+00", "0.000"),
        (-0.0, "-0", "-0", "-0e+00", "-0.000"),
        (100000.0, "100000", "100000", "1e+05", "100000.000"),
        (1000000.0, "1000000", "1e+06", "1e+06", "1000000.000"),
        (123456789.0, "123456789", "1.23456789e+08", "1.23456789e+08", "123456789.000"),
        (0.0001, "0.0001", "0.0001", "1e-04", "0.000"),
        (0.00001, "0.00001", "1e-05", "1e-05", "0.000"),
        (0.0005, "0.0005", "0.0005", "5e-04", "0.001"),
        (
            12345678901234567890.0,
            "12345678901234567000",
            "1.2345678901234567e+19",
            "1.2345678901234567e+19",
            "12345678901234567168.000",
        ),
        (f64::INFINITY, "+Inf", "+Inf", "+Inf", "+Inf"),
        (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf", "-Inf"),
        (f64::NAN, "NaN", "NaN", "NaN", "NaN"),
    ];
    for (v, f, g, e, three) in rows {
        assert_eq!(float(*v), *f);
        assert_eq!(float_g(*v), *g);
        assert_eq!(float_e(*v), *e);
        assert_eq!(float_fixed(*v, 3), *three);
    }
}

#[test]
fn of_two_equally_near_decimals_the_even_one_is_written() {
    // Exactly halfway: …203125, …5, …5.
    assert_eq!(float(191_387_270_444.203_12), "191387270444.20312");
    assert_eq!(float(-191_387_270_444.203_12), "-191387270444.20312");
    assert_eq!(float_e(191_387_270_444.203_12), "1.9138727044420312e+11");
    assert_eq!(float(191_387_270_444.234_38), "191387270444.23438");
    assert_eq!(float(5e-324), "0.".to_owned() + &"0".repeat(323) + "5");
    assert_eq!(float(2f64.powi(-25)), "0.000000029802322387695312");
    assert_eq!(float_e(2f64.powi(-24)), "5.960464477539063e-08");
    assert_eq!(float(4_503_599_627_370_497.5), "4503599627370498");
    assert_eq!(float(2_251_799_813_685_248.75), "2251799813685249");
    assert_eq!(float(2f64.powi(60) + 512.0), "1152921504606847500");
    assert_eq!((float(1e23), float_e(1e23)), ("1".to_owned() + &"0".repeat(23), "1e+23".into()));
    assert_eq!(float(9_007_199_254_740_993.0 * 2.0), "18014398509481984");
    assert_eq!(
        (float(0.5), float(1048576.125), float(0.1 + 0.2)),
        ("0.5".into(), "1048576.125".into(), "0.30000000000000004".into())
    );
}

#[test]
fn quotes_are_go_quotes() {
    assert_eq!(quote("a\"b\\c'd"), r#""a\"b\\c'd""#);
    assert_eq!(quote("\u{7}\u{8}\u{c}\n\r\t\u{b}\0\u{7f}"), r#""\a\b\f\n\r\t\v\x00\x7f""#);
    assert_eq!(
        quote("é世\u{a0}\u{ad}\u{feff}\u{fffd}\u{e0001}"),
        "\"é世\\u00a0\\u00ad\\ufeff\u{fffd}\\U000e0001\""
    );
    assert_eq!(quote_bytes(b"a\xffb\xe4\xb8"), r#""a\xffb\xe4\xb8""#);
    assert_eq!(
        (quote_rune('\''), quote_rune('"'), quote_rune('\n')),
        (r"'\''".into(), "'\"'".into(), r"'\n'".into())
    );
    assert_eq!((unicode_name('a'), unicode_name('\n')), ("U+0061 'a'".into(), "U+000A".into()));
}

#[test]
fn floats_are_read_as_go_reads_them() {
    let mut rows = 0;
    for row in include_str!("../../testdata/parse_float.tsv").lines().filter(|l| !l.starts_with('#')) {
        let (text, want) = row.split_once('\t').unwrap();
        let want = match want {
            "range" => Err(FloatError::Range),
            "syntax" => Err(FloatError::Syntax),
            bits => Ok(u64::from_str_radix(bits, 16).unwrap()),
        };
        assert_eq!(parse_float(text).map(f64::to_bits), want, "{text:?}");
        rows += 1;
    }
    assert!(rows > 300);
}

//! Samples as JSON, byte for byte as Prometheus writes them.
//!
//! Holds the writers of numbers, times, labels and histograms (`web/api/v1/json_codec.go`,
//! `util/jsonutil`). It knows no answer around them. Invariant: what is written is valid JSON for every
//! value, NaN and infinities included, which stand in strings.

use model::{FloatHistogram, Labels, Millis};

/// A sample's value in quotes: the shortest digits, with an exponent only for the very small and large.
pub fn value(out: &mut Vec<u8>, v: f64) {
    out.push(b'"');
    float(out, v);
    out.push(b'"');
}

/// The digits of [`value`].
#[inline]
pub fn float(out: &mut Vec<u8>, v: f64) {
    // Whole numbers are what counters have. The conversion saturates: what is too large is unequal, or
    // fails the bound.
    let whole = v as i64;
    if whole as f64 == v && whole.unsigned_abs() < 9_000_000_000_000_000 && (whole != 0 || v.to_bits() == 0) {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else {
        fraction(out, v);
    }
}

fn fraction(out: &mut Vec<u8>, v: f64) {
    let size = v.abs();
    if !v.is_finite() {
        out.extend_from_slice(model::gofmt::float(v).as_bytes());
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        out.extend_from_slice(model::gofmt::float_e(v).as_bytes());
    } else if (1e-5..9e15).contains(&size) {
        // Several times faster than formatting, and without an exponent in this range.
        out.extend_from_slice(zmij::Buffer::new().format_finite(v).as_bytes());
    } else {
        out.extend_from_slice(model::gofmt::float(v).as_bytes());
    }
}

/// A value in quotes that never has an exponent: scalars.
pub fn plain_value(out: &mut Vec<u8>, v: f64) {
    out.push(b'"');
    out.extend_from_slice(model::gofmt::float(v).as_bytes());
    out.push(b'"');
}

/// Milliseconds as seconds, with three digits behind the point where they are needed.
pub fn time(out: &mut Vec<u8>, t: Millis) {
    if t < 0 {
        out.push(b'-');
    }
    let t = t.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(t / 1000).as_bytes());
    let fraction = t % 1000;
    if fraction != 0 {
        let digits = [fraction / 100, fraction / 10 % 10, fraction % 10].map(|d| b'0' + d as u8);
        out.push(b'.');
        out.extend_from_slice(&digits);
    }
}

/// A string in quotes.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                let digits = [HEX[(other >> 4) as usize], HEX[(other & 15) as usize]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

/// Labels as an object.
pub fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter_bytes().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// A native histogram as an object; empty buckets are left out.
pub fn histogram(out: &mut Vec<u8>, h: &FloatHistogram) {
    out.extend_from_slice(b"{\"count\":");
    value(out, h.count);
    out.extend_from_slice(b",\"sum\":");
    value(out, h.sum);
    let custom = h.uses_custom_buckets();
    let mut any = false;
    for bucket in h.all_buckets().into_iter().filter(|b| b.count != 0.0) {
        out.extend_from_slice(if any { b"," } else { b",\"buckets\":[" });
        any = true;
        let zero = bucket.lower == -bucket.upper;
        let closed_below = zero || if custom { bucket.index == 0 } else { bucket.lower < 0.0 };
        let closed_above = zero || custom || bucket.upper > 0.0;
        // Which bounds belong to the bucket: 0 the upper, 1 the lower, 2 none, 3 both.
        let bounds = match (closed_below, closed_above) {
            (true, true) => b'3',
            (false, false) => b'2',
            (true, false) => b'1',
            (false, true) => b'0',
        };
        out.extend_from_slice(&[b'[', bounds, b',']);
        value(out, bucket.lower);
        out.push(b',');
        value(out, bucket.upper);
        out.push(b',');
        value(out, bucket.count);
        out.push(b']');
    }
    out.extend_from_slice(if any { b"]}" } else { b"}" });
}

#[cfg(test)]
mod tests {
    use model::Span;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fractions_have_the_shortest_digits_and_of_two_the_even() {
        let mut random = 1u64;
        for _ in 0..200_000 {
            // Xorshift; mantissas short and long, with exponents around zero.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let long = (random >> 11) as f64 / ((random & 63) as f64).exp2();
            let short = (random >> 50) as f64 / ((random & 31) as f64).exp2();
            for v in [long, -long, short, short / 1000.0, long / 3.0] {
                if (1e-5..9e15).contains(&v.abs()) && v != v.trunc() {
                    assert_eq!(written(|out| float(out, v)), model::gofmt::float(v));
                }
            }
        }
    }

    #[test]
    fn values_and_times_as_prometheus_writes_them() {
        let v = |v| written(|out| value(out, v));
        let pairs = [
            (1.0, "\"1\""),
            (-0.0, "\"-0\""),
            (1.5, "\"1.5\""),
            (2201524569635851.0 + 0.25, "\"2201524569635851.2\""),
            (1e21, "\"1e+21\""),
            (123456789012345680.0, "\"123456789012345680\""),
            (1e-7, "\"1e-07\""),
            (0.000001, "\"0.000001\""),
            (-3.0, "\"-3\""),
            (f64::INFINITY, "\"+Inf\""),
            (f64::NEG_INFINITY, "\"-Inf\""),
            (f64::NAN, "\"NaN\""),
        ];
        for (number, want) in pairs {
            assert_eq!(v(number), want);
        }
        assert_eq!(written(|out| plain_value(out, 1e-7)), "\"0.0000001\"");
        let t = |t| written(|out| time(out, t));
        assert_eq!(
            (t(1000), t(-1), t(1_435_781_451_781), t(5050)),
            ("1".to_owned(), "-0.001".to_owned(), "1435781451.781".to_owned(), "5.050".to_owned())
        );
        assert_eq!(t(i64::MIN), "-9223372036854775.808");
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(written(|out| string(out, "a\"\\\n\u{1}é".as_bytes())), "\"a\\\"\\\\\\n\\u0001é\"");
        let set = Labels::from_pairs([("b", "2"), ("a", "\t")]);
        assert_eq!(written(|out| labels(out, &set)), r#"{"a":"\t","b":"2"}"#);
    }

    #[test]
    fn histograms_tell_which_bounds_belong() {
        let h = FloatHistogram {
            zero_threshold: 0.001,
            zero_count: 12.0,
            count: 16.0,
            sum: 3.5,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![0.0, 3.0],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            negative_buckets: vec![1.0],
            ..Default::default()
        };
        assert_eq!(
            written(|out| histogram(out, &h)),
            r#"{"count":"16","sum":"3.5","buckets":[[1,"-1","-0.5","1"],[3,"-0.001","0.001","12"],[0,"1","2","3"]]}"#
        );
    }
}

//! Tests of `math`.

use super::*;

/// Lines `name argument… result`, floats as hexadecimal bits, written by Go 1.26 on amd64.
const RECORDED: &str = include_str!("../../testdata/math.txt");

fn bits(text: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(text, 16).unwrap())
}

fn unary(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "exp" => exp,
        "exp2" => exp2,
        "ln" => ln,
        "log2" => log2,
        "log10" => log10,
        "sin" => sin,
        "cos" => cos,
        "tan" => tan,
        "asin" => asin,
        "acos" => acos,
        "atan" => atan,
        "sinh" => sinh,
        "cosh" => cosh,
        "tanh" => tanh,
        "asinh" => asinh,
        "acosh" => acosh,
        "atanh" => atanh,
        _ => return None,
    })
}

#[test]
fn every_function_gives_the_bits_of_go() {
    let mut wrong = Vec::new();
    for line in RECORDED.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let want = bits(words[words.len() - 1]);
        let got = match (unary(words[0]), words[0]) {
            (Some(f), _) => f(bits(words[1])),
            (None, "pow") => pow(bits(words[1]), bits(words[2])),
            (None, "atan2") => atan2(bits(words[1]), bits(words[2])),
            (None, "max") => max(bits(words[1]), bits(words[2])),
            (None, "min") => min(bits(words[1]), bits(words[2])),
            (None, other) => panic!("no function {other}"),
        };
        if got.to_bits() != want.to_bits() && !(got.is_nan() && want.is_nan()) {
            wrong.push(format!(
                "{}: {:?}, want {want:?}, got {got:?}",
                words[0],
                words[1..].iter().map(|w| bits(w)).collect::<Vec<_>>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

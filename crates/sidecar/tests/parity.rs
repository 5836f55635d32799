//! The command line against Thanos', and against what deployers pass.

use component::testing::parity::{Exceptions, arguments, flags};

#[test]
fn flags_are_those_of_thanos_or_stand_in_the_exceptions() {
    let exceptions = Exceptions::parse(include_str!("../testdata/parity/exceptions.toml")).unwrap();
    let table = include_str!("../testdata/parity/flags.tsv");
    assert_eq!(flags::compare(sidecar::command().specs(), table, &exceptions), Vec::<String>::new());
}

#[test]
fn argument_vectors_of_deployers_are_accepted_as_by_thanos() {
    let vectors = include_str!("../testdata/parity/arguments.txt");
    assert_eq!(arguments::compare(&sidecar::command(), vectors), Vec::<String>::new());
}

//! The querier's command line against Thanos'.

use component::testing::parity::{Exceptions, arguments, flags};

fn exceptions() -> Exceptions {
    Exceptions::parse(include_str!("../testdata/parity/exceptions.toml")).unwrap()
}

#[test]
fn flags_are_those_of_thanos() {
    let table = include_str!("../testdata/parity/flags.tsv");
    let none: Vec<String> = Vec::new();
    assert_eq!(flags::compare(querier::command().specs(), table, &exceptions()), none);
}

#[test]
fn what_deployers_pass_is_accepted() {
    let vectors = include_str!("../testdata/parity/arguments.txt");
    assert_eq!(arguments::compare(&querier::command(), vectors), Vec::<String>::new());
}

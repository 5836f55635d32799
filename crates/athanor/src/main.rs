//! One binary that links every service and picks by Thanos' verb.

fn main() {}

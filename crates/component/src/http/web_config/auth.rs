//! Users and their passwords.
//!
//! Reads basic authentication and compares with bcrypt hashes; remembers outcomes, because bcrypt is
//! slow by design. It knows no file. Invariant: an unknown user takes as long as a wrong password, and
//! one comparison runs at a time.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;

/// Outcomes remembered at most.
const REMEMBERED: usize = 100;

/// What unknown users' passwords are compared with; nobody knows a password for it.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuMl9nFvLSFfJMaEMkMmYs5DGbIsMwsDC";

/// Compares passwords and remembers.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    outcomes: Mutex<HashMap<u64, bool>>,
    hasher: std::hash::RandomState,
    one_at_a_time: Mutex<()>,
}

impl Passwords {
    /// Whether `password` is that of `user`.
    pub(super) fn fit(&self, users: &BTreeMap<String, String>, user: &str, password: &str) -> bool {
        let hash = users.get(user);
        let key = self.hasher.hash_one((user, hash, password));
        if let Some(outcome) = self.outcomes.lock().get(&key) {
            return *outcome;
        }
        let fits = {
            let _turn = self.one_at_a_time.lock();
            bcrypt::verify(password, hash.map_or(NOBODY, String::as_str)).unwrap_or(false)
        };
        let outcome = fits && hash.is_some();
        let mut outcomes = self.outcomes.lock();
        if outcomes.len() >= REMEMBERED {
            outcomes.clear();
        }
        outcomes.insert(key, outcome);
        outcome
    }
}

/// User and password of a request.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case("basic ") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Checks that a hash is one of bcrypt's.
pub(super) fn check_hash(hash: &str) -> Result<(), String> {
    hash.parse::<bcrypt::HashParts>().map(drop).map_err(|e| format!("crypto/bcrypt: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_fit_their_user_only_and_outcomes_are_remembered() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        check_hash(&hash).unwrap();
        check_hash(NOBODY).unwrap();
        let users = BTreeMap::from([("anna".to_owned(), hash)]);
        let passwords = Passwords::default();
        for _ in 0..2 {
            assert!(passwords.fit(&users, "anna", "secret"));
            assert!(!passwords.fit(&users, "anna", "Secret"));
            assert!(!passwords.fit(&users, "bert", "secret"));
        }
        assert_eq!(passwords.outcomes.lock().len(), 3);
        // A changed hash is another key.
        let users = BTreeMap::from([("anna".to_owned(), bcrypt::hash("new", 4).unwrap())]);
        assert!(!passwords.fit(&users, "anna", "secret"));
    }

    #[test]
    fn only_well_formed_basic_headers_name_a_user() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            basic(&headers)
        };
        let anna = ("anna".to_owned(), "a:b".to_owned());
        assert_eq!(of(&format!("bAsIc {}", STANDARD.encode("anna:a:b"))), Some(anna));
        for bad in ["Basic", "Basic !", "Bearer YTpi", &format!("Basic {}", STANDARD.encode("anna"))] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(basic(&HeaderMap::new()), None);
    }
}

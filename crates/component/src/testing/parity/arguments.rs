//! Whole command lines that deployers pass.
//!
//! A file holds vectors: a line `# <expectation>: <who passes it>`, then one argument a line, `\n`
//! within an argument for a line break; an empty line ends a vector. An expectation is `accepted`, or
//! `refused <exit status>`. It runs nothing. Invariant: a vector is checked exactly as `main` would
//! check it.

use crate::Command;

/// A vector and what is expected of it.
#[derive(Debug, PartialEq, Eq)]
struct Vector {
    title: String,
    /// The exit status, for one that is refused.
    refused: Option<u8>,
    words: Vec<String>,
}

fn vectors(text: &str) -> Result<Vec<Vector>, String> {
    let mut vectors: Vec<Vector> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let (expectation, title) =
                head.split_once(": ").ok_or_else(|| format!("{line:?} has no title"))?;
            let refused = match expectation.split_once(' ') {
                None if expectation == "accepted" => None,
                Some(("refused", status)) => Some(status.parse().map_err(|e| format!("{line:?}: {e}"))?),
                _ => return Err(format!("{line:?} expects nothing that there is")),
            };
            vectors.push(Vector { title: title.to_owned(), refused, words: Vec::new() });
        } else if !line.is_empty() {
            let vector = vectors.last_mut().ok_or_else(|| format!("{line:?} stands before any vector"))?;
            vector.words.push(line.replace("\\n", "\n"));
        }
    }
    Ok(vectors)
}

/// What `command` makes of the vectors otherwise than expected, one text each.
pub fn compare(command: &Command, text: &str) -> Vec<String> {
    let vectors = match vectors(text) {
        Ok(vectors) => vectors,
        Err(e) => return vec![e],
    };
    let mut found = Vec::new();
    for Vector { title, refused, words } in vectors {
        match (command.check(&words), refused) {
            (Ok(()), None) => {}
            (Err((status, _)), Some(wanted)) if status == wanted => {}
            (Ok(()), Some(wanted)) => found.push(format!("{title}: accepted instead of status {wanted}")),
            (Err((status, message)), _) => found.push(format!("{title}: status {status}: {message}")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;
    use crate::flags::groups::Http;

    #[test]
    fn vectors_are_checked_as_the_process_would() {
        let command = Command::new::<Http, _, _>("store", "x", |_, _: Env| async { Ok(()) });
        let text = "# accepted: a\nstore\n--http-address=:1\n--http.config=a\\nb\n\n\
                    # refused 1: b\nstore\n--nope\n\n# refused 2: c\nstore\n--http-grace-period=x\n\n\
                    # refused 2: d\nstore\n";
        assert_eq!(compare(&command, text), ["d: accepted instead of status 2"]);
        let found = compare(&command, "# accepted: e\nstore\n--nope\n");
        assert_eq!(found, ["e: status 1: unknown long flag '--nope'"]);
        assert_eq!(vectors("# accepted: a\nx\\ny\n").unwrap()[0].words, ["x\ny"]);
        assert!(vectors("x").is_err() && vectors("# odd: x").is_err());
    }
}

//! One sample out of a text exposition, read as it arrives.
//!
//! Holds a line scanner; it is no parser of the format. Invariant: never more than one line of bounded
//! length is kept.

/// Longest line that is looked at; longer ones cannot be the one sought.
const MAX_LINE: usize = 4096;

/// Looks for an unlabelled sample by name.
#[derive(Debug)]
pub(crate) struct Scanner {
    name: &'static str,
    line: Vec<u8>,
    value: Option<f64>,
}

impl Scanner {
    pub(crate) fn new(name: &'static str) -> Self {
        Scanner { name, line: Vec::new(), value: None }
    }

    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        while let Some(end) = piece.iter().position(|b| *b == b'\n') {
            self.keep(&piece[..end]);
            self.end_line();
            piece = &piece[end + 1..];
        }
        self.keep(piece);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self) {
        let value = std::str::from_utf8(&self.line)
            .ok()
            .and_then(|line| line.strip_prefix(self.name))
            .filter(|rest| rest.starts_with([' ', '\t', '{']))
            .and_then(|rest| rest.rsplit_once('}').map_or(Some(rest), |(_, r)| Some(r)))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        self.value = value.or(self.value);
        self.line.clear();
    }

    pub(crate) fn finish(mut self) -> Option<f64> {
        self.end_line();
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_sample_in_pieces() {
        let text = "# HELP x_seconds y\nx_seconds_total 3\nx_seconds 1.5e+09\nother 2";
        for size in 1..text.len() {
            let mut s = Scanner::new("x_seconds");
            text.as_bytes().chunks(size).for_each(|p| s.push(p));
            assert_eq!(s.finish(), Some(1.5e9));
        }
        let mut s = Scanner::new("absent");
        s.push(text.as_bytes());
        assert_eq!(s.finish(), None);
    }
}

//! gRPC's messages within the bytes of a body.
//!
//! A message is a flag byte, a length of four bytes and that many bytes; a body's pieces begin and
//! end anywhere. It knows no compression and no message type. Invariant: memory held is what has
//! arrived, never what a length promises.

use bytes::{Buf as _, Bytes, BytesMut};
use tonic::Status;

use super::MAX_MESSAGE;

/// Bytes before a message.
pub(super) const HEAD: usize = 5;

/// Cuts a body into messages.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a message whose end has not arrived.
    part: BytesMut,
    /// What arrived last and is not cut yet.
    rest: Bytes,
}

/// The length that a message's head says.
fn length(head: &[u8]) -> Result<usize, Status> {
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MAX_MESSAGE {
        return Err(Status::resource_exhausted(format!(
            "grpc: received message larger than max ({length} vs. {MAX_MESSAGE})"
        )));
    }
    Ok(length)
}

impl Splitter {
    /// Adds a piece; everything before must have been taken by [`Splitter::next`].
    pub(super) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.rest.is_empty(), "messages are left");
        self.rest = piece;
    }

    /// The next whole message with its flag, or `None` when more has to be pushed.
    pub(super) fn next(&mut self) -> Result<Option<(u8, Bytes)>, Status> {
        if self.part.is_empty() && self.rest.len() >= HEAD {
            let whole = HEAD + length(&self.rest)?;
            if self.rest.len() >= whole {
                let message = self.rest.split_to(whole);
                return Ok(Some((message[0], message.slice(HEAD..))));
            }
        }
        self.fill(HEAD);
        if self.part.len() < HEAD {
            return Ok(None);
        }
        let whole = HEAD + length(&self.part)?;
        self.fill(whole);
        if self.part.len() < whole {
            return Ok(None);
        }
        let message = std::mem::take(&mut self.part).freeze();
        Ok(Some((message[0], message.slice(HEAD..))))
    }

    fn fill(&mut self, to: usize) {
        let missing = to.saturating_sub(self.part.len()).min(self.rest.len());
        self.part.extend_from_slice(&self.rest[..missing]);
        self.rest.advance(missing);
    }

    /// Whether the body may end here.
    pub(super) fn is_empty(&self) -> bool {
        self.part.is_empty() && self.rest.is_empty()
    }
}

/// Counts a body's messages without holding them.
#[derive(Debug, Default)]
pub(super) struct Counter {
    head: [u8; HEAD],
    have: usize,
    skip: usize,
}

impl Counter {
    /// How many messages begin in `piece`.
    pub(super) fn count(&mut self, mut piece: &[u8]) -> u64 {
        let mut found = 0;
        while !piece.is_empty() {
            let skipped = self.skip.min(piece.len());
            self.skip -= skipped;
            piece = &piece[skipped..];
            let taken = (HEAD - self.have).min(piece.len());
            self.head[self.have..self.have + taken].copy_from_slice(&piece[..taken]);
            self.have += taken;
            piece = &piece[taken..];
            if self.have == HEAD {
                let [_, a, b, c, d] = self.head;
                self.skip = u32::from_be_bytes([a, b, c, d]) as usize;
                self.have = 0;
                found += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_body_is_cut(
            messages in prop::collection::vec((0u8..2, prop::collection::vec(any::<u8>(), 0..20)), 0..6),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let mut body = Vec::new();
            for (flag, message) in &messages {
                body.push(*flag);
                body.extend_from_slice(&(message.len() as u32).to_be_bytes());
                body.extend_from_slice(message);
            }
            let body = Bytes::from(body);
            let (mut splitter, mut counter) = (Splitter::default(), Counter::default());
            let (mut found, mut counted, mut at) = (Vec::new(), 0, 0);
            let mut cuts = cuts.into_iter().cycle();
            while at < body.len() {
                let end = (at + cuts.next().unwrap()).min(body.len());
                counted += counter.count(&body[at..end]);
                splitter.push(body.slice(at..end));
                while let Some((flag, message)) = splitter.next().unwrap() {
                    found.push((flag, message.to_vec()));
                }
                at = end;
            }
            prop_assert!(splitter.is_empty());
            prop_assert_eq!(counted, messages.len() as u64);
            prop_assert_eq!(found, messages);
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_arrives() {
        let mut splitter = Splitter::default();
        splitter.push(Bytes::from_static(b"\0\xff\xff\xff\xff"));
        let status = splitter.next().unwrap_err();
        assert_eq!(status.message(), "grpc: received message larger than max (4294967295 vs. 2147483647)");
    }
}

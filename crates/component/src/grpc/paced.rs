//! Reading at the pace of those who take what was read.
//!
//! HTTP/2 hands on frames that share the buffer it reads into. Where it begins with the next frame before
//! the last was taken it needs a new buffer, so that a stream is allocated once more as a whole. Here frames
//! are handed to it one by one, and after each large one others run. It knows of HTTP/2 how long a frame
//! is. Invariant: bytes pass unchanged, and a reader that has to pause is woken at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Smaller frames are not worth a pause.
const LARGE: usize = 4 << 10;
/// Bytes read at once: a few of the frames that servers send.
const BUFFER: usize = 64 << 10;
/// Bytes of a frame before its payload (RFC 9113, 4.1).
const HEAD: usize = 9;

/// A stream of frames with a pause after each large one.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    buffer: Box<[u8]>,
    /// What of the buffer is still to be handed on.
    at: usize,
    end: usize,
    /// Bytes of the frame at hand, and how many of them have not been handed on.
    frame: usize,
    left: usize,
    pause: bool,
}

impl<S> Paced<S> {
    /// Paces `inner`, which has to be at the beginning of a frame.
    pub(super) fn new(inner: S) -> Self {
        let buffer = vec![0; BUFFER].into();
        Paced { inner, buffer, at: 0, end: 0, frame: 0, left: 0, pause: false }
    }

    /// What has been read and not handed on.
    fn held(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Reads more behind what is held, which is less than a head; false at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.buffer.copy_within(self.at..self.end, 0);
        (self.at, self.end) = (0, self.end - self.at);
        let mut to = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut to))?;
        let read = to.filled().len();
        self.end += read;
        Poll::Ready(Ok(read > 0))
    }

    /// Finds out how long the next frame is; `None` at the end of the stream.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        loop {
            if let Some([a, b, c]) = self.held().first_chunk().filter(|_| self.held().len() >= HEAD) {
                let payload = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                return Poll::Ready(Ok(Some(HEAD + payload)));
            }
            if !ready!(self.poll_fill(cx))? {
                // A part of a head is for the reader to complain about.
                let rest = self.held().len();
                return Poll::Ready(Ok(Some(rest).filter(|r| *r > 0)));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.left == 0 {
            let Some(frame) = ready!(this.poll_frame(cx))? else { return Poll::Ready(Ok(())) };
            (this.frame, this.left) = (frame, frame);
        } else if this.at == this.end && !ready!(this.poll_fill(cx))? {
            return Poll::Ready(Ok(()));
        }
        let n = this.left.min(this.held().len()).min(to.remaining());
        to.put_slice(&this.held()[..n]);
        this.at += n;
        this.left -= n;
        this.pause = this.left == 0 && this.frame >= LARGE;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn frame(payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let head = [length[1], length[2], length[3], 0, 0, 0, 0, 0, 1];
        head.into_iter().chain((0..payload).map(|i| (i / 7) as u8)).collect()
    }

    proptest! {
        #[test]
        fn bytes_pass_unchanged(
            payloads in prop::collection::vec(prop_oneof![0usize..40, 4000usize..17_000], 0..12),
            lost in 0usize..30,
            room in 1usize..20_000,
            pipe in 1usize..100_000,
        ) {
            let mut sent: Vec<u8> = payloads.iter().flat_map(|p| frame(*p)).collect();
            sent.truncate(sent.len().saturating_sub(lost));
            let expected = sent.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let got = runtime.block_on(async {
                let (mut far, near) = tokio::io::duplex(pipe);
                tokio::spawn(async move { far.write_all(&sent).await });
                let (mut paced, mut got, mut piece) = (Paced::new(near), Vec::new(), vec![0; room]);
                loop {
                    let n = paced.read(&mut piece).await.unwrap();
                    if n == 0 {
                        return got;
                    }
                    got.extend_from_slice(&piece[..n]);
                }
            });
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_reader_gets_one_frame_at_a_time_and_pauses_after_a_large_one() {
        let sent = [frame(10), frame(LARGE), frame(20)].concat();
        let mut paced = Paced::new(io::Cursor::new(sent));
        let mut buffer = vec![0; BUFFER];
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut poll = || {
            let mut to = ReadBuf::new(&mut buffer);
            Pin::new(&mut paced).poll_read(cx, &mut to).map(|_| to.filled().len())
        };
        let lengths = [poll(), poll(), poll(), poll(), poll()];
        let ready = Poll::Ready;
        assert_eq!(lengths, [ready(19), ready(HEAD + LARGE), Poll::Pending, ready(29), ready(0)]);
    }
}

//! Reading at the pace of those who take what was read.
//!
//! A connection reads into a buffer that the frames it hands on share; where it reads on before they are
//! taken, it needs a new buffer each time. So after each read this lets others run once. It knows no
//! protocol. Invariant: bytes pass unchanged, and a reader that yields is woken at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads of fewer bytes are answers to something and not part of a stream: nobody waits for them.
const STREAM: usize = 4 << 10;

/// A stream whose reads are followed by a pause.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    pause: bool,
}

impl<S> Paced<S> {
    /// Paces `inner`.
    pub(super) fn new(inner: S) -> Self {
        Paced { inner, pause: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = to.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, to);
        self.pause = to.filled().len() - before >= STREAM;
        polled
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_unchanged_and_others_run_between_reads() {
        let (mut far, near) = tokio::io::duplex(3 * STREAM);
        let sent: Vec<u8> = (0..10 * STREAM).map(|i| (i / 7) as u8).collect();
        let expected = sent.clone();
        tokio::spawn(async move { far.write_all(&sent).await });
        let mut paced = Paced::new(near);
        let mut got = vec![0; expected.len()];
        paced.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
        let mut rest = [0; 1];
        assert_eq!(paced.read(&mut rest).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_read_after_a_large_one_waits_for_a_turn() {
        let large = vec![1; STREAM];
        let mut paced = Paced::new(io::Cursor::new([&large[..], &[2; 9]].concat()));
        let mut buffer = vec![0; STREAM];
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut poll = || {
            let mut to = ReadBuf::new(&mut buffer);
            Pin::new(&mut paced).poll_read(cx, &mut to).map(|_| to.filled().len())
        };
        let lengths = [poll(), poll(), poll(), poll()];
        assert_eq!(lengths, [Poll::Ready(STREAM), Poll::Pending, Poll::Ready(9), Poll::Ready(0)]);
    }
}

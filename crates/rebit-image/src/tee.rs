//! One stream for two readers on two threads.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Chunks that may wait for the second reader.
const WAITING: usize = 16;
/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;

/// The first reader: what it reads, the second one gets too.
pub(crate) struct Tee<R> {
    inner: R,
    sender: Option<SyncSender<Option<Vec<u8>>>>,
    chunk: Vec<u8>,
    at: usize,
    /// The error that the stream ended with. It is handed out once and kept here.
    failed: Option<io::Error>,
    ended: bool,
}

/// The second reader. It fails where the stream failed.
pub(crate) struct Copied {
    receiver: Receiver<Option<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
}

/// Splits a stream. At most 4 MiB wait for the second reader; the first one waits then.
pub(crate) fn tee<R: Read>(inner: R) -> (Tee<R>, Copied) {
    let (sender, receiver) = sync_channel(WAITING);
    let first = Tee { inner, sender: Some(sender), chunk: Vec::new(), at: 0, failed: None, ended: false };
    (first, Copied { receiver, chunk: Vec::new(), at: 0, ended: false })
}

impl<R: Read> Tee<R> {
    /// Reads what is left, so that the second reader gets all of it, and returns the stream's own error.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        self.at = self.chunk.len();
        while self.failed.is_none() && self.refill() {}
        self.sender = None;
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Reads the next chunk; `false` at the end and after an error.
    fn refill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut chunk = vec![0; CHUNK];
        let mut length = 0;
        while let Some(free) = chunk.get_mut(length..).filter(|free| !free.is_empty()) {
            match self.inner.read(free) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    self.ended = true;
                    break;
                }
            }
        }
        chunk.truncate(length);
        if self.failed.is_none() && length > 0 {
            self.send(Some(chunk.clone()));
        }
        if self.ended && self.failed.is_none() {
            self.send(None);
        }
        (self.chunk, self.at) = (chunk, 0);
        length > 0
    }

    fn send(&mut self, message: Option<Vec<u8>>) {
        // A second reader that gave up has an error of its own to tell.
        if self.sender.as_ref().is_some_and(|sender| sender.send(message).is_err()) {
            self.sender = None;
        }
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.chunk.len() && !self.refill() {
            return match &self.failed {
                Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
                None => Ok(0),
            };
        }
        Ok(take(&self.chunk, &mut self.at, buffer))
    }
}

impl Read for Copied {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.chunk.len() {
            if self.ended {
                return Ok(0);
            }
            match self.receiver.recv() {
                Ok(Some(chunk)) => (self.chunk, self.at) = (chunk, 0),
                Ok(None) => self.ended = true,
                Err(_) => return Err(io::Error::other("the stream failed")),
            }
        }
        Ok(take(&self.chunk, &mut self.at, buffer))
    }
}

fn take(chunk: &[u8], at: &mut usize, buffer: &mut [u8]) -> usize {
    let rest = chunk.get(*at..).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    if let (Some(from), Some(to)) = (rest.get(..count), buffer.get_mut(..count)) {
        to.copy_from_slice(from);
    }
    *at += count;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(buffer.len());
            self.0 -= count;
            if count == 0 { Err(io::Error::other("broken")) } else { Ok(count) }
        }
    }

    #[test]
    fn both_readers_get_everything() {
        let content: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        for read in [0, 10, 300_000, 1_000_000] {
            let (mut first, mut second) = tee(content.as_slice());
            let copied = std::thread::scope(|scope| {
                let second = scope.spawn(move || {
                    let mut copied = Vec::new();
                    second.read_to_end(&mut copied).map(|_| copied)
                });
                let mut start = vec![0; read];
                first.read_exact(&mut start).unwrap();
                assert_eq!(start, content[..read]);
                first.drain().unwrap();
                second.join().unwrap().unwrap()
            });
            assert!(copied == content);
        }
    }

    #[test]
    fn a_failing_stream_fails_both() {
        let (mut first, mut second) = tee(Failing(600_000));
        let (found, copied) = std::thread::scope(|scope| {
            let second = scope.spawn(move || second.read_to_end(&mut Vec::new()).is_err());
            let found = first.read_to_end(&mut Vec::new()).is_err();
            assert_eq!(first.drain().unwrap_err().to_string(), "broken");
            (found, second.join().unwrap())
        });
        assert!(found && copied);
    }

    #[test]
    fn a_first_reader_that_gives_up_fails_the_second() {
        let (first, mut second) = tee(&b"content"[..]);
        drop(first);
        assert!(second.read_to_end(&mut Vec::new()).is_err());
    }
}

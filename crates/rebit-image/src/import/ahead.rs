//! Reading ahead on a thread of its own: a layer is decompressed and hashed there while what came before is taken in.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rebit_oci::Digest;
use rebit_oci::digest::HashingReader;

/// Chunks that may wait.
const WAITING: usize = 16;
/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;

/// Lets `take` read what `reader` gives, at most 4 MiB behind it, and returns the digest of the whole stream, too.
///
/// What `take` leaves is read and hashed unless it failed: then nothing more is read.
pub(super) fn ahead<T, E>(
    reader: impl Read + Send,
    take: impl FnOnce(&mut dyn Read) -> Result<T, E>,
) -> (Result<T, E>, io::Result<Digest>) {
    let (sender, receiver) = sync_channel(WAITING);
    thread::scope(|scope| {
        let producer = scope.spawn(move || produce(HashingReader::new(reader), &sender));
        let mut taken = Ahead { receiver, chunk: Vec::new(), at: 0, ended: false };
        let done = take(&mut taken);
        // The producer goes on until it knows the digest.
        let rest = if done.is_ok() { taken.drain() } else { Ok(()) };
        drop(taken);
        let digest = producer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (done, rest.and(digest))
    })
}

type Chunk = io::Result<Vec<u8>>;

fn produce<R: Read>(mut reader: HashingReader<R>, sender: &SyncSender<Chunk>) -> io::Result<Digest> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        match (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk) {
            Ok(0) => return reader.finish().map(|(digest, _)| digest),
            Ok(_) => {
                if sender.send(Ok(chunk)).is_err() {
                    return Err(io::Error::other("nobody reads it any more"));
                }
            }
            Err(error) => {
                let same = io::Error::new(error.kind(), error.to_string());
                // What came before the failure was good.
                let _nobody = if chunk.is_empty() { Ok(()) } else { sender.send(Ok(chunk)) };
                let _nobody = sender.send(Err(error));
                return Err(same);
            }
        }
    }
}

/// The receiving end.
struct Ahead {
    receiver: Receiver<Chunk>,
    chunk: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Ahead {
    fn drain(&mut self) -> io::Result<()> {
        while self.refill()? {}
        Ok(())
    }

    /// Waits for the next chunk; `false` at the end.
    fn refill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        match self.receiver.recv() {
            Ok(Ok(chunk)) => {
                (self.chunk, self.at) = (chunk, 0);
                Ok(true)
            }
            other => {
                self.ended = true;
                other.map_or(Ok(false), |chunk| chunk.map(|_| true))
            }
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.chunk.len() && !self.refill()? {
            return Ok(0);
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_hashed_whatever_is_read() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 3) as u8).collect();
        for read in [0, 10, 300_000, 3_000_000] {
            let (taken, digest) = ahead(content.as_slice(), |reader| {
                let mut start = vec![0; read];
                reader.read_exact(&mut start).map(|()| start)
            });
            assert_eq!(taken.unwrap(), content[..read]);
            assert_eq!(digest.unwrap(), Digest::of(&content));
        }
    }

    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(buffer.len());
            self.0 -= count;
            if count == 0 { Err(io::Error::other("broken")) } else { Ok(count) }
        }
    }

    #[test]
    fn a_failure_comes_after_what_was_good_and_stays_what_it_is() {
        let mut good = Vec::new();
        let (taken, digest) = ahead(Failing(600_000), |reader| reader.read_to_end(&mut good));
        assert_eq!((good.len(), taken.unwrap_err().to_string().as_str()), (600_000, "broken"));
        assert_eq!(digest.unwrap_err().to_string(), "broken");
        // One that comes after what is read.
        let (taken, digest) = ahead(Failing(600_000), |_| Ok::<_, io::Error>(()));
        assert!(taken.is_ok() && digest.unwrap_err().to_string() == "broken");
    }

    #[test]
    fn who_fails_stops_the_stream() {
        let (taken, digest) = ahead(io::repeat(0), |_| Err::<(), _>("no"));
        assert!(taken == Err("no") && digest.is_err());
    }
}

//! Reading a blob, whatever happens to the connection.

use std::io::{self, Read};
use std::sync::Arc;

use rebit_oci::Digest;
use rebit_oci::digest::VerifyReader;
use ureq::http::Method;

use super::RegistryError;
use super::host::{Call, Host};
use crate::http::Answer;

/// How often in all a blob is asked for, however much came each time.
const MAX_RESUMED: u32 = 64;

/// A blob as it comes. It fails at its end unless it was what its digest says.
pub struct Blob(VerifyReader<Resuming>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blob(..)")
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A blob that is asked for again, from where it broke off.
struct Resuming {
    host: Arc<Host>,
    scope: String,
    target: String,
    digest: Digest,
    size: u64,
    at: u64,
    body: Option<Box<dyn Read + Send>>,
    /// Failures since something came last.
    tried: u32,
    /// Requests in all.
    asked: u32,
}

impl Blob {
    /// Asks for a blob of `size` bytes.
    pub(super) fn open(
        host: &Arc<Host>,
        scope: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<Self, RegistryError> {
        let mut blob = Resuming {
            host: Arc::clone(host),
            scope: scope.to_owned(),
            target: format!("{}/blobs/{digest}", host.endpoint.repository),
            digest: *digest,
            size,
            at: 0,
            body: None,
            tried: 1,
            asked: 0,
        };
        blob.ask()?;
        Ok(Self(VerifyReader::new(blob, *digest, size)))
    }
}

impl Resuming {
    fn what(&self) -> String {
        format!("blob {}", self.digest)
    }

    /// Asks for what is still missing.
    fn ask(&mut self) -> Result<(), RegistryError> {
        self.asked += 1;
        let mut call = Call::new(Method::GET, &self.target, &self.scope);
        if self.at > 0 {
            call = call.field("range", format!("bytes={}-", self.at));
        }
        let answer = self.host.send(&call)?;
        let skip = match answer.head.status {
            200 => {
                let length = answer.head.field("content-length").and_then(|text| text.parse::<u64>().ok());
                if let Some(length) = length.filter(|length| *length != self.size) {
                    let reason = format!("it has {length} bytes where {} were promised", self.size);
                    return Err(self.host.protocol(&self.what(), reason));
                }
                self.at
            }
            206 if self.continues(&answer) => 0,
            206 => return Err(self.host.protocol(&self.what(), "it is another part than the one asked for")),
            _ => return Err(self.host.refusal(answer, &self.what())),
        };
        let mut body = self.host.reader(answer);
        // A server that knows no ranges begins anew.
        let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        match skipped {
            Ok(count) if count == skip => self.body = Some(body),
            Ok(_) => {}
            Err(error) => return Err(self.host.read_failure(&self.target, error).into()),
        }
        Ok(())
    }

    /// Whether a part begins where the last one ended.
    fn continues(&self, answer: &Answer) -> bool {
        let range = answer.head.field("content-range").unwrap_or_default();
        let start = range.strip_prefix("bytes ").and_then(|range| range.split('-').next());
        start.and_then(|start| start.trim().parse().ok()) == Some(self.at)
    }

    /// Asks again after a failure, unless it failed too often.
    fn resume(&mut self, error: io::Error) -> io::Result<()> {
        self.body = None;
        let mut failure = RegistryError::Http(self.host.read_failure(&self.target, error));
        loop {
            let transient = match &failure {
                RegistryError::Http(error) => error.is_transient(),
                _ => false,
            };
            if !transient || self.asked >= MAX_RESUMED {
                return Err(io::Error::other(failure));
            }
            match self.host.may_retry(&mut self.tried, None) {
                Ok(true) => {}
                Ok(false) => return Err(io::Error::other(failure)),
                Err(error) => return Err(io::Error::other(error)),
            }
            match self.ask() {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
    }
}

impl Read for Resuming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let early = || io::Error::from(io::ErrorKind::UnexpectedEof);
            let read = match &mut self.body {
                Some(body) => body.read(buffer),
                None if self.at >= self.size => return Ok(0),
                None => Err(early()),
            };
            match read {
                Ok(0) if self.at < self.size && !buffer.is_empty() => self.resume(early())?,
                Ok(count) => {
                    self.at += count as u64;
                    if count > 0 {
                        self.tried = 1;
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // All of it is here: how the connection ends does not matter.
                Err(_) if self.at >= self.size => {
                    self.body = None;
                    return Ok(0);
                }
                Err(error) => self.resume(error)?,
            }
        }
    }
}

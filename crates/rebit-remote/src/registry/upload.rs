//! Sending a blob: whole, and from where it broke off.

use std::error::Error;
use std::io::{self, Read};

use rebit_oci::Digest;
use ureq::http::Method;

use super::RegistryError;
use super::host::{Call, Host};
use super::repository::Repository;
use crate::http::{Answer, Payload};

/// How much is sent at once to a registry that does not take the whole.
const CHUNK: u64 = 16 << 20;
/// How often in all something is sent for one blob.
const MAX_SENT: u32 = 100_000;

/// Why a blob cannot be read.
pub(super) type SourceError = Box<dyn Error + Send + Sync>;
/// Opens a blob at its beginning; it may be called again.
pub(super) type Open<'f, 'r> = dyn Fn() -> Result<Box<dyn Read + Send + 'r>, SourceError> + 'f;

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The repository had it.
    Present,
    /// The registry took it from another repository of its own.
    Mounted,
    /// It was sent.
    Uploaded,
}

impl Repository {
    /// Sees to it that the repository has a blob. `from` are repositories of the same registry that may have it.
    pub(super) fn put_blob(
        &self,
        digest: &Digest,
        size: u64,
        from: &[String],
        open: &Open<'_, '_>,
    ) -> Result<Sent, RegistryError> {
        if self.stat(digest)?.is_some() {
            return Ok(Sent::Present);
        }
        let mut upload = Upload::new(self, digest, size);
        for repository in from {
            if upload.mount(repository)? {
                return Ok(Sent::Mounted);
            }
        }
        upload.send(open)?;
        Ok(Sent::Uploaded)
    }
}

/// A blob on its way.
struct Upload<'a> {
    repository: &'a Repository,
    host: &'a Host,
    scope: String,
    digest: &'a Digest,
    size: u64,
    what: String,
    /// Where the rest goes, once the registry has said it.
    location: Option<String>,
    /// How much of it the registry has.
    at: u64,
    chunk: Option<u64>,
    /// The least that the registry takes at once, except at the end.
    least: u64,
    tried: u32,
}

impl<'a> Upload<'a> {
    fn new(repository: &'a Repository, digest: &'a Digest, size: u64) -> Self {
        let host = &**repository.host();
        Self {
            repository,
            host,
            scope: repository.scope(host),
            digest,
            size,
            what: format!("uploading blob {digest}"),
            location: None,
            at: 0,
            chunk: None,
            least: 0,
            tried: 1,
        }
    }

    /// Asks the registry to take the blob from another repository. If it does not, an upload has begun.
    fn mount(&mut self, from: &str) -> Result<bool, RegistryError> {
        let name = &self.host.endpoint.repository;
        let target = format!(
            "{name}/blobs/uploads/?mount={}&from={}",
            super::auth::escape(&self.digest.to_string()),
            super::auth::escape(from)
        );
        let scope = format!("{} repository:{from}:pull", self.scope);
        let mut call = Call::new(Method::POST, &target, &scope);
        call.bytes = Some(&[]);
        let answer = match self.host.send(&call) {
            // A token server may refuse what is asked for together.
            Err(RegistryError::Denied { .. } | RegistryError::Status { .. }) => return Ok(false),
            answer => answer?,
        };
        match answer.head.status {
            201 => Ok(true),
            202 => {
                self.begun(&answer)?;
                Ok(false)
            }
            // No right to read there is no reason not to send it.
            _ => Ok(false),
        }
    }

    fn begin(&mut self) -> Result<(), RegistryError> {
        let target = format!("{}/blobs/uploads/", self.host.endpoint.repository);
        let mut call = Call::new(Method::POST, &target, &self.scope);
        call.bytes = Some(&[]);
        let answer = self.host.send(&call)?;
        match answer.head.status {
            202 => self.begun(&answer),
            _ => Err(self.host.refusal(answer, &self.what)),
        }
    }

    fn begun(&mut self, answer: &Answer) -> Result<(), RegistryError> {
        self.at = 0;
        let least = answer.head.field("oci-chunk-min-length");
        self.least = least.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        self.moved(answer)
    }

    /// Takes note of where the rest goes.
    fn moved(&mut self, answer: &Answer) -> Result<(), RegistryError> {
        match answer.head.field("location") {
            Some(location) => self.location = Some(self.host.absolute(location, &self.what)?),
            None if self.location.is_none() => {
                return Err(self.host.protocol(&self.what, "it does not say where to"));
            }
            None => {}
        }
        Ok(())
    }

    fn send(&mut self, open: &Open<'_, '_>) -> Result<(), RegistryError> {
        let mut source = Source { open, reader: None, at: 0, failed: None };
        for _ in 0..MAX_SENT {
            if self.location.is_none() {
                self.begin()?;
            }
            if self.at >= self.size {
                if self.finish()? {
                    return Ok(());
                }
                continue;
            }
            let chunk = self.chunk.map(|chunk| chunk.max(self.least));
            let count = chunk.unwrap_or(self.size).min(self.size - self.at);
            source.seek(self.at).map_err(|error| self.unreadable(error))?;
            let sent = self.patch(&mut source, count);
            if let Some(error) = source.failed.take() {
                return Err(self.unreadable(error));
            }
            self.patched(sent, count)?;
        }
        Err(self.host.protocol(&self.what, "it never ends"))
    }

    fn unreadable(&self, source: io::Error) -> RegistryError {
        RegistryError::Source { what: format!("blob {}", self.digest), source: Box::new(source) }
    }

    fn patch(&self, source: &mut Source<'_, '_>, count: u64) -> Result<Answer, RegistryError> {
        let target = self.location.as_deref().unwrap_or_default();
        let mut call =
            Call::new(Method::PATCH, target, &self.scope).field("content-type", "application/octet-stream");
        if self.at > 0 || self.chunk.is_some() {
            call = call.field("content-range", format!("{}-{}", self.at, self.at + count - 1));
        }
        let mut part = source.take(count);
        self.host.attempt(&call, Payload::Stream(&mut part, count))
    }

    /// Takes note of what became of a part.
    fn patched(&mut self, sent: Result<Answer, RegistryError>, count: u64) -> Result<(), RegistryError> {
        let wait = match sent {
            Ok(answer) => match answer.head.status {
                200..=299 => {
                    self.moved(&answer)?;
                    self.at += count;
                    self.tried = 1;
                    return Ok(());
                }
                413 if self.chunk.is_none() && count > CHUNK => {
                    self.chunk = Some(CHUNK);
                    return self.begin();
                }
                // The token ran out while the blob was sent; the next try has a new one.
                401 if self.tried == 1 => None,
                // Something of it was kept, or all was forgotten: the registry knows.
                404 | 416 if self.tried == 1 => None,
                _ if answer.head.is_transient() => answer.head.wait(),
                _ => return Err(self.host.refusal(answer, &self.what)),
            },
            Err(RegistryError::Http(error)) if error.is_transient() => {
                if !self.host.may_retry(&mut self.tried, None)? {
                    return Err(error.into());
                }
                return self.look();
            }
            Err(error) => return Err(error),
        };
        if !self.host.may_retry(&mut self.tried, wait)? {
            return Err(self.host.protocol(&self.what, "it takes it at no time"));
        }
        self.look()
    }

    /// Asks how much the registry has.
    fn look(&mut self) -> Result<(), RegistryError> {
        let target = self.location.clone().unwrap_or_default();
        let answer = self.host.send(&Call::new(Method::GET, &target, &self.scope))?;
        let range = answer.head.field("range").unwrap_or_default();
        let end =
            range.trim_start_matches("bytes=").rsplit_once('-').and_then(|(_, end)| end.parse::<u64>().ok());
        match (answer.head.status, end) {
            (204, Some(end)) if end < self.size => {
                let at = if end == 0 { 0 } else { end + 1 };
                if at > self.at {
                    self.tried = 1;
                }
                self.moved(&answer)?;
                self.at = at;
                Ok(())
            }
            // It knows nothing of it any more.
            _ => {
                self.location = None;
                Ok(())
            }
        }
    }

    /// Ends the upload; `false` when it has to begin anew.
    fn finish(&mut self) -> Result<bool, RegistryError> {
        let location = self.location.clone().unwrap_or_default();
        let join = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{join}digest={}", super::auth::escape(&self.digest.to_string()));
        let mut call = Call::new(Method::PUT, &target, &self.scope);
        call.bytes = Some(&[]);
        let answer = self.host.send(&call)?;
        match answer.head.status {
            200..=299 => Ok(true),
            // An answer that was lost: the second try finds no upload, but the blob.
            404 if self.repository.stat(self.digest)?.is_some() => Ok(true),
            404 if self.tried == 1 => {
                self.tried += 1;
                self.location = None;
                Ok(false)
            }
            _ => Err(self.host.refusal(answer, &self.what)),
        }
    }
}

/// A blob to be read from any place in it.
struct Source<'f, 'r> {
    open: &'f Open<'f, 'r>,
    reader: Option<Box<dyn Read + Send + 'r>>,
    at: u64,
    failed: Option<io::Error>,
}

impl Source<'_, '_> {
    fn seek(&mut self, at: u64) -> io::Result<()> {
        if self.reader.is_none() || self.at > at {
            self.reader = Some((self.open)().map_err(io::Error::other)?);
            self.at = 0;
        }
        let missing = at - self.at;
        let skipped = io::copy(&mut self.by_ref().take(missing), &mut io::sink())?;
        if skipped == missing { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Read for Source<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        match reader.read(buffer) {
            Ok(count) => {
                self.at += count as u64;
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                if kind != io::ErrorKind::Interrupted {
                    self.failed = Some(error);
                    self.reader = None;
                }
                Err(kind.into())
            }
        }
    }
}

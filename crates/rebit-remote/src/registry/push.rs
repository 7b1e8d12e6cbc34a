//! Sending an image: its blobs side by side, then its manifest.

use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rebit_oci::Digest;
use ureq::http::Method;

use super::host::Call;
use super::repository::{Repository, Wanted, digest_field};
use super::upload::{Sent, SourceError};
use super::{Manifest, RegistryError};

/// A blob that an image needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Repositories of the same registry that may have it.
    pub from: Vec<String>,
}

/// Opens a blob at its beginning; it may be asked for the same one again.
pub type OpenBlob<'a> = dyn Fn(&Digest, u64) -> Result<Box<dyn Read + Send + 'a>, SourceError> + Sync + 'a;

/// What is to be sent.
pub struct Push<'a> {
    /// The blobs, each once.
    pub blobs: &'a [PushBlob],
    /// Where they are read.
    pub open: &'a OpenBlob<'a>,
    /// Manifests that the last one names, put by their digests before it, in this order.
    pub before: &'a [Manifest],
    /// What comes last.
    pub manifest: &'a Manifest,
    /// The tags that it gets; without any it is there by its digest.
    pub tags: &'a [String],
    /// How many blobs are sent at the same time.
    pub jobs: NonZeroUsize,
    /// Is told what happens, from several threads.
    pub observe: &'a (dyn Fn(PushEvent<'_>) + Sync),
}

impl std::fmt::Debug for Push<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push").field("blobs", &self.blobs).field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// What happens while an image is sent.
#[derive(Debug, Clone, Copy)]
pub enum PushEvent<'a> {
    /// So many more bytes of a blob were read for sending.
    Bytes {
        /// The blob.
        blob: &'a PushBlob,
        /// How many.
        count: u64,
    },
    /// The repository has the blob: it had it, took it from another repository, or was sent it.
    Done {
        /// The blob.
        blob: &'a PushBlob,
        /// How.
        how: &'static str,
    },
}

/// What a push did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Blobs that were there.
    pub present: usize,
    /// Blobs that the registry took from another repository.
    pub mounted: usize,
    /// Blobs that were sent.
    pub uploaded: usize,
    /// Bytes of those.
    pub bytes: u64,
}

impl Repository {
    /// Sends an image. Its names stand for it only after everything is there.
    ///
    /// # Errors
    /// [`RegistryError`]; blobs that were sent by then stay for the registry to collect.
    pub fn push(&self, push: &Push<'_>) -> Result<Pushed, RegistryError> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (done, error) = (Mutex::new(Pushed::default()), Mutex::new(None));
        let work = || {
            while let Some(blob) = push.blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if failed.load(Ordering::Relaxed) {
                    return;
                }
                match self.push_blob(push, blob) {
                    Ok(sent) => done.lock().unwrap_or_else(PoisonError::into_inner).count(sent, blob.size),
                    Err(source) => {
                        failed.store(true, Ordering::Relaxed);
                        error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(source);
                        return;
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..push.jobs.get().min(push.blobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        push.before.iter().try_for_each(|one| self.put_manifest(Wanted::Digest(&one.digest), one))?;
        match push.tags {
            [] => self.put_manifest(Wanted::Digest(&push.manifest.digest), push.manifest)?,
            tags => tags.iter().try_for_each(|tag| self.put_manifest(Wanted::Tag(tag), push.manifest))?,
        }
        Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn push_blob(&self, push: &Push<'_>, blob: &PushBlob) -> Result<Sent, RegistryError> {
        let open = || {
            let inner = (push.open)(&blob.digest, blob.size)?;
            let counting: Box<dyn Read + Send + '_> =
                Box::new(Counting { inner, observe: push.observe, blob });
            Ok(counting)
        };
        let sent = self.put_blob(&blob.digest, blob.size, &blob.from, &open)?;
        let how = match sent {
            Sent::Present => "was there",
            Sent::Mounted => "taken from another repository",
            Sent::Uploaded => "sent",
        };
        (push.observe)(PushEvent::Done { blob, how });
        Ok(sent)
    }

    /// Puts a manifest whose blobs are there.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn put_manifest(&self, wanted: Wanted<'_>, manifest: &Manifest) -> Result<(), RegistryError> {
        let (host, what) = (self.host(), format!("putting {}", self.what(wanted)));
        let (target, scope) = (format!("{}/manifests/{wanted}", host.endpoint.repository), self.scope(host));
        let mut call =
            Call::new(Method::PUT, &target, &scope).field("content-type", manifest.media_type.clone());
        call.bytes = Some(&manifest.bytes);
        let answer = host.send(&call)?;
        match (answer.head.status, digest_field(&answer)) {
            (200..=299, None) => Ok(()),
            (200..=299, Some(found)) if found == manifest.digest => Ok(()),
            (200..=299, Some(found)) => {
                Err(RegistryError::Digest { what, registry: host.endpoint.account.clone(), found })
            }
            _ => Err(host.refusal(answer, &what)),
        }
    }
}

impl Pushed {
    fn count(&mut self, sent: Sent, size: u64) {
        match sent {
            Sent::Present => self.present += 1,
            Sent::Mounted => self.mounted += 1,
            Sent::Uploaded => {
                self.uploaded += 1;
                self.bytes += size;
            }
        }
    }
}

struct Counting<'a, R> {
    inner: R,
    observe: &'a (dyn Fn(PushEvent<'_>) + Sync),
    blob: &'a PushBlob,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.observe)(PushEvent::Bytes { blob: self.blob, count: count as u64 });
        Ok(count)
    }
}

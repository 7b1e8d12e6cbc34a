//! What comes from outside: by its digest, or small and to be verified.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use rebit_oci::encode::Preimage;
use rebit_oci::{CacheKey, Digest};
use rebit_store::Session;

use crate::lock::{LockedImage, LockedPackage};
use crate::recipe::Recipe;
use crate::snapshot;
use crate::sources::SignedBy;
use crate::{DistroError, HostError};

/// Largest Release file.
const MAX_RELEASE: u64 = 16 << 20;
/// How many package files are fetched at the same time.
const FETCHERS: usize = 4;

/// What the machine does for this crate.
pub trait Host: Sync {
    /// Gets what a URL leads to into an empty file: at most `limit` bytes.
    ///
    /// # Errors
    /// When there is no whole answer, or a longer one.
    fn fetch(&self, url: &str, limit: u64, into: &mut File) -> Result<(), HostError>;

    /// Checks a detached, armored or binary signature of `text`; returns the fingerprints of the trusted keys that made it.
    ///
    /// # Errors
    /// When no key of `signed_by` or `keyrings` made it. `keyrings`, when there are any, are the only ones that are asked.
    fn verify(
        &self,
        text: &[u8],
        signature: &[u8],
        signed_by: &SignedBy,
        keyrings: &[std::path::PathBuf],
    ) -> Result<Vec<String>, HostError>;

    /// Tells what is going on.
    fn say(&self, text: &str);
}

/// The archives, with the store between them and whoever asks.
#[derive(Clone, Copy)]
pub struct Archives<'a> {
    /// Keeps what came.
    pub session: &'a Session,
    /// Fetches and verifies; nothing is fetched without it.
    pub host: Option<&'a dyn Host>,
    /// The present time: until when a Release file is to be believed, and when records were last used.
    pub now: SystemTime,
}

impl std::fmt::Debug for Archives<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archives").field("online", &self.host.is_some()).finish_non_exhaustive()
    }
}

impl<'a> Archives<'a> {
    pub(crate) fn host(&self, url: &str) -> Result<&'a dyn Host, DistroError> {
        self.host.ok_or_else(|| DistroError::Offline { url: url.to_owned() })
    }

    fn download(&self, url: &str, limit: u64) -> Result<(rebit_store::ScratchDir, File), DistroError> {
        let host = self.host(url)?;
        let scratch = self.session.scratch_dir("deb")?;
        let path = scratch.path().join("body");
        let failed = |source| DistroError::Io { path: path.display().to_string(), source };
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        host.fetch(url, limit, &mut file)
            .map_err(|source| DistroError::Fetch { url: url.to_owned(), source })?;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        Ok((scratch, file))
    }

    /// A small file that nothing is known of before.
    pub(crate) fn text(&self, url: &str) -> Result<Vec<u8>, DistroError> {
        let (_scratch, file) = self.download(url, MAX_RELEASE)?;
        let mut text = Vec::new();
        let read = file.take(MAX_RELEASE + 1).read_to_end(&mut text);
        read.map_err(|source| DistroError::Io { path: url.to_owned(), source })?;
        if text.len() as u64 > MAX_RELEASE {
            let reason = format!("it is larger than {MAX_RELEASE} bytes");
            return Err(DistroError::Release { url: url.to_owned(), reason });
        }
        Ok(text)
    }

    /// Sees to it that the store has a file whose digest is known, from the first of some addresses that has it.
    pub(crate) fn blob(&self, urls: &[String], expected: &Digest, size: u64) -> Result<(), DistroError> {
        if self.session.stat_blob(expected)?.is_some_and(|stat| stat.size == size) {
            return Ok(());
        }
        let mut first = None;
        for url in urls {
            match self.download_blob(url, expected, size) {
                Ok(()) => return Ok(()),
                // What the first one says is what people can do something about.
                Err(error) => first.get_or_insert(error),
            };
        }
        Err(first.unwrap_or_else(|| DistroError::Offline { url: expected.to_string() }))
    }

    fn download_blob(&self, url: &str, expected: &Digest, expected_size: u64) -> Result<(), DistroError> {
        let (_scratch, mut file) = self.download(url, expected_size)?;
        let (found, _, size) = self.session.put_blob_reader(&mut file, &[])?;
        if (found, size) != (*expected, expected_size) {
            let (url, expected) = (url.to_owned(), *expected);
            return Err(DistroError::WrongFile { url, found, size, expected, expected_size });
        }
        Ok(())
    }

    /// Sees to it that the store has every package file of an image, and keeps them for as long as builds use them. What an archive has
    /// no more is taken from the recipe's `fallback`.
    ///
    /// # Errors
    /// [`DistroError`].
    pub fn fetch(&self, image: &LockedImage, recipe: &Recipe) -> Result<(), DistroError> {
        let key = downloads_key(image);
        if self.session.get_record(&key, self.now)?.is_some() {
            return Ok(());
        }
        let mut missing = Vec::new();
        for package in &image.packages {
            if self.session.stat_blob(&package.sha256)?.is_none_or(|stat| stat.size != package.size) {
                missing.push(package);
            }
        }
        if let (Some(host), false) = (self.host, missing.is_empty()) {
            let bytes: u64 = missing.iter().map(|package| package.size).sum();
            let what = if missing.len() == 1 { "package" } else { "packages" };
            host.say(&format!("fetching {} {what}, {bytes} bytes", missing.len()));
        }
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<DistroError>> = Mutex::new(None);
        let lock = || failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..FETCHERS.min(missing.len()) {
                scope.spawn(|| {
                    while lock().is_none() {
                        let Some(package) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                        let urls = urls(image, package, recipe);
                        if let Err(error) = self.blob(&urls, &package.sha256, package.size) {
                            lock().get_or_insert(error);
                        }
                    }
                });
            }
        });
        if let Some(error) = lock().take() {
            return Err(error);
        }
        let mut edges = BTreeSet::new();
        for package in &image.packages {
            edges.extend(self.session.stat_blob(&package.sha256)?.map(|stat| stat.object));
        }
        let edges: Vec<_> = edges.into_iter().collect();
        Ok(self.session.put_record(&key, b"", &edges, self.now)?)
    }
}

/// Under this key it is known that every package file of an image is in the store.
fn downloads_key(image: &LockedImage) -> CacheKey {
    let mut preimage = Preimage::new("debian packages", 1);
    preimage.add_list("sha256", image.packages.iter().map(|package| package.sha256.to_string()));
    preimage.key()
}

/// Where a package file may be: in its archive, and where that has dropped it.
fn urls(image: &LockedImage, package: &LockedPackage, recipe: &Recipe) -> Vec<String> {
    let Some(archive) = image.archives.get(package.archive) else { return Vec::new() };
    let others = recipe.fallback.iter().map(|text| snapshot::address(text, archive));
    std::iter::once(archive.uri.clone()).chain(others).map(|uri| format!("{uri}/{}", package.file)).collect()
}

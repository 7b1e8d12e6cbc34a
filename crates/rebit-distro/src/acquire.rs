//! From the archives to pins, and from pins to package files in the store.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rebit_layer::codec::decode::{self, DecodeLimits};
use rebit_oci::encode::Preimage;
use rebit_oci::{CacheKey, Digest};
use rebit_store::Session;

use crate::lock::{LockedArchive, LockedImage, LockedPackage};
use crate::package::{Package, Universe};
use crate::recipe::{Recipe, Variant};
use crate::relation::Relation;
use crate::release::{Release, split_clear_signed};
use crate::solve::{Request, solve};
use crate::sources::{SignedBy, Source, Wanted, select};
use crate::{DistroError, HostError};

/// Largest Release file.
const MAX_RELEASE: u64 = 16 << 20;
/// Most bytes of an index when it is decompressed.
const MAX_INDEX: u64 = 2 << 30;
/// How many package files are fetched at the same time.
const FETCHERS: usize = 4;

/// What the machine does for this crate.
pub trait Host: Sync {
    /// Gets what a URL leads to into an empty file.
    ///
    /// # Errors
    /// When there is no whole answer.
    fn fetch(&self, url: &str, into: &mut File) -> Result<(), HostError>;

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

/// What was read of archives, for the next image.
#[derive(Debug, Default)]
pub struct Indexes {
    known: Vec<(IndexesKey, Arc<Read>)>,
}

/// What some archives have.
#[derive(Debug)]
struct Read {
    universe: Universe,
    archives: Vec<LockedArchive>,
}

#[derive(Debug, PartialEq, Eq)]
struct IndexesKey {
    sources: Vec<Source>,
    architecture: String,
    keyrings: Vec<std::path::PathBuf>,
}

impl<'a> Archives<'a> {
    fn host(&self, url: &str) -> Result<&'a dyn Host, DistroError> {
        self.host.ok_or_else(|| DistroError::Offline { url: url.to_owned() })
    }

    fn download(&self, url: &str) -> Result<(rebit_store::ScratchDir, File), DistroError> {
        let host = self.host(url)?;
        let scratch = self.session.scratch_dir("deb")?;
        let path = scratch.path().join("body");
        let failed = |source| DistroError::Io { path: path.display().to_string(), source };
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        host.fetch(url, &mut file).map_err(|source| DistroError::Fetch { url: url.to_owned(), source })?;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        Ok((scratch, file))
    }

    /// A small file that nothing is known of before.
    fn text(&self, url: &str) -> Result<Vec<u8>, DistroError> {
        let (_scratch, file) = self.download(url)?;
        let mut text = Vec::new();
        let read = file.take(MAX_RELEASE + 1).read_to_end(&mut text);
        read.map_err(|source| DistroError::Io { path: url.to_owned(), source })?;
        if text.len() as u64 > MAX_RELEASE {
            let reason = format!("it is larger than {MAX_RELEASE} bytes");
            return Err(DistroError::Release { url: url.to_owned(), reason });
        }
        Ok(text)
    }

    /// Sees to it that the store has a file whose digest is known.
    fn blob(&self, url: &str, expected: &Digest, expected_size: u64) -> Result<(), DistroError> {
        if self.session.stat_blob(expected)?.is_some_and(|stat| stat.size == expected_size) {
            return Ok(());
        }
        let (_scratch, mut file) = self.download(url)?;
        let (found, _, size) = self.session.put_blob_reader(&mut file, &[])?;
        if (found, size) != (*expected, expected_size) {
            let (url, expected) = (url.to_owned(), *expected);
            return Err(DistroError::WrongFile { url, found, size, expected, expected_size });
        }
        Ok(())
    }

    /// The verified Release file of a source, and who signed it.
    fn release(
        &self,
        source: &Source,
        keyrings: &[std::path::PathBuf],
    ) -> Result<(Release, Vec<String>), DistroError> {
        let suite = source.suite.trim_end_matches('/');
        let base = format!("{}/dists/{suite}", source.uri);
        let url = format!("{base}/InRelease");
        let host = self.host(&url)?;
        let (text, signature, url) = match self.text(&url) {
            Ok(text) => {
                let (text, signature) = split_clear_signed(&text, &url)?;
                (text, signature, url)
            }
            // Old archives have the signature in a file of its own.
            Err(error) => {
                let (url, signature) = (format!("{base}/Release"), format!("{base}/Release.gpg"));
                match (self.text(&url), self.text(&signature)) {
                    (Ok(text), Ok(signature)) => (text, signature, url),
                    _ => return Err(error),
                }
            }
        };
        let signers = host
            .verify(&text, &signature, &source.signed_by, keyrings)
            .map_err(|source| DistroError::Signature { url: url.clone(), source })?;
        let now = self.now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        Ok((Release::parse(&text, suite, &url, now)?, signers))
    }

    /// Adds the packages of a source.
    fn index(
        &self,
        universe: &mut Universe,
        source: &Source,
        release: &Release,
        number: usize,
    ) -> Result<Vec<String>, DistroError> {
        let mut components = Vec::new();
        for component in &source.components {
            let Some((path, digest, size)) = release.packages(component, universe.architecture()) else {
                continue;
            };
            let url = format!("{}/dists/{}/{path}", source.uri, source.suite);
            self.blob(&url, &digest, size)?;
            let (reader, _) = self.session.open_blob(&digest)?;
            let limits = DecodeLimits { output: MAX_INDEX, ..DecodeLimits::default() };
            let plain = decode::open(reader, limits)
                .map_err(|source| DistroError::Io { path: url.clone(), source })?;
            universe.add(BufReader::with_capacity(1 << 20, plain), number, &url)?;
            components.push(component.clone());
        }
        if components.is_empty() {
            let what = source.components.join(", ");
            let reason = format!("it has no index of {what} for {}", universe.architecture());
            let url = format!("{}/dists/{}", source.uri, source.suite);
            return Err(DistroError::Release { url, reason });
        }
        Ok(components)
    }

    /// What the archives of these sources have, read once for all images that have them in common.
    fn read(&self, indexes: &mut Indexes, key: IndexesKey) -> Result<Arc<Read>, DistroError> {
        if let Some((_, known)) = indexes.known.iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(known));
        }
        let mut universe = Universe::new(&key.architecture);
        let mut archives = Vec::new();
        for source in &key.sources {
            if let Some(host) = self.host {
                host.say(&format!("reading {} {}", source.uri, source.suite));
            }
            let (release, signers) = self.release(source, &key.keyrings)?;
            let components = self.index(&mut universe, source, &release, archives.len())?;
            let (uri, suite) = (source.uri.clone(), source.suite.clone());
            let (date, release) = (release.date, release.digest);
            archives.push(LockedArchive { uri, suite, components, date, release, signers });
        }
        let read = Arc::new(Read { universe: universe.finish(), archives });
        indexes.known.push((key, Arc::clone(&read)));
        Ok(read)
    }

    /// Finds the packages that a recipe means now. `sources` are those of the machine, `directory` is that of the recipe's file; what
    /// was read of archives stays in `indexes`.
    ///
    /// # Errors
    /// [`DistroError`] where the archives cannot be had or believed, or have no packages that go together.
    pub fn lock(
        &self,
        recipe: &Recipe,
        architecture: &str,
        sources: &[Source],
        directory: &Path,
        indexes: &mut Indexes,
    ) -> Result<LockedImage, DistroError> {
        let architecture = recipe.architecture.as_deref().unwrap_or(architecture);
        let suites = recipe.suites();
        let wanted = Wanted {
            suites: &suites,
            components: &recipe.components,
            architecture,
            mirror: recipe.mirror.as_deref(),
        };
        let key = IndexesKey {
            sources: select(sources, &wanted)?,
            architecture: architecture.to_owned(),
            keyrings: recipe.keyrings.iter().map(|path| directory.join(path)).collect(),
        };
        for source in &key.sources {
            // What is in the lock is for everybody to read.
            let authority =
                source.uri.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
            if authority.contains('@') {
                let reason = format!(
                    "the address of the suite `{}` has credentials, and pins would keep them",
                    source.suite
                );
                return Err(DistroError::Configuration {
                    file: "the sources of packages".to_owned(),
                    reason,
                });
            }
        }
        let read = self.read(indexes, key)?;
        let Read { universe, archives } = &*read;
        let packages = solve(universe, &request(recipe, universe)?)?.into_iter().map(pin).collect();
        Ok(LockedImage {
            inputs: recipe.inputs(architecture),
            architecture: architecture.to_owned(),
            archives: archives.clone(),
            packages,
        })
    }

    /// Sees to it that the store has every package file of an image, and keeps them for as long as builds use them.
    ///
    /// # Errors
    /// [`DistroError`].
    pub fn fetch(&self, image: &LockedImage) -> Result<(), DistroError> {
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
                        if let Err(error) = self.blob(&url(image, package), &package.sha256, package.size) {
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

fn url(image: &LockedImage, package: &LockedPackage) -> String {
    let uri = image.archives.get(package.archive).map_or("", |archive| &archive.uri);
    format!("{uri}/{}", package.file)
}

fn pin(package: &Package) -> LockedPackage {
    LockedPackage {
        name: package.name.clone(),
        version: package.version.to_string(),
        architecture: package.architecture.clone(),
        size: package.size,
        sha256: package.sha256,
        archive: package.archive,
        file: package.file.clone(),
    }
}

/// What a recipe asks for; a system has what no system can do without, and a package manager.
fn request(recipe: &Recipe, universe: &Universe) -> Result<Request, DistroError> {
    let wrong = |reason| DistroError::Recipe { file: crate::recipe::FILE_NAME.to_owned(), reason };
    let mut packages = recipe.wanted().map_err(wrong)?;
    if recipe.variant == Variant::Minbase {
        let base: BTreeSet<&str> =
            universe.iter().filter(|p| p.essential || p.required).map(|p| p.name.as_str()).collect();
        let plain = |name: &str| Relation {
            name: name.to_owned(),
            qualifier: None,
            version: None,
            architectures: Vec::new(),
        };
        let known: BTreeSet<String> = packages.iter().map(|relation| relation.name.clone()).collect();
        // `/usr` is merged from the start, so the package that would do it, with Perl and all, is not needed.
        let merged = universe.named("usr-is-merged").next().map(|_| "usr-is-merged");
        let more = base.into_iter().chain(["apt"]).chain(merged);
        packages
            .extend(more.filter(|name| !known.contains(*name) && !recipe.exclude.contains(*name)).map(plain));
    }
    Ok(Request { packages, exclude: recipe.exclude.clone(), dependencies: recipe.dependencies() })
}

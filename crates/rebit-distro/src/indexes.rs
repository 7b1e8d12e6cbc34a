//! What archives have: Release files that are verified, and the indexes that they name.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rebit_layer::codec::decode::{self, DecodeLimits};

use crate::acquire::Archives;
use crate::lock::{LockedArchive, LockedImage, LockedPackage};
use crate::package::{Package, Universe};
use crate::recipe::{Recipe, Variant};
use crate::relation::Relation;
use crate::release::{Release, split_clear_signed};
use crate::solve::{Request, solve};
use crate::sources::{Source, Wanted, select};
use crate::{DistroError, date};

/// Most bytes of an index when it is decompressed.
const MAX_INDEX: u64 = 2 << 30;

/// Where a recipe is, and what the machine knows.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The architecture that is wanted, in Debian's words.
    pub architecture: &'a str,
    /// The sources of the machine.
    pub sources: &'a [Source],
    /// The directory of the recipe's file.
    pub directory: &'a Path,
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
    keyrings: Vec<PathBuf>,
}

impl Archives<'_> {
    /// The verified Release file of a source, and who signed it.
    fn release(&self, source: &Source, keyrings: &[PathBuf]) -> Result<(Release, Vec<String>), DistroError> {
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
        let release = Release::parse(&text, suite, &url, now, source.expired == Some(true))?;
        if let Some(until) = &release.expired {
            host.say(&format!("{url} is not to be believed since {until}, and is taken all the same"));
        }
        Ok((release, signers))
    }

    /// Adds the packages of a source.
    fn index(
        &self,
        universe: &mut Universe,
        source: &Source,
        release: &Release,
        number: usize,
    ) -> Result<Vec<String>, DistroError> {
        let base = format!("{}/dists/{}", source.uri, source.suite);
        let architecture = universe.architecture().to_owned();
        let mut components = Vec::new();
        for component in &source.components {
            let all = release.separate_all.then_some("all");
            for architecture in all.into_iter().chain([architecture.as_str()]) {
                let Some(file) = release.packages(component, architecture) else { continue };
                // Some archives say that they have files by their digests, and have them late or not.
                let paths = file.by_hash.iter().chain([&file.path]);
                let urls: Vec<String> = paths.map(|path| format!("{base}/{path}")).collect();
                self.blob(&urls, &file.digest, file.size)?;
                let url = format!("{base}/{}", file.path);
                let (reader, _) = self.session.open_blob(&file.digest)?;
                let limits = DecodeLimits { output: MAX_INDEX, ..DecodeLimits::default() };
                let plain = decode::open(reader, limits)
                    .map_err(|source| DistroError::Io { path: url.clone(), source })?;
                universe.add(BufReader::with_capacity(1 << 20, plain), number, &url)?;
                if components.last() != Some(component) {
                    components.push(component.clone());
                }
            }
        }
        if components.is_empty() {
            let what = source.components.join(", ");
            let reason = format!("it has no index of {what} for {architecture}");
            return Err(DistroError::Release { url: base, reason });
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

    /// Finds the packages that a recipe means now. What was read of archives stays in `indexes`. An archive must not be older than the one
    /// that the pins that are `known` come from.
    ///
    /// # Errors
    /// [`DistroError`] where the archives cannot be had or believed, or have no packages that go together.
    pub fn lock(
        &self,
        recipe: &Recipe,
        machine: &Sources<'_>,
        known: Option<&LockedImage>,
        indexes: &mut Indexes,
    ) -> Result<LockedImage, DistroError> {
        let Sources { architecture, sources, directory } = *machine;
        let suites = recipe.suites();
        let wanted = Wanted {
            suites: &suites,
            components: &recipe.components,
            architecture,
            mirror: recipe.mirror.as_deref(),
            expired: !recipe.check_valid_until,
        };
        let key = IndexesKey {
            sources: select(sources, &wanted)?,
            architecture: architecture.to_owned(),
            keyrings: recipe.keyrings.iter().map(|path| directory.join(path)).collect(),
        };
        let read = self.read(indexes, key)?;
        let Read { universe, archives } = &*read;
        archives.iter().try_for_each(|archive| check_age(archive, known))?;
        let packages = solve(universe, &request(recipe, universe)?)?.into_iter().map(pin).collect();
        Ok(LockedImage {
            inputs: recipe.inputs(architecture),
            architecture: architecture.to_owned(),
            archives: archives.clone(),
            packages,
        })
    }
}

/// Whoever can keep an archive's signed state can show it again later; what is pinned tells.
fn check_age(archive: &LockedArchive, known: Option<&LockedImage>) -> Result<(), DistroError> {
    let known = known.into_iter().flat_map(|image| &image.archives);
    let mut known = known.filter(|old| (&old.uri, &old.suite) == (&archive.uri, &archive.suite));
    match known.find(|old| date::parse(&archive.date) < date::parse(&old.date)) {
        None => Ok(()),
        Some(old) => Err(DistroError::Older {
            url: format!("{}/dists/{}", archive.uri, archive.suite),
            date: archive.date.clone(),
            pinned: old.date.clone(),
        }),
    }
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
            universe.iter().filter(|p| p.essential || p.priority == 0).map(|p| p.name.as_str()).collect();
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

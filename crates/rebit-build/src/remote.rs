//! URLs and git commits in the store: fetched once, and known from then on by what identifies them.
//!
//! - A file is known by its SHA-256. A URL with a checksum that is known is not asked for. One without is: the server
//!   compares what it has with what is known of the URL, and what comes out is used by its content.
//! - A commit is known by its number, whichever repository it came from. A branch or tag is looked up first, unless the source has the
//!   commit in full beside it. With `.git` kept, repository and name are part of what is known, because they are written into it.
//!
//! One value of [`Remote`] serves a whole build: within it a URL or name that is asked for twice is fetched once.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rebit_dockerfile::remote::{GitSource, redacted};
use rebit_layer::tree::{LoadError, StoreError as TreeError};
use rebit_layer::{
    Conflict, DiskError, Metadata, ModePolicy, NoCache, Tree, TreePath, Verdict, WalkOptions, walk_directory,
};
use rebit_oci::encode::Preimage;
use rebit_oci::{CacheKey, Digest, ObjectId, TreeId};
use rebit_store::{Session, StoreError};
use serde::{Deserialize, Serialize};

use crate::error::StepProblem;
use crate::fetch::{Fetch, FetchError, GitCommit, GitWanted, UrlAnswer, Validators};
use crate::record;

/// Why something remote is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The build has no network, and the store does not know it.
    #[error("`{what}` is not in the store, and the build has no network")]
    Offline {
        /// The address.
        what: String,
    },
    /// The build has no network, and only that could tell what the address means now.
    #[error("`{what}` may have changed, and the build has no network to find out")]
    Unpinned {
        /// The address.
        what: String,
    },
    /// It could not be fetched.
    #[error("{source}")]
    Fetch {
        /// Why; it names the address.
        source: FetchError,
    },
    /// What came is not what it has to be.
    #[error("`{url}` has the checksum {found}, and has to have {wanted}")]
    WrongChecksum {
        /// The address.
        url: String,
        /// What came.
        found: Digest,
        /// What has to come.
        wanted: Digest,
    },
    /// The checkout cannot be read.
    #[error("cannot read the checkout of `{what}`")]
    Disk {
        /// The repository.
        what: String,
        /// Why.
        source: DiskError,
    },
    /// A file to fetch into cannot be made or read.
    #[error("cannot keep what `{what}` sends")]
    Io {
        /// The address.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The tree of a commit cannot be loaded.
    #[error("cannot load a file tree")]
    Load(#[from] LoadError),
    /// The tree of a commit cannot be stored.
    #[error("cannot store a file tree")]
    StoreTree(#[from] TreeError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// A file of the store that came from a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its content.
    pub object: ObjectId,
    /// Its length.
    pub size: u64,
}

/// The files of a commit.
#[derive(Debug, Clone)]
pub struct RemoteTree {
    /// The commit in full.
    pub commit: String,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
    /// The files, times 0.
    pub tree: Arc<Tree>,
}

impl RemoteTree {
    /// The directory that a source wants, links followed within the repository.
    ///
    /// # Errors
    /// [`StepProblem::SourceMissing`], [`StepProblem::NotDirectory`] and the like.
    pub fn directory(&self, source: &GitSource) -> Result<TreePath, StepProblem> {
        let wanted = source.subdir.as_deref().unwrap_or("/");
        let wanted = crate::plan::absolute("/", wanted);
        let path = self.tree.resolve(&wanted, true).map_err(|source| StepProblem::Resolve { source })?;
        match self.tree.get(&path) {
            Some(node) if node.is_directory() => Ok(path),
            Some(_) => Err(StepProblem::NotDirectory { path: wanted }),
            None => Err(StepProblem::SourceMissing {
                path: wanted,
                place: format!("commit {} of `{}`", self.commit, redacted(&source.remote)),
            }),
        }
    }
}

impl RemoteTree {
    /// The directory that a source wants, as a tree of its own.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub fn subtree(&self, source: &GitSource) -> Result<Tree, StepProblem> {
        let path = self.directory(source)?;
        if path.is_root() {
            return Ok(Tree::clone(&self.tree));
        }
        let (root, parents) = (TreePath::root(), Metadata::directory(0));
        let mut tree = Tree::with_root(parents.clone());
        tree.graft(&self.tree, &path, &root, &parents, Conflict::Replace, |_, _| true)
            .map_err(|source| StepProblem::Graft { source })?;
        Ok(tree)
    }
}

/// What is remembered of a URL (`docs/format/record.md`, R-12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UrlRecord {
    file: RemoteFile,
    validators: Validators,
}

/// What is remembered of a commit (`docs/format/record.md`, R-14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CommitRecord {
    tree: TreeId,
    time: i64,
}

/// Results by what was asked for; each is found out once, and whoever asks meanwhile waits.
type Memo<T> = Mutex<BTreeMap<String, Arc<Mutex<Option<T>>>>>;

/// Gets what is remote, from the store where that is possible.
pub struct Remote<'a> {
    session: &'a Session,
    fetch: Option<&'a dyn Fetch>,
    now: SystemTime,
    files: Memo<RemoteFile>,
    commits: Memo<GitCommit>,
}

impl std::fmt::Debug for Remote<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("online", &self.fetch.is_some()).finish_non_exhaustive()
    }
}

impl<'a> Remote<'a> {
    /// Without `fetch` there is no network, and only what the store knows is to be had. `now` is for ages of records.
    #[must_use]
    pub fn new(session: &'a Session, fetch: Option<&'a dyn Fetch>, now: SystemTime) -> Self {
        Self { session, fetch, now, files: Memo::default(), commits: Memo::default() }
    }

    /// The file that a URL leads to. `say` is told what is fetched, before it is.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn url(
        &self,
        url: &str,
        checksum: Option<&Digest>,
        say: &dyn Fn(&str),
    ) -> Result<RemoteFile, RemoteError> {
        if let Some(digest) = checksum
            && let Some(file) = self.known_file(digest)?
        {
            return Ok(file);
        }
        let file = once(&self.files, url, || self.fetch_url(url, checksum.is_some(), say))?;
        match checksum {
            Some(wanted) if *wanted != file.digest => {
                Err(RemoteError::WrongChecksum { url: redacted(url), found: file.digest, wanted: *wanted })
            }
            _ => Ok(file),
        }
    }

    fn known_file(&self, digest: &Digest) -> Result<Option<RemoteFile>, RemoteError> {
        let known = self.session.get_record(&file_key(digest), self.now)?;
        Ok(known.and_then(|bytes| record::decode(&bytes)))
    }

    fn fetch_url(&self, url: &str, pinned: bool, say: &dyn Fn(&str)) -> Result<RemoteFile, RemoteError> {
        let shown = redacted(url);
        let key = url_key(&shown);
        let known: Option<UrlRecord> =
            self.session.get_record(&key, self.now)?.and_then(|bytes| record::decode(&bytes));
        let Some(fetch) = self.fetch else {
            return Err(match known {
                Some(_) if !pinned => RemoteError::Unpinned { what: shown },
                _ => RemoteError::Offline { what: shown },
            });
        };
        say(&format!("fetching {shown}"));
        let failed = |source| RemoteError::Io { what: shown.clone(), source };
        let scratch = self.session.scratch_dir("url")?;
        let path = scratch.path().join("body");
        let mut file =
            std::fs::File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
        let validators = known.as_ref().map(|known| known.validators.clone()).unwrap_or_default();
        let answer =
            fetch.url(url, &validators, &mut file).map_err(|source| RemoteError::Fetch { source })?;
        let validators = match (answer, known) {
            (UrlAnswer::Unchanged, Some(known)) => return Ok(known.file),
            // Who was told of nothing cannot say that it is right.
            (UrlAnswer::Unchanged, None) => Validators::default(),
            (UrlAnswer::New(validators), _) => validators,
        };
        let (digest, object, size) = self.session.put_blob_reader(&mut file, &[])?;
        let file = RemoteFile { digest, object, size };
        let known = UrlRecord { file: file.clone(), validators };
        self.session.put_record(&key, &record::encode(&known), &[object], self.now)?;
        self.session.put_record(&file_key(&digest), &record::encode(&file), &[object], self.now)?;
        Ok(file)
    }

    /// The files of the commit that a source means. `say` is told what is fetched, before it is.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn git(
        &self,
        source: &GitSource,
        submodules: bool,
        keep_git_dir: bool,
        say: &dyn Fn(&str),
    ) -> Result<RemoteTree, RemoteError> {
        // A name matters to what is kept of git, and has to be looked up for it.
        let full =
            source.commit().filter(|commit| !keep_git_dir || source.reference.as_deref() == Some(commit));
        let pinned = full.map(|commit| GitCommit { commit: commit.to_owned(), name: None, tag: None });
        if let Some(commit) = &pinned
            && let Some(known) = self.known_commit(source, commit, submodules, keep_git_dir)?
        {
            return Ok(known);
        }
        let what = source.to_string();
        let Some(fetch) = self.fetch else {
            return Err(match pinned {
                Some(_) => RemoteError::Offline { what },
                None => RemoteError::Unpinned { what },
            });
        };
        let asked = format!("{}\n{:?}\n{:?}", source.remote, source.reference, source.checksum);
        let commit = once(&self.commits, &asked, || {
            fetch.resolve(source).map_err(|source| RemoteError::Fetch { source })
        })?;
        if let Some(known) = self.known_commit(source, &commit, submodules, keep_git_dir)? {
            return Ok(known);
        }
        say(&format!("fetching commit {} of {}", commit.commit, redacted(&source.remote)));
        let scratch = self.session.scratch_dir("git")?;
        let wanted = GitWanted { remote: &source.remote, commit: &commit, submodules, keep_git_dir };
        let time = fetch.checkout(&wanted, scratch.path()).map_err(|source| RemoteError::Fetch { source })?;
        let options = WalkOptions { modes: ModePolicy::Executable, epoch: 0, now: 0 };
        let all = |_: &TreePath, _: bool| Verdict::Include;
        let walked = walk_directory(scratch.path(), self.session, &all, &NoCache, &options)
            .map_err(|source| RemoteError::Disk { what, source })?;
        let tree = walked.tree.store(self.session)?;
        let key = commit_key(source, &commit, submodules, keep_git_dir);
        let payload = record::encode(&CommitRecord { tree, time });
        self.session.put_record(&key, &payload, &[tree.object()], self.now)?;
        Ok(RemoteTree { commit: commit.commit, time, tree: Arc::new(walked.tree) })
    }

    fn known_commit(
        &self,
        source: &GitSource,
        commit: &GitCommit,
        submodules: bool,
        keep_git_dir: bool,
    ) -> Result<Option<RemoteTree>, RemoteError> {
        let key = commit_key(source, commit, submodules, keep_git_dir);
        let known = self.session.get_record(&key, self.now)?;
        let Some(known) = known.and_then(|bytes| record::decode::<CommitRecord>(&bytes)) else {
            return Ok(None);
        };
        let tree = Arc::new(Tree::load(&known.tree, self.session)?);
        Ok(Some(RemoteTree { commit: commit.commit.clone(), time: known.time, tree }))
    }
}

/// A tree that holds a file alone, as `ADD` takes it: its owner may read and write it.
pub(crate) fn lone_file(file: &RemoteFile, epoch: i64) -> rebit_layer::Node {
    rebit_layer::Node::file(Metadata::new(0o600, epoch), file.object, file.size)
}

fn once<T: Clone>(
    memo: &Memo<T>,
    key: &str,
    find: impl FnOnce() -> Result<T, RemoteError>,
) -> Result<T, RemoteError> {
    let slot = {
        let mut memo = memo.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memo.entry(key.to_owned()).or_default())
    };
    let mut found = slot.lock().unwrap_or_else(PoisonError::into_inner);
    match &*found {
        Some(value) => Ok(value.clone()),
        None => {
            let value = find()?;
            *found = Some(value.clone());
            Ok(value)
        }
    }
}

/// Under this key it is known what a URL led to; credentials are no part of it.
fn url_key(shown: &str) -> CacheKey {
    let mut preimage = Preimage::new("fetched url", 1);
    preimage.add("url", shown);
    preimage.key()
}

/// Under this key the file with a digest is known.
fn file_key(digest: &Digest) -> CacheKey {
    let mut preimage = Preimage::new("fetched file", 1);
    preimage.add("digest", digest.to_string());
    preimage.key()
}

/// Under this key the tree of a commit is known.
fn commit_key(source: &GitSource, commit: &GitCommit, submodules: bool, keep_git_dir: bool) -> CacheKey {
    let mut preimage = Preimage::new("fetched commit", 1);
    preimage.add("commit", &commit.commit);
    preimage.add("submodules", if submodules { "yes" } else { "no" });
    // The addresses of submodules may be relative to the repository's.
    if submodules || keep_git_dir {
        preimage.add("repository", redacted(&source.remote));
    }
    if keep_git_dir {
        preimage.add("name", commit.name.as_deref().unwrap_or_default());
        preimage.add("tag", commit.tag.as_deref().unwrap_or_default());
    }
    preimage.key()
}

#[cfg(test)]
mod tests;

//! What the builder asks of the network. The command line implements it; nothing in this crate opens a socket.

use std::error::Error;
use std::fs::File;
use std::path::Path;

use rebit_dockerfile::remote::GitSource;
use serde::{Deserialize, Serialize};

/// Why something could not be fetched; it names the address, without credentials.
pub type FetchError = Box<dyn Error + Send + Sync>;

/// Gets URLs and commits.
pub trait Fetch: Sync {
    /// Gets a URL into an empty file, unless the server says that what has `known` is still right.
    ///
    /// # Errors
    /// When there is no whole answer.
    fn url(&self, url: &str, known: &Validators, into: &mut File) -> Result<UrlAnswer, FetchError>;

    /// Finds the commit that a source means now, and checks it against the source's checksum.
    ///
    /// # Errors
    /// When there is none, or another than the checksum says.
    fn resolve(&self, source: &GitSource) -> Result<GitCommit, FetchError>;

    /// Writes the files of a commit into an empty directory; returns when it was committed, in seconds since 1970.
    ///
    /// # Errors
    /// When the commit cannot be had.
    fn checkout(&self, wanted: &GitWanted<'_>, into: &Path) -> Result<i64, FetchError>;
}

/// What a server compares with what it has (RFC 9110, 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// The answer to a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlAnswer {
    /// What is known is right.
    Unchanged,
    /// The file holds it now; this is what to ask with the next time.
    New(Validators),
}

/// A commit, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// The commit in full.
    pub commit: String,
    /// The full name of the reference that led to it.
    pub name: Option<String>,
    /// The annotated tag that the reference is.
    pub tag: Option<String>,
}

/// A commit to check out.
#[derive(Debug, Clone, Copy)]
pub struct GitWanted<'a> {
    /// The repository.
    pub remote: &'a str,
    /// The commit.
    pub commit: &'a GitCommit,
    /// Whether submodules are taken.
    pub submodules: bool,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
}

//! What can go wrong on the way from a recipe to an image.

use std::io;

use rebit_layer::{LoadError, PathError, ReadError, ResolveError};
use rebit_oci::Digest;
use rebit_oci::object::ObjectError;

use crate::ar::ArError;
use crate::relation::ParseRelationError;
use crate::solve::Unsolvable;

/// What the host says of something it was asked to do; it names the address, without credentials.
pub type HostError = Box<dyn std::error::Error + Send + Sync>;

/// What is wrong with a package file.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// It is no archive.
    #[error(transparent)]
    Ar(#[from] ArError),
    /// A part is missing.
    #[error("it has no {member}")]
    Missing {
        /// Which.
        member: &'static str,
    },
    /// A part has no place in it, or not there.
    #[error("it has a member `{name}` where none belongs")]
    Member {
        /// Its name, cut.
        name: String,
    },
    /// It has a device, which no package may have (Debian policy 10.6).
    #[error("it has the device `{path}`, which no package may have")]
    Device {
        /// Where.
        path: String,
    },
    /// One of its archives cannot be read.
    #[error("its {member} cannot be read")]
    Archive {
        /// Which.
        member: String,
        /// Why.
        source: Box<ReadError>,
    },
}

/// Why there is no lock or no image.
#[derive(Debug, thiserror::Error)]
pub enum DistroError {
    /// A recipe is not valid.
    #[error("`{file}` is not valid: {reason}")]
    Recipe {
        /// The file.
        file: String,
        /// What is wrong and where.
        reason: String,
    },
    /// The lock does not have what the recipe needs.
    #[error("`{name}` is not locked: {reason}")]
    NotLocked {
        /// The image.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A file of the host's configuration cannot be used.
    #[error("`{file}` cannot be used: {reason}")]
    Configuration {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Nothing says where the suite is to be had.
    #[error("no source for the suite `{suite}` is known")]
    NoSource {
        /// The suite.
        suite: String,
    },
    /// A Release file is not to be believed.
    #[error("`{url}` is not taken: {reason}")]
    Release {
        /// The file.
        url: String,
        /// Why.
        reason: String,
    },
    /// An archive is shown as it was before the pins were made.
    #[error("`{url}` is of {date}, older than what is pinned, which is of {pinned}")]
    Older {
        /// The suite.
        url: String,
        /// The date of its Release file.
        date: String,
        /// The date that the pins know.
        pinned: String,
    },
    /// Nobody who is trusted has signed a Release file.
    #[error("the signature of `{url}` does not hold")]
    Signature {
        /// The file.
        url: String,
        /// What the verifier says.
        source: HostError,
    },
    /// An index cannot be read.
    #[error("the index `{index}` is damaged at the package `{package}`: {reason}")]
    Index {
        /// Its address.
        index: String,
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A field of a package cannot be read.
    #[error("the field {field} of {package} cannot be read")]
    Relation {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        source: ParseRelationError,
    },
    /// There are no packages that go together.
    #[error("there are no packages that go together")]
    Unsolvable {
        /// What cannot be had, and why.
        source: Unsolvable,
    },
    /// Something could not be fetched.
    #[error("cannot get `{url}`")]
    Fetch {
        /// The address.
        url: String,
        /// Why.
        source: HostError,
    },
    /// Something that is not in the store would have to be fetched.
    #[error("`{url}` is not in the store, and nothing is to be fetched")]
    Offline {
        /// The address.
        url: String,
    },
    /// Something else came than what the index or the lock says.
    #[error("`{url}` has digest {found} and {size} bytes; {expected} and {expected_size} were expected")]
    WrongFile {
        /// The address.
        url: String,
        /// What came.
        found: Digest,
        /// How long it is.
        size: u64,
        /// What was to come.
        expected: Digest,
        /// How long it was to be.
        expected_size: u64,
    },
    /// A package file is damaged or of an unknown kind.
    #[error("the package file of {package} cannot be unpacked")]
    Deb {
        /// The package.
        package: String,
        /// What is wrong.
        source: DebError,
    },
    /// Two packages have the same file, and neither says that it may replace the other's.
    #[error("`{path}` is in {package} and in {other}, and neither replaces the other")]
    FileConflict {
        /// The path.
        path: String,
        /// The later package.
        package: String,
        /// The earlier one.
        other: String,
    },
    /// A path of a package or a recipe has no place in the tree.
    #[error("`{path}` of {of} has no place in the image")]
    Place {
        /// The path.
        path: String,
        /// Whose it is.
        of: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A maintainer script failed, or could not be run.
    #[error("the packages of `{name}` could not be set up")]
    Scripts {
        /// The image.
        name: String,
        /// What happened.
        source: HostError,
    },
    /// A file could not be written or read.
    #[error("cannot use `{path}`")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] rebit_store::StoreError),
    /// An object of the store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A tree of the store.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A tree could not be kept.
    #[error(transparent)]
    Tree(#[from] rebit_layer::StoreError),
    /// The image could not be made.
    #[error(transparent)]
    Image(#[from] rebit_image::ImageError),
}

impl DistroError {
    /// A path without a place.
    pub(crate) fn place(
        path: impl std::fmt::Display,
        of: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Place { path: path.to_string(), of: of.to_owned(), source: source.into() }
    }
}

/// Errors of paths, as causes of [`DistroError::Place`].
pub(crate) trait InTree<T> {
    /// Names the path and whose it is.
    fn at(self, path: impl std::fmt::Display, of: &str) -> Result<T, DistroError>;
}

impl<T> InTree<T> for Result<T, PathError> {
    fn at(self, path: impl std::fmt::Display, of: &str) -> Result<T, DistroError> {
        self.map_err(|source| DistroError::place(path, of, source))
    }
}

impl<T> InTree<T> for Result<T, ResolveError> {
    fn at(self, path: impl std::fmt::Display, of: &str) -> Result<T, DistroError> {
        self.map_err(|source| DistroError::place(path, of, source))
    }
}

impl<T> InTree<T> for Result<T, rebit_layer::InsertError> {
    fn at(self, path: impl std::fmt::Display, of: &str) -> Result<T, DistroError> {
        self.map_err(|source| DistroError::place(path, of, source))
    }
}

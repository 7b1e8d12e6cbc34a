//! Places that images come from and go to, behind two traits, and the one pipeline between them.
//!
//! | place | source | sink |
//! |---|---|---|
//! | the store | [`StoreSource`] | [`put_image`](crate::put_image), after a look at the layers |
//! | `oci:` | [`LayoutSource`] | [`LayoutSink`] |
//! | `oci-archive:` | [`LayoutSource`] | [`ArchiveSink`] |
//! | `docker-archive:` | [`DockerArchiveSource`] | [`ArchiveSink`] |
//!
//! Every byte that passes is verified by [`copy`] and by the readers that sources hand out.

mod archive_sink;
mod copy;
mod docker_archive;
mod everything;
pub(crate) mod files;
pub(crate) mod layout_index;
mod layout_sink;
mod layout_source;
mod publish;
mod resolve;
mod store_source;
pub(crate) mod tar_scan;

use std::io::Read;

pub(crate) use archive_sink::DockerManifest;
pub use archive_sink::{ArchiveForm, ArchiveSink};
pub use copy::{copy, copy_index};
pub use docker_archive::DockerArchiveSource;
pub(crate) use docker_archive::{SavedImage, saved_images};
pub use everything::{Document, Everything, everything, top};
pub use layout_sink::LayoutSink;
pub(crate) use layout_sink::check_version;
pub use layout_source::LayoutSource;
pub use resolve::select;
pub(crate) use resolve::{MAX_DEPTH, documents, is_attestation, read_blob};
pub use store_source::StoreSource;

use rebit_oci::config::ImageConfig;
use rebit_oci::manifest::{ImageManifest, MediaType};
use rebit_oci::object::ObjectSource;
use rebit_oci::{Digest, ObjectId, Raw};

use crate::{ImageError, Platform};

/// A manifest or index that a place offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What the descriptor calls it.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// What it is for, when the descriptor says so.
    pub platform: Option<Platform>,
    /// The tag it goes by in an image layout.
    pub tag: Option<String>,
    /// The full name it goes by.
    pub name: Option<String>,
}

/// A blob as objects, in order, with their lengths.
pub struct Parts<'a> {
    /// Who has them.
    pub objects: &'a (dyn ObjectSource + Sync),
    /// Which they are.
    pub list: Vec<(ObjectId, u64)>,
}

impl std::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("list", &self.list).finish_non_exhaustive()
    }
}

/// Where images come from.
pub trait Source: Sync {
    /// The place in words, for messages.
    fn place(&self) -> String;

    /// The manifests and indexes at the top of the place; a place that names one of them offers only that.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] when the place names what is not there.
    fn offers(&self) -> Result<Vec<Offer>, ImageError>;

    /// The length of a blob; `None` when it is not there.
    ///
    /// # Errors
    /// When looking fails.
    fn stat(&self, digest: &Digest) -> Result<Option<u64>, ImageError>;

    /// The objects that a blob is put together from, where that is how it is kept.
    ///
    /// # Errors
    /// When looking fails.
    fn parts(&self, _digest: &Digest) -> Result<Option<Parts<'_>>, ImageError> {
        Ok(None)
    }

    /// Opens a blob of `size` bytes. The reader fails at its end unless the bytes are those of `digest`.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or when it has another size.
    fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + Send + '_>, ImageError>;
}

/// Where images go.
///
/// What was written appears when [`finish`](Self::finish) returns; a sink that is dropped before leaves
/// nothing behind.
pub trait Sink {
    /// Takes a blob of `size` bytes. [`copy`] hands them over in bytewise order of digest.
    ///
    /// # Errors
    /// When reading or writing fails.
    fn put_blob(&mut self, digest: &Digest, size: u64, reader: &mut dyn Read) -> Result<(), ImageError>;

    /// Takes an image whose blobs, the manifest and the config among them, were put.
    ///
    /// # Errors
    /// When writing fails.
    fn put_image(&mut self, image: &ImageDocuments, names: &ImageNames) -> Result<(), ImageError>;

    /// Takes an image index of which everything, itself included, was put.
    ///
    /// # Errors
    /// [`ImageError::Unsupported`] where there can be none, or when writing fails.
    fn put_index(&mut self, top: &Document, names: &ImageNames) -> Result<(), ImageError>;

    /// Makes everything durable and visible.
    ///
    /// # Errors
    /// When writing fails.
    fn finish(self: Box<Self>) -> Result<(), ImageError>;
}

/// The two documents of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageDocuments {
    /// The manifest.
    pub manifest: Raw<ImageManifest>,
    /// The config.
    pub config: Raw<ImageConfig>,
}

/// What an image is called at the place it goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageNames {
    /// The tag that the place itself names.
    pub tag: Option<String>,
    /// Full names.
    pub references: Vec<rebit_oci::Reference>,
}

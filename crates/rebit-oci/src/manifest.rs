//! Manifests, image indexes and descriptors.
//!
//! The models are `oci-spec`'s; what is added here is what it leaves open: digests as [`Digest`], the
//! media types of Docker's schema 2 beside OCI's, and bytes written canonically.
//!
//! Source: OCI image-spec, `manifest.md`, `image-index.md`, `descriptor.md`, `media-types.md`.

use std::collections::BTreeMap;

pub use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType, Platform};

use oci_spec::image::ImageManifestBuilder;

use crate::digest::ParseDigestError;
use crate::document::DocumentError;
use crate::{Digest, Raw};

/// Media type of an OCI manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a Docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of a Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// How a layer blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip (RFC 1952), one or more members.
    Gzip,
    /// Zstandard (RFC 8878), one or more frames.
    Zstd,
}

impl Compression {
    /// The word used on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The OCI media type of a layer compressed so.
    #[must_use]
    pub fn layer_media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }
}

/// What a document or blob is, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image manifest, OCI's or Docker's.
    Manifest,
    /// An image index or manifest list.
    ImageIndex,
    /// An image config.
    Config,
    /// A file system layer.
    Layer(Compression),
    /// Anything else.
    Other,
}

/// Classifies a media type.
#[must_use]
pub fn kind(media_type: &MediaType) -> Kind {
    match media_type.to_string().as_str() {
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
        OCI_INDEX | DOCKER_MANIFEST_LIST => Kind::ImageIndex,
        OCI_CONFIG | DOCKER_CONFIG => Kind::Config,
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Kind::Layer(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Kind::Layer(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Kind::Layer(Compression::Zstd),
        _ => Kind::Other,
    }
}

/// The digest that a descriptor names.
///
/// # Errors
/// When it is not a SHA-256 digest.
pub fn digest(descriptor: &Descriptor) -> Result<Digest, ParseDigestError> {
    descriptor.digest().to_string().parse()
}

/// A descriptor of `size` bytes with digest `digest`.
#[must_use]
pub fn descriptor(media_type: MediaType, digest: Digest, size: u64) -> Descriptor {
    Descriptor::new(media_type, size, oci_spec::image::Sha256Digest::from(digest))
}

impl From<Digest> for oci_spec::image::Sha256Digest {
    fn from(digest: Digest) -> Self {
        use std::str::FromStr;
        // 64 lower-case digits are what the parser asks for, so there is no other outcome.
        Self::from_str(&digest.hex()).unwrap_or_else(|_| unreachable!("a digest is 64 hexadecimal digits"))
    }
}

/// Writes the OCI manifest of an image.
///
/// # Errors
/// [`DocumentError::Unwritable`], which a value of this shape does not cause.
pub fn write_manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Raw<ImageManifest>, DocumentError> {
    write_annotated_manifest(config, layers, &BTreeMap::new())
}

/// As [`write_manifest`], with annotations; without any the bytes are the same.
///
/// # Errors
/// [`DocumentError::Unwritable`], which a value of this shape does not cause.
pub fn write_annotated_manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Raw<ImageManifest>, DocumentError> {
    let mut manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(layers)
        .build()
        .unwrap_or_else(|_| unreachable!("every required field of a manifest is set above"));
    if !annotations.is_empty() {
        manifest.set_annotations(Some(annotations.clone().into_iter().collect()));
    }
    Raw::write("manifest", manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_classified() {
        let check = |text: &str, expected| assert_eq!(kind(&MediaType::from(text)), expected, "{text}");
        check(OCI_MANIFEST, Kind::Manifest);
        check(DOCKER_MANIFEST, Kind::Manifest);
        check(DOCKER_MANIFEST_LIST, Kind::ImageIndex);
        check("application/vnd.docker.image.rootfs.diff.tar.gzip", Kind::Layer(Compression::Gzip));
        check("text/plain", Kind::Other);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            assert_eq!(kind(&compression.layer_media_type()), Kind::Layer(compression));
        }
    }

    #[test]
    fn a_manifest_has_one_text() {
        let config = descriptor(MediaType::ImageConfig, Digest::of(b"config"), 6);
        let layer = descriptor(Compression::Gzip.layer_media_type(), Digest::of(b"layer"), 5);
        let raw = write_manifest(config, vec![layer]).unwrap();
        let (config, layer) = (Digest::of(b"config"), Digest::of(b"layer"));
        let expected = format!(
            r#"{{"config":{{"digest":"{config}","mediaType":"{OCI_CONFIG}","size":6}},"layers":[{{"digest":"{layer}","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":5}}],"mediaType":"{OCI_MANIFEST}","schemaVersion":2}}"#
        );
        assert_eq!(std::str::from_utf8(raw.bytes()).unwrap(), expected);
    }

    #[test]
    fn annotations_are_sorted() {
        let config = descriptor(MediaType::ImageConfig, Digest::of(b"config"), 6);
        let names = ["z", "b", "a", "y", "c"];
        let annotations = names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        let raw = write_annotated_manifest(config, Vec::new(), &annotations).unwrap();
        let text = std::str::from_utf8(raw.bytes()).unwrap();
        assert!(
            text.starts_with(r#"{"annotations":{"a":"1","b":"1","c":"1","y":"1","z":"1"},"config""#),
            "{text}"
        );
    }
}

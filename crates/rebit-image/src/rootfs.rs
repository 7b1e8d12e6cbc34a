//! From a root file system archive to an image of one layer.

use std::io::Read;
use std::time::SystemTime;

use rebit_layer::codec::decode::{self, DecodeLimits};
use rebit_layer::segment::SegmentKey;
use rebit_layer::{
    Changeset, EncodeOptions, LayerFormat, ReadOptions, SegmentCache, Tree, encode_layer, read_layer,
};
use rebit_oci::config::{History, ImageConfig, RunConfig};
use rebit_oci::manifest::{Compression, MediaType, descriptor, write_manifest};
use rebit_oci::{ObjectId, Raw, Reference};
use rebit_store::Session;

use crate::import::DECODE;
use crate::time::rfc3339;
use crate::{ImageError, LayerBlob, NewImage, Platform, StoredImage, put_image};

/// How a root file system becomes an image.
#[derive(Debug, Clone)]
pub struct RootfsOptions {
    /// The time of every file and of the image, in seconds since 1970.
    pub epoch: i64,
    /// How the layer is compressed.
    pub compression: Compression,
    /// What the image runs on.
    pub platform: Platform,
    /// What a container of the image runs and sees. [`RootfsOptions::new`] sets `PATH` and nothing else.
    pub config: RunConfig,
    /// When the names are set. It never reaches the image.
    pub now: SystemTime,
    /// What the archive may decompress to.
    pub decode: DecodeLimits,
}

/// The `PATH` of an image that does not set one.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The one line of the image's history.
const CREATED_BY: &str = "rebit import --rootfs";

impl RootfsOptions {
    /// gzip, the usual limits, and a config with the default `PATH`.
    #[must_use]
    pub fn new(platform: Platform, epoch: i64, now: SystemTime) -> Self {
        let mut config = RunConfig::default();
        config.set_env("PATH", DEFAULT_PATH);
        Self { epoch, compression: Compression::Gzip, platform, config, now, decode: DECODE }
    }
}

/// Makes an image of the root file system in `reader`, a tar archive that may be compressed.
///
/// Every mtime becomes the epoch; everything else is kept: owners, modes, devices, hard links, allowed
/// extended attributes. The result depends on the archive's content and the options alone, not on the order
/// of its entries. Names that start with `.wh.` are refused, as a layer cannot hold them.
///
/// # Errors
/// [`ImageError::Rootfs`] naming the entry, [`ImageError::Encode`], or what the store says.
pub fn import_rootfs(
    session: &Session,
    reader: &mut (dyn Read + Send),
    names: &[Reference],
    options: &RootfsOptions,
) -> Result<StoredImage, ImageError> {
    let mut plain = decode::open(reader, options.decode).map_err(|source| ImageError::Input { source })?;
    let read = read_layer(&mut plain, &Tree::new(), session, &ReadOptions::archive());
    let tree = read.map_err(|source| ImageError::Rootfs { source })?.tree;
    put_rootfs(session, tree, CREATED_BY, names, options)
}

/// Makes an image of one layer that holds `tree`. `created_by` is the line of its history.
///
/// # Errors
/// As [`import_rootfs`].
pub fn put_rootfs(
    session: &Session,
    mut tree: Tree,
    created_by: &str,
    names: &[Reference],
    options: &RootfsOptions,
) -> Result<StoredImage, ImageError> {
    tree.set_mtimes(options.epoch);
    let tree_id = tree.store(session)?;
    let encode =
        EncodeOptions { epoch: options.epoch, compression: options.compression, format: LayerFormat::V1 };
    let encoded = encode_layer(&Changeset::full(&tree), session, session, &Segments(session), &encode)?;
    let layer = LayerBlob {
        diff_id: encoded.diff_id,
        digest: encoded.digest,
        size: encoded.size,
        media_type: options.compression.layer_media_type(),
        object: session.put_composite(&encoded.digest, encoded.size, &encoded.parts)?,
    };
    let config = Raw::write("config", config(&layer, created_by, options))?;
    let manifest = write_manifest(
        descriptor(MediaType::ImageConfig, config.digest(), config.size()),
        vec![descriptor(layer.media_type.clone(), layer.digest, layer.size)],
    )?;
    let new = NewImage { manifest, config, layers: &[layer], trees: Some(&[tree_id]), provenance: None };
    put_image(session, new, names, options.now)
}

fn config(layer: &LayerBlob, created_by: &str, options: &RootfsOptions) -> ImageConfig {
    let created = rfc3339(options.epoch);
    let mut config = ImageConfig::scratch(&options.platform.architecture, &options.platform.os);
    config.variant.clone_from(&options.platform.variant);
    config.created = Some(created.clone());
    config.config = options.config.clone();
    config.rootfs.diff_ids.push(layer.diff_id);
    config.history.push(History {
        created: Some(created),
        created_by: Some(created_by.to_owned()),
        ..History::default()
    });
    config
}

/// The store's table of encoded segments. A failing cache is an empty one.
struct Segments<'a>(&'a Session);

impl SegmentCache for Segments<'_> {
    fn get(&self, key: &SegmentKey, encoder: &str) -> Option<(ObjectId, u64)> {
        self.0.segment(&key.0, encoder).ok().flatten()
    }

    fn put(&self, key: &SegmentKey, encoder: &str, part: ObjectId, size: u64) {
        // What is not remembered is computed again.
        let _ = self.0.put_segment(&key.0, encoder, &part, size);
    }
}

#[cfg(test)]
mod tests {
    use rebit_layer::{Kind, TreePath};

    use super::*;
    use crate::testing::{NOW, amd64, lab, names, tar};

    fn import(session: &Session, archive: &[u8], options: &RootfsOptions) -> StoredImage {
        import_rootfs(session, &mut &*archive, &names(&["base"]), options).unwrap()
    }

    #[test]
    fn a_root_file_system_becomes_an_image() {
        // I-1, I-61, I-62
        let lab = lab();
        let options = RootfsOptions::new(amd64(), 86_400, NOW);
        let image = import(&lab.session, &tar(&[("./bin/sh", b"#!"), ("./etc/x", b"y")]), &options);
        assert_eq!(
            String::from_utf8_lossy(image.config.bytes()),
            format!(
                r#"{{"architecture":"amd64","config":{{"Env":["PATH={DEFAULT_PATH}"]}},"created":"1970-01-02T00:00:00Z","history":[{{"created":"1970-01-02T00:00:00Z","created_by":"rebit import --rootfs"}}],"os":"linux","rootfs":{{"diff_ids":["{}"],"type":"layers"}}}}"#,
                image.layers[0].diff_id
            )
        );
        let tree = Tree::load(&image.tree().unwrap().unwrap(), &lab.session).unwrap();
        assert!(tree.iter().all(|(_, node)| node.metadata.mtime == 86_400));
        let file = tree.get(&TreePath::parse(b"bin/sh").unwrap()).unwrap();
        assert!(matches!(file.kind, Kind::File { size: 2, .. }));
    }

    #[test]
    fn the_order_and_compression_of_the_archive_do_not_matter() {
        // I-63
        let lab = lab();
        let options = RootfsOptions::new(amd64(), 0, NOW);
        let files: [(&str, &[u8]); 3] = [("a", b"1"), ("b/c", b"2"), ("d", b"")];
        let image = import(&lab.session, &tar(&files), &options);
        let mut turned = files;
        turned.reverse();
        let other = crate::testing::lab();
        assert_eq!(import(&other.session, &crate::testing::gzip(&tar(&turned)), &options), image);
        let zstd = RootfsOptions { compression: Compression::Zstd, ..options };
        let different = import(&other.session, &tar(&files), &zstd);
        assert_eq!(different.layers[0].diff_id, image.layers[0].diff_id);
        assert_ne!(different.layers[0].digest, image.layers[0].digest);
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let lab = lab();
        let options = RootfsOptions::new(amd64(), 0, NOW);
        let import = |archive: &[u8]| import_rootfs(&lab.session, &mut &*archive, &[], &options).unwrap_err();
        assert!(matches!(import(&[1; 1024]), ImageError::Rootfs { .. }));
        assert!(matches!(import(&tar(&[(".wh.a", b"")])), ImageError::Encode { .. }));
    }
}

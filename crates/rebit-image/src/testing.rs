//! What the tests of this crate share: a store, small archives, small images.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use rebit_oci::{Reference, manifest::Compression};
use rebit_store::{Session, Store, StoreOptions};
use tempfile::TempDir;

use crate::{ImportOptions, Platform, RootfsOptions, StoredImage, import_rootfs};

/// A store in a directory that goes away, and room for files beside it.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) session: Session,
}

pub(crate) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

pub(crate) fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), &store_options()).unwrap();
    Lab { session: store.session().unwrap(), dir }
}

pub(crate) fn store_options() -> StoreOptions {
    StoreOptions { recipes: Some(rebit_layer::recipe::open), ..StoreOptions::default() }
}

impl Lab {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A place below the directory: `at("oci", "x:tag")`.
    pub(crate) fn at(&self, transport: &str, rest: &str) -> crate::Place {
        format!("{transport}:{}", self.path(rest).display()).parse().unwrap()
    }

    /// An image of one layer with these files.
    pub(crate) fn image(&self, files: &[(&str, &[u8])], name: &str) -> StoredImage {
        let mut options = RootfsOptions::new(amd64(), 0, NOW);
        options.compression = Compression::Gzip;
        import_rootfs(&self.session, &mut tar(files).as_slice(), &names(&[name]), &options).unwrap()
    }
}

pub(crate) fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

pub(crate) fn options() -> ImportOptions {
    ImportOptions::new(amd64(), NOW)
}

pub(crate) fn names(texts: &[&str]) -> Vec<Reference> {
    texts.iter().filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

/// A tar archive of regular files, names taken literally.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_mtime(12345);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    rebit_layer::codec::encode_segment(Compression::Gzip, plain).unwrap()
}

/// Runs a tool; `None`, said aloud, when it is not installed.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            crate::testing::skipped(format_args!("needs {program} ({error})"));
            return None;
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

pub(crate) fn write(path: &std::path::Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().write_all(content).unwrap();
}

/// Says that a test does nothing here. Not by `eprintln!`: the test runner hides what that prints in a test that passes.
pub(crate) fn skipped(reason: std::fmt::Arguments<'_>) {
    let line = format!("skipped: {reason}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

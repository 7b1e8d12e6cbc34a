//! An image layout in a directory, written to.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rebit_oci::Digest;
use rebit_oci::digest::HashingReader;
use rebit_oci::document::{DocumentError, MAX_DOCUMENT};

use super::files::{Directory, Files, read_small};
use super::layout_index::{LayoutIndex, OCI_LAYOUT};
use super::layout_source::{blob_name, check_size};
use super::publish::{PREFIX, SUFFIX, Temporary, sync_directory};
use super::{Document, ImageDocuments, ImageNames, Sink};
use crate::ImageError;

/// An image layout in a directory, which one writer at a time extends.
///
/// The other images it has stay. The directory is locked until the sink is dropped.
#[derive(Debug)]
pub struct LayoutSink {
    root: PathBuf,
    index: LayoutIndex,
    fresh: bool,
    /// What was made, and goes again when the work fails, the last first.
    made: Vec<Made>,
    /// Held for its lock.
    _lock: File,
}

#[derive(Debug)]
enum Made {
    Directory(PathBuf),
    File(PathBuf),
}

impl LayoutSink {
    /// Opens the layout at `root`, or makes one there; waits for another writer to end.
    ///
    /// # Errors
    /// [`ImageError::CorruptEntry`] when what is there is not an image layout, [`ImageError::Io`].
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let mut made = Undo(Vec::new());
        make_directory(root, &mut made.0)?;
        let lock = File::open(root).and_then(|file| file.lock().map(|()| file));
        let lock = lock.map_err(|error| ImageError::io("lock", root, error))?;
        let files = Directory::open(root)?;
        let corrupt = |entry: &str, reason: String| ImageError::CorruptEntry {
            entry: entry.to_owned(),
            place: root.display().to_string(),
            reason,
        };
        let index = match read_small(&files, "index.json", MAX_DOCUMENT)? {
            Some(bytes) => Some(LayoutIndex::parse(&bytes).map_err(|reason| corrupt("index.json", reason))?),
            None => None,
        };
        let fresh = match read_small(&files, "oci-layout", 4096)? {
            Some(bytes) => {
                check_version(&bytes).map_err(|reason| corrupt("oci-layout", reason))?;
                false
            }
            None if index.is_some() => return Err(corrupt("oci-layout", "it is missing".to_owned())),
            None if files.names()?.iter().any(|name| !is_temporary(name)) => {
                return Err(corrupt(
                    "oci-layout",
                    "it is missing, and the directory is not empty".to_owned(),
                ));
            }
            None => true,
        };
        // Whatever has such a name belonged to a writer that was killed: the lock is ours.
        for name in files.names()?.iter().filter(|name| is_temporary(name)) {
            let path = root.join(name);
            fs::remove_file(&path).map_err(|error| ImageError::io("remove", &path, error))?;
        }
        make_directory(&root.join("blobs"), &mut made.0)?;
        make_directory(&root.join("blobs/sha256"), &mut made.0)?;
        let made = std::mem::take(&mut made.0);
        let index = index.unwrap_or_else(LayoutIndex::new);
        Ok(Self { root: root.to_owned(), index, fresh, made, _lock: lock })
    }

    /// Whether the blob is there and whole.
    fn has(&self, digest: &Digest, size: u64, path: &Path) -> bool {
        let whole = || {
            let metadata = fs::symlink_metadata(path).ok()?;
            if !metadata.is_file() || metadata.len() != size {
                return None;
            }
            HashingReader::new(File::open(path).ok()?).finish().ok()
        };
        whole() == Some((*digest, size))
    }

    fn publish(&mut self, name: &str, content: &[u8]) -> Result<(), ImageError> {
        let temporary = Temporary::create(&self.root)?;
        let written = temporary.file().and_then(|mut file| file.write_all(content));
        written.map_err(|error| ImageError::io("write", temporary.path(), error))?;
        temporary.publish(&self.root.join(name))
    }
}

impl Sink for LayoutSink {
    fn put_blob(&mut self, digest: &Digest, size: u64, reader: &mut dyn Read) -> Result<(), ImageError> {
        let path = self.root.join(blob_name(digest));
        if self.has(digest, size, &path) {
            return Ok(());
        }
        let temporary = Temporary::create(&self.root)?;
        let mut buffer = vec![0; 256 << 10];
        let mut written = 0_u64;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ImageError::blob(*digest, error)),
            };
            let taken =
                temporary.file().and_then(|mut f| f.write_all(buffer.get(..count).unwrap_or_default()));
            taken.map_err(|error| ImageError::io("write", temporary.path(), error))?;
            written += count as u64;
        }
        check_size(digest, size, written)?;
        let existed = path.exists();
        temporary.publish(&path)?;
        if !existed {
            self.made.push(Made::File(path));
        }
        Ok(())
    }

    fn put_image(&mut self, image: &ImageDocuments, names: &ImageNames) -> Result<(), ImageError> {
        self.index.put(image, names);
        Ok(())
    }

    fn put_index(&mut self, top: &Document, names: &ImageNames) -> Result<(), ImageError> {
        self.index.put_index(top, names);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ImageError> {
        sync_directory(&self.root.join("blobs/sha256"))?;
        sync_directory(&self.root.join("blobs"))?;
        let index = self.index.clone().sealed();
        let index = index.map_err(|source| DocumentError::Unwritable { kind: "image index", source })?;
        if self.fresh {
            self.publish("oci-layout", OCI_LAYOUT)?;
            self.made.push(Made::File(self.root.join("oci-layout")));
        }
        self.publish("index.json", &index)?;
        // From here on the image is there.
        self.made.clear();
        sync_directory(&self.root)?;
        sync_directory(super::publish::directory_of(&self.root))
    }
}

impl Drop for LayoutSink {
    fn drop(&mut self) {
        undo(&mut self.made);
    }
}

struct Undo(Vec<Made>);

impl Drop for Undo {
    fn drop(&mut self) {
        undo(&mut self.0);
    }
}

/// Removes what was made. A directory that is not empty stays, and so does what cannot be removed.
fn undo(made: &mut Vec<Made>) {
    while let Some(last) = made.pop() {
        let _ = match last {
            Made::Directory(path) => fs::remove_dir(path),
            Made::File(path) => fs::remove_file(path),
        };
    }
}

fn make_directory(path: &Path, made: &mut Vec<Made>) -> Result<(), ImageError> {
    match fs::create_dir(path) {
        Ok(()) => {
            made.push(Made::Directory(path.to_owned()));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(ImageError::io("create the directory", path, error)),
    }
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Checks the version of a layout; the error says what is wrong.
pub(crate) fn check_version(bytes: &[u8]) -> Result<(), String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match value.get("imageLayoutVersion").and_then(serde_json::Value::as_str) {
        Some("1.0.0") => Ok(()),
        Some(other) => Err(format!("its version is {other}, not 1.0.0")),
        None => Err("it has no version".to_owned()),
    }
}

//! Objects that are files on disk: what an archive of caches is written from and read into, past the store's packs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};

/// Names contents and keeps none of them.
pub(super) struct Naming;

/// Files that hold the objects of these names.
#[derive(Default)]
pub(super) struct Files {
    pub(super) paths: HashMap<ObjectId, PathBuf>,
    pub(super) small: HashMap<ObjectId, Arc<[u8]>>,
}

/// A directory with a file for each object.
pub(super) struct Spool<'a> {
    directory: &'a Path,
    next: AtomicU64,
}

impl<'a> Spool<'a> {
    pub(super) fn new(directory: &'a Path) -> Self {
        Self { directory, next: AtomicU64::new(0) }
    }

    fn path(&self, object: &ObjectId) -> PathBuf {
        self.directory.join(object.to_string())
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ObjectError {
    move |source| ObjectError::Storage {
        what: format!("cannot use `{}`", path.display()),
        source: source.into(),
    }
}

/// Copies everything and names it.
fn copy(reader: &mut dyn Read, out: &mut dyn Write) -> io::Result<(ObjectId, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    let mut length = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
        hasher.update(read);
        out.write_all(read)?;
        length += count as u64;
    }
    Ok((ObjectId(*hasher.finalize().as_bytes()), length))
}

impl ObjectSink for Naming {
    fn put(&self, content: &[u8], _edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
        Ok(ObjectId::of(content))
    }

    fn put_reader(&self, reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError> {
        let storage = |source: io::Error| ObjectError::Storage {
            what: "cannot read a file of the cache".to_owned(),
            source: source.into(),
        };
        copy(reader, &mut io::sink()).map_err(storage)
    }
}

impl ObjectSink for Spool<'_> {
    fn put(&self, content: &[u8], _edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
        Ok(self.put_reader(&mut &*content)?.0)
    }

    fn put_reader(&self, reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError> {
        let path = self.directory.join(format!("new-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let mut file = File::create_new(&path).map_err(failed(&path))?;
        let (object, length) = copy(reader, &mut file).map_err(failed(&path))?;
        fs::rename(&path, self.path(&object)).map_err(failed(&path))?;
        Ok((object, length))
    }
}

/// A file that fails at its end unless it holds what it is named for.
struct Verified {
    file: File,
    hasher: blake3::Hasher,
    object: ObjectId,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && ObjectId(*self.hasher.finalize().as_bytes()) != self.object {
            return Err(io::Error::other(changed(self.object)));
        }
        Ok(count)
    }
}

fn changed(object: ObjectId) -> ObjectError {
    ObjectError::Corrupt { object, reason: "its file was changed meanwhile".to_owned() }
}

fn open(path: &Path, object: &ObjectId) -> Result<Box<dyn Read + Send>, ObjectError> {
    let file = File::open(path).map_err(failed(path))?;
    Ok(Box::new(Verified { file, hasher: blake3::Hasher::new(), object: *object }))
}

fn read(path: &Path, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
    let content = fs::read(path).map_err(failed(path))?;
    if ObjectId::of(&content) == *object { Ok(content.into()) } else { Err(changed(*object)) }
}

impl ObjectSource for Spool<'_> {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        read(&self.path(object), object)
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        open(&self.path(object), object)
    }
}

impl Files {
    fn path(&self, object: &ObjectId) -> Result<&Path, ObjectError> {
        let found = self.paths.get(object).map(PathBuf::as_path);
        found.ok_or(ObjectError::NotFound { object: *object })
    }
}

impl ObjectSource for Files {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        match self.small.get(object) {
            Some(content) => Ok(Arc::clone(content)),
            None => read(self.path(object)?, object),
        }
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        match self.small.get(object) {
            Some(content) => Ok(Box::new(io::Cursor::new(Arc::clone(content)))),
            None => open(self.path(object)?, object),
        }
    }
}

//! Reading objects and blobs, wherever they are: in packs, or put a moment ago.

use std::io::{self, Read};
use std::sync::Arc;

use rebit_oci::digest::VerifyReader;
use rebit_oci::object::{ObjectError, ObjectSource};
use rebit_oci::{Digest, ObjectId};

use crate::entry::MemberKind;
use crate::index::objects::Place;
use crate::pack::Stored;
use crate::store::Inner;
use crate::{BlobForm, BlobStat, StoreError, pieces};

/// Where an object was found.
pub(crate) enum Located {
    /// Not in a pack yet.
    Memory(Stored),
    /// In a pack.
    Placed(Place),
}

/// Knows where objects are: the store by its index, a session also what it has put.
pub(crate) trait Locate: ObjectSource {
    /// The store that they are in.
    fn inner(&self) -> &Inner;
    /// Finds an object.
    fn locate(&self, object: &ObjectId) -> Result<Option<Located>, StoreError>;
    /// Finds a blob.
    fn locate_blob(&self, digest: &Digest) -> Result<Option<BlobStat>, StoreError>;
}

/// The stored form of an object. A plain one is verified.
fn load(source: &dyn Locate, object: &ObjectId) -> Result<Stored, StoreError> {
    let mut last: Option<(Place, String)> = None;
    // A collection may move the object between looking it up and reading it: then its place has changed.
    loop {
        match source.locate(object)? {
            None => return Err(StoreError::ObjectNotFound { object: *object }),
            Some(Located::Memory(stored)) => return Ok(stored),
            Some(Located::Placed(place)) => {
                if let Some((failed, reason)) = last.take()
                    && failed == place
                {
                    return Err(StoreError::CorruptObject { object: *object, reason });
                }
                match source.inner().packs.load(object, &place) {
                    Ok(stored) => return Ok(stored),
                    Err(reason) => last = Some((place, reason)),
                }
            }
        }
    }
}

fn corrupt(object: &ObjectId, reason: &str) -> StoreError {
    StoreError::CorruptObject { object: *object, reason: reason.to_owned() }
}

/// The pieces of a chunked object.
fn piece_list(object: &ObjectId, stored: &Stored) -> Result<Vec<(ObjectId, u64)>, StoreError> {
    pieces::decode(&stored.bytes).ok_or_else(|| corrupt(object, "its list of chunks is malformed"))
}

/// Reads a chunk, which must not be chunked itself.
fn load_chunk(source: &dyn Locate, object: &ObjectId, length: u64) -> Result<Arc<[u8]>, StoreError> {
    let stored = load(source, object)?;
    if stored.kind != MemberKind::Plain || stored.bytes.len() as u64 != length {
        return Err(corrupt(object, "it is not the chunk that a list promises"));
    }
    Ok(stored.bytes)
}

/// Reads a whole object.
pub(crate) fn read_object(source: &dyn Locate, object: &ObjectId) -> Result<Arc<[u8]>, StoreError> {
    let stored = load(source, object)?;
    if stored.kind == MemberKind::Plain {
        return Ok(stored.bytes);
    }
    let mut content = Vec::new();
    for (chunk, length) in piece_list(object, &stored)? {
        content.extend_from_slice(&load_chunk(source, &chunk, length)?);
    }
    if ObjectId::of(&content) != *object {
        return Err(corrupt(object, "its chunks hash to another identity"));
    }
    Ok(content.into())
}

/// Opens an object for streaming, verified at its end.
pub(crate) fn open_object<'a>(
    source: &'a dyn Locate,
    object: &ObjectId,
) -> Result<Box<dyn Read + Send + 'a>, StoreError> {
    let stored = load(source, object)?;
    if stored.kind == MemberKind::Plain {
        return Ok(Box::new(io::Cursor::new(stored.bytes)));
    }
    Ok(Box::new(ChunkReader {
        source,
        object: *object,
        chunks: piece_list(object, &stored)?.into_iter(),
        chunk: Arc::from([]),
        position: 0,
        hasher: Some(Box::new(blake3::Hasher::new())),
    }))
}

/// What is known of a blob.
pub(crate) fn open_blob<'a>(
    source: &'a dyn Locate,
    digest: &Digest,
) -> Result<(Box<dyn Read + Send + 'a>, u64), StoreError> {
    let found = source.locate_blob(digest)?.ok_or(StoreError::BlobNotFound { digest: *digest })?;
    let content: Box<dyn Read + Send + 'a> = match found.form {
        BlobForm::Plain => open_object(source, &found.object)?,
        BlobForm::Composite => {
            let list = read_object(source, &found.object)?;
            let parts = pieces::decode(&list).ok_or_else(|| StoreError::CorruptBlob {
                digest: *digest,
                reason: "its list of parts is malformed".to_owned(),
            })?;
            Box::new(PartReader { source, parts: parts.into_iter(), part: None, left: 0 })
        }
        BlobForm::Recipe => {
            let failed = |cause| StoreError::Recipe { digest: *digest, source: cause };
            let open = source.inner().options.recipes;
            let open = open.ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
            open(source, &read_object(source, &found.object)?).map_err(failed)?
        }
    };
    Ok((Box::new(VerifyReader::new(content, *digest, found.size)), found.size))
}

/// The objects that a blob is put together from, with their lengths; `None` when it is not.
pub(crate) fn blob_parts(
    source: &dyn Locate,
    digest: &Digest,
) -> Result<Option<Vec<(ObjectId, u64)>>, StoreError> {
    match source.locate_blob(digest)? {
        Some(found) if found.form == BlobForm::Composite => {
            Ok(pieces::decode(&read_object(source, &found.object)?))
        }
        _ => Ok(None),
    }
}

/// Reads a whole blob of at most `limit` bytes.
pub(crate) fn read_blob(source: &dyn Locate, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
    let (mut reader, size) = open_blob(source, digest)?;
    if size > limit {
        return Err(StoreError::Limit { what: format!("blob {digest}"), limit });
    }
    let mut content = Vec::with_capacity(size.min(16 << 20) as usize);
    reader.read_to_end(&mut content).map_err(|error| blob_error(digest, error))?;
    Ok(content)
}

/// Finds the store's own error inside an I/O error.
fn blob_error(digest: &Digest, error: io::Error) -> StoreError {
    match error.downcast::<ObjectError>() {
        Ok(ObjectError::NotFound { object }) => StoreError::ObjectNotFound { object },
        Ok(ObjectError::Corrupt { object, reason }) => StoreError::CorruptObject { object, reason },
        Ok(other) => StoreError::CorruptBlob { digest: *digest, reason: other.to_string() },
        Err(error) => StoreError::CorruptBlob { digest: *digest, reason: error.to_string() },
    }
}

fn into_io(error: StoreError) -> io::Error {
    let kind = match error {
        StoreError::ObjectNotFound { .. } => io::ErrorKind::NotFound,
        StoreError::CorruptObject { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, ObjectError::from(error))
}

/// The content of a chunked object, a chunk at a time.
struct ChunkReader<'a> {
    source: &'a dyn Locate,
    object: ObjectId,
    chunks: std::vec::IntoIter<(ObjectId, u64)>,
    chunk: Arc<[u8]>,
    position: usize,
    hasher: Option<Box<blake3::Hasher>>,
}

impl Read for ChunkReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.position == self.chunk.len() {
            let Some((chunk, length)) = self.chunks.next() else {
                let wrong =
                    self.hasher.take().is_some_and(|hasher| *hasher.finalize().as_bytes() != self.object.0);
                if wrong {
                    return Err(into_io(corrupt(&self.object, "its chunks hash to another identity")));
                }
                return Ok(0);
            };
            self.chunk = load_chunk(self.source, &chunk, length).map_err(into_io)?;
            self.position = 0;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&self.chunk);
            }
        }
        let rest = self.chunk.get(self.position..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}

/// The content of a composite blob, a part at a time. Each part must be as long as the list says.
struct PartReader<'a> {
    source: &'a dyn Locate,
    parts: std::vec::IntoIter<(ObjectId, u64)>,
    part: Option<(ObjectId, Box<dyn Read + Send + 'a>)>,
    left: u64,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some((object, reader)) = &mut self.part {
                let count = reader.read(buffer)?;
                let wrong = || corrupt(object, "its length is not what the list of parts says");
                self.left = self.left.checked_sub(count as u64).ok_or_else(|| into_io(wrong()))?;
                if count > 0 {
                    return Ok(count);
                }
                if self.left > 0 {
                    return Err(into_io(wrong()));
                }
            }
            let Some((object, length)) = self.parts.next() else {
                self.part = None;
                return Ok(0);
            };
            let reader = open_object(self.source, &object).map_err(into_io)?;
            self.part = Some((object, reader));
            self.left = length;
        }
    }
}

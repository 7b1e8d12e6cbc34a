//! The files that hold the contents of images, and the list that says where each content is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rayon::prelude::*;
use rebit_layer::erofs::{BLOCK_SIZE, Place};
use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSource};

use super::failed;
use crate::error::StepProblem;

/// Contents are read and written in pieces of about this size.
const PIECE: u64 = 1 << 20;
const MAGIC: &[u8; 8] = b"rebitdat";
/// Bytes that say where one content is.
const ENTRY: usize = 32 + 2 + 4;

/// A content that is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    pub(super) object: ObjectId,
    pub(super) size: u64,
    pub(super) block: u32,
}

/// Where the contents of an image are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DataIndex {
    /// The length of each data file in blocks.
    pub(super) files: Vec<u32>,
    pub(super) places: BTreeMap<ObjectId, Place>,
}

impl DataIndex {
    /// Bytes of all data files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|blocks| u64::from(*blocks) * BLOCK_SIZE).sum()
    }

    /// Gives places to those of `contents` that have none, in a new data file, and returns what is to be written into it; `None` when they
    /// do not fit into one.
    pub(super) fn add(&mut self, contents: impl Iterator<Item = (ObjectId, u64)>) -> Option<Vec<Content>> {
        let file = u16::try_from(self.files.len()).ok()?;
        let mut next = 0_u32;
        let mut added = Vec::new();
        for (object, size) in contents.filter(|(_, size)| *size > 0) {
            if self.places.contains_key(&object) {
                continue;
            }
            self.places.insert(object, Place { file, block: next });
            added.push(Content { object, size, block: next });
            next = next.checked_add(u32::try_from(size.div_ceil(BLOCK_SIZE)).ok()?)?;
        }
        if next > 0 {
            self.files.push(next);
        }
        Some(added)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((self.files.len() as u32).to_le_bytes());
        self.files.iter().for_each(|blocks| bytes.extend(blocks.to_le_bytes()));
        for (object, place) in &self.places {
            bytes.extend(object.as_bytes());
            bytes.extend(place.file.to_le_bytes());
            bytes.extend(place.block.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (files, entries) =
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?)?;
        let files: Vec<u32> =
            files.as_chunks::<4>().0.iter().map(|blocks| u32::from_le_bytes(*blocks)).collect();
        let (entries, []) = entries.as_chunks::<ENTRY>() else { return None };
        let mut places = BTreeMap::new();
        for entry in entries {
            let (object, rest) = entry.split_first_chunk::<32>()?;
            let (file, rest) = rest.split_first_chunk::<2>()?;
            let (block, _) = rest.split_first_chunk::<4>()?;
            let place = Place { file: u16::from_le_bytes(*file), block: u32::from_le_bytes(*block) };
            if place.block >= *files.get(usize::from(place.file))? {
                return None;
            }
            places.insert(ObjectId(*object), place);
        }
        Some(Self { files, places })
    }
}

/// Writes contents into a new file, each where it is to be, in parallel.
pub(super) fn write(
    path: &Path,
    contents: &[Content],
    objects: &dyn ObjectSource,
) -> Result<(), StepProblem> {
    let file = File::create_new(path).map_err(|source| failed(path, source))?;
    let last = contents.last().map_or(0, |last| u64::from(last.block) + last.size.div_ceil(BLOCK_SIZE));
    file.set_len(last * BLOCK_SIZE).map_err(|source| failed(path, source))?;
    pieces(contents).into_par_iter().try_for_each(|piece| match piece {
        [content] => write_one(&file, path, content, objects),
        several => write_together(&file, path, several, objects),
    })
}

/// Contents that follow each other, together about a piece each time.
fn pieces(contents: &[Content]) -> Vec<&[Content]> {
    let mut pieces = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (number, content) in contents.iter().enumerate() {
        if bytes > 0 && bytes + content.size > PIECE {
            pieces.extend(contents.get(begin..number));
            (begin, bytes) = (number, 0);
        }
        bytes += content.size;
    }
    pieces.extend(contents.get(begin..).filter(|rest| !rest.is_empty()));
    pieces
}

fn write_together(
    file: &File,
    path: &Path,
    contents: &[Content],
    objects: &dyn ObjectSource,
) -> Result<(), StepProblem> {
    let Some(first) = contents.first() else { return Ok(()) };
    let mut bytes = Vec::with_capacity(PIECE as usize * 2);
    for content in contents {
        bytes.resize(usize::try_from(u64::from(content.block - first.block) * BLOCK_SIZE).unwrap_or(0), 0);
        let read = objects.read(&content.object)?;
        check_length(content, read.len() as u64)?;
        bytes.extend_from_slice(&read);
    }
    let at = u64::from(first.block) * BLOCK_SIZE;
    file.write_all_at(&bytes, at).map_err(|source| failed(path, source))
}

fn write_one(
    file: &File,
    path: &Path,
    content: &Content,
    objects: &dyn ObjectSource,
) -> Result<(), StepProblem> {
    struct At<'a>(&'a File, u64);
    impl Write for At<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let written = self.0.write_at(bytes, self.1)?;
            self.1 += written as u64;
            Ok(written)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut place = At(file, u64::from(content.block) * BLOCK_SIZE);
    // One byte more than there should be shows that there is more.
    let mut reader = objects.open(&content.object)?.take(content.size.saturating_add(1));
    let copied = std::io::copy(&mut reader, &mut place).map_err(|source| failed(path, source))?;
    check_length(content, copied)
}

fn check_length(content: &Content, length: u64) -> Result<(), StepProblem> {
    if length == content.size {
        return Ok(());
    }
    let reason = format!("it has {length} bytes where the tree says {}", content.size);
    Err(ObjectError::Corrupt { object: content.object, reason }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rebit_oci::object::{MemoryObjects, ObjectSink};

    /// S-78.
    #[test]
    fn an_index_round_trips_and_damage_is_none() {
        let mut index = DataIndex::default();
        let ids: Vec<_> = (0..4_u8).map(|number| ObjectId([number; 32])).collect();
        let added = index.add(ids.iter().copied().zip([1, 4096, 4097, 0])).unwrap();
        assert_eq!(added.iter().map(|content| content.block).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(index.files, [4]);
        assert!(index.add([(ids[0], 1)].into_iter()).unwrap().is_empty());
        assert_eq!(index.files, [4]);
        let bytes = index.encode();
        assert_eq!(DataIndex::decode(&bytes), Some(index));
        for cut in 0..bytes.len() {
            let known = DataIndex::decode(&bytes[..cut]).is_some();
            // Whole entries may be missing: what is not known is written again.
            assert_eq!(known, cut >= 16 && (cut - 16) % ENTRY == 0, "{cut}");
        }
        let mut outside = bytes;
        let last = outside.len() - 4;
        outside[last] = 4;
        assert_eq!(DataIndex::decode(&outside), None);
    }

    #[test]
    fn contents_are_written_where_they_are_to_be() {
        let objects = MemoryObjects::new();
        let large = vec![7; PIECE as usize + 5];
        let texts: Vec<&[u8]> = vec![b"one", b"two", &large, b"three"];
        let put = |text: &&[u8]| (objects.put(text, &[]).unwrap(), text.len() as u64);
        let mut index = DataIndex::default();
        let contents = index.add(texts.iter().map(put)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        write(&path, &contents, &objects).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, index.bytes());
        for (content, text) in contents.iter().zip(texts) {
            let at = content.block as usize * BLOCK_SIZE as usize;
            assert_eq!(&bytes[at..at + text.len()], text);
        }
        let wrong = Content { size: 4, ..contents[0] };
        assert!(write(&directory.path().join("other"), &[wrong], &objects).is_err());
    }
}

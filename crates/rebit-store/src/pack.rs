//! Packs: append-only files of entries.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rebit_oci::ObjectId;

use crate::StoreError;
use crate::entry::{ENTRY_HEADER, Entry, EntryError, EntryHeader, MAX_PAYLOAD, MAX_TABLE, MemberKind};
use crate::entry::{PACK_HEADER, PACK_MAGIC};
use crate::frame_cache::{DecodedFrame, FrameCache};
use crate::index::objects::Place;
use crate::vfs::{Vfs, VfsFile};

/// The directory of packs under the root.
pub(crate) const DIRECTORY: &str = "packs";
/// A pack that has reached this length is sealed.
pub(crate) const TARGET: u64 = 64 << 20;
/// How many packs are kept open for reading.
const OPEN_FILES: usize = 64;

/// A pack's random name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PackId(u64);

impl PackId {
    /// A name that no other pack has, with all likelihood.
    pub(crate) fn random() -> io::Result<Self> {
        Ok(Self(random_u64()?))
    }

    pub(crate) fn from_row(value: i64) -> Self {
        Self(value.cast_unsigned())
    }

    pub(crate) fn to_row(self) -> i64 {
        self.0.cast_signed()
    }

    /// The pack that a file name names.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".pack")?;
        let plain =
            digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        plain.then(|| u64::from_str_radix(digits, 16).ok().map(Self)).flatten()
    }

    pub(crate) fn file_name(self) -> String {
        format!("{:016x}.pack", self.0)
    }

    /// The bytes a pack starts with.
    pub(crate) fn header(self) -> [u8; PACK_HEADER as usize] {
        let mut bytes = [0; PACK_HEADER as usize];
        bytes[..8].copy_from_slice(&PACK_MAGIC);
        bytes[8..].copy_from_slice(&self.0.to_le_bytes());
        bytes
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 64 bits from the kernel's random source.
pub(crate) fn random_u64() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if got == bytes.len() { Ok(u64::from_le_bytes(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// An object as its frame has it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) kind: MemberKind,
    pub(crate) bytes: Arc<[u8]>,
}

/// All packs of a store, for reading.
#[derive(Debug)]
pub(crate) struct Packs {
    directory: PathBuf,
    vfs: Arc<dyn Vfs>,
    open: Mutex<HashMap<PackId, Arc<dyn VfsFile>>>,
    frames: FrameCache,
}

impl Packs {
    pub(crate) fn new(root: &Path, vfs: Arc<dyn Vfs>) -> Self {
        let directory = root.join(DIRECTORY);
        Self { directory, vfs, open: Mutex::new(HashMap::new()), frames: FrameCache::default() }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self, pack: PackId) -> PathBuf {
        self.directory.join(pack.file_name())
    }

    /// The packs there are, with their lengths.
    pub(crate) fn list(&self) -> Result<Vec<(PackId, u64)>, StoreError> {
        let listed = self
            .vfs
            .list(&self.directory)
            .map_err(|source| StoreError::io("list", &self.directory, source))?;
        Ok(listed
            .iter()
            .filter_map(|(name, length)| Some((PackId::from_file_name(name)?, *length)))
            .collect())
    }

    /// Forgets what is remembered of a pack.
    pub(crate) fn forget(&self, pack: PackId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&pack);
        self.frames.forget(pack);
    }

    /// A pack opened for reading.
    pub(crate) fn open(&self, pack: PackId) -> io::Result<Arc<dyn VfsFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&pack) {
            return Ok(Arc::clone(file));
        }
        let file: Arc<dyn VfsFile> = Arc::from(self.vfs.open(&self.path(pack), false)?);
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        open.insert(pack, Arc::clone(&file));
        Ok(file)
    }

    /// Reads `length` bytes that should be one entry.
    pub(crate) fn read_entry(&self, pack: PackId, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let limit = ENTRY_HEADER as u64 + u64::from(MAX_TABLE) + u64::from(MAX_PAYLOAD);
        if length > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the entry is too long"));
        }
        let file = self.open(pack)?;
        if file.length()? < offset.saturating_add(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Reads one object; the content of a plain one is verified.
    ///
    /// The error is the reason why not, in words.
    pub(crate) fn load(&self, id: &ObjectId, place: &Place) -> Result<Stored, String> {
        let at = |reason: String| format!("{reason} (pack {} at {})", place.pack, place.frame);
        let frame = match self.frames.get(place.pack, place.frame) {
            Some(frame) => frame,
            None => {
                let bytes = self
                    .read_entry(place.pack, place.frame, place.entry)
                    .map_err(|error| at(error.to_string()))?;
                let frame = DecodedFrame::decode(&bytes).map_err(|error| at(error.to_string()))?;
                let frame = Arc::new(frame);
                self.frames.insert(place.pack, place.frame, &frame);
                frame
            }
        };
        let (kind, bytes) =
            frame.member(id).ok_or_else(|| at("the entry does not hold this object".to_owned()))?;
        if kind == MemberKind::Plain && ObjectId::of(bytes) != *id {
            return Err(at("its bytes hash to another identity".to_owned()));
        }
        Ok(Stored { kind, bytes: bytes.into() })
    }
}

/// What a scan of a pack finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// A whole, checked entry.
    Entry { offset: u64, bytes: Vec<u8> },
    /// Bytes that are no entry.
    Gap { offset: u64, length: u64, reason: EntryError },
}

/// Reads a pack from its start to its end, whatever is in it.
///
/// After damage it goes on at the next whole entry.
pub(crate) struct Scan<'a> {
    file: &'a dyn VfsFile,
    offset: u64,
    end: u64,
}

impl<'a> Scan<'a> {
    /// Scans from `offset` to `end`; both lie on entry borders when nothing is damaged.
    pub(crate) fn new(file: &'a dyn VfsFile, offset: u64, end: u64) -> Self {
        Self { file, offset, end }
    }

    /// The next find; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Scanned>> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let offset = self.offset;
        match self.entry_at(offset)? {
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                Ok(Some(Scanned::Entry { offset, bytes }))
            }
            Err(reason) => {
                // A whole header says where the next entry starts even if the body is damaged.
                self.offset = match self.header_at(offset)? {
                    Ok(header) if offset + header.entry_length() <= self.end => {
                        offset + header.entry_length()
                    }
                    _ => self.resync(offset + 1)?,
                };
                Ok(Some(Scanned::Gap { offset, length: self.offset - offset, reason }))
            }
        }
    }

    fn header_at(&self, offset: u64) -> io::Result<Result<EntryHeader, EntryError>> {
        if self.end - offset < ENTRY_HEADER as u64 {
            return Ok(Err(EntryError::Short));
        }
        let mut header = [0; ENTRY_HEADER];
        self.file.read_exact_at(&mut header, offset)?;
        Ok(EntryHeader::decode(&header))
    }

    fn entry_at(&self, offset: u64) -> io::Result<Result<Vec<u8>, EntryError>> {
        let header = match self.header_at(offset)? {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        if self.end - offset < header.entry_length() {
            return Ok(Err(EntryError::Short));
        }
        let mut bytes = vec![0; header.entry_length() as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Entry::decode(&bytes).map(drop).map(|()| bytes))
    }

    /// Where the next valid header starts at or after `from`; the end when there is none.
    fn resync(&self, mut from: u64) -> io::Result<u64> {
        let mut window = vec![0; 1 << 20];
        while from < self.end {
            let length = ((self.end - from) as usize).min(window.len());
            let window = &mut window[..length];
            self.file.read_exact_at(window, from)?;
            for start in 0..length {
                if window[start..].starts_with(&crate::entry::ENTRY_MAGIC)
                    && self.header_at(from + start as u64)?.is_ok()
                {
                    return Ok(from + start as u64);
                }
            }
            // The magic may lie across two windows.
            from += if length > 3 { length as u64 - 3 } else { length as u64 };
            if length <= 3 {
                break;
            }
        }
        Ok(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{self, Codec};

    #[test]
    fn pack_names_round_trip() {
        let id = PackId(0x0123_4567_89ab_cdef);
        assert_eq!(PackId::from_file_name(&id.file_name()), Some(id));
        assert_eq!(PackId::from_row(id.to_row()), id);
        for name in
            ["", ".pack", "0123456789ABCDEF.pack", "123.pack", "+123456789abcdef.pack", "0123456789abcdef"]
        {
            assert_eq!(PackId::from_file_name(name), None, "`{name}` was taken");
        }
    }

    // S-16
    #[test]
    fn a_scan_goes_on_after_damage() {
        const HEADER: u64 = ENTRY_HEADER as u64;
        /// What a scan finds: where, how long, and whether it is an entry.
        fn check(bytes: &[u8], expected: &[(u64, u64, bool)]) {
            let file = tempfile::tempfile().unwrap();
            VfsFile::write_all_at(&file, bytes, 0).unwrap();
            let mut scan = Scan::new(&file, 0, bytes.len() as u64);
            let mut found = Vec::new();
            while let Some(scanned) = scan.next().unwrap() {
                found.push(match scanned {
                    Scanned::Entry { offset, bytes } => (offset, bytes.len() as u64, true),
                    Scanned::Gap { offset, length, .. } => (offset, length, false),
                });
            }
            assert_eq!(found, expected);
        }
        let entry = |n| entry::encode_edges(&[(ObjectId([n; 32]), Vec::new())]);
        let inner = entry(2);
        let length = inner.len() as u64;
        // The second of three holds an entry itself: only without its own header is that one found.
        let outer = entry::encode_frame(&[], Codec::Plain, &inner, inner.len());
        let good = [entry(1), outer, entry(3)].concat();
        let third = length + HEADER + length;
        check(&good, &[(0, length, true), (length, HEADER + length, true), (third, length, true)]);
        let damaged = |place: u64| {
            let mut bytes = good.clone();
            bytes[place as usize] ^= 1;
            bytes
        };
        let after_body = [(0, length, true), (length, HEADER + length, false), (third, length, true)];
        check(&damaged(third - 1), &after_body);
        let inside = (length + HEADER, length, true);
        check(
            &damaged(length + 4),
            &[(0, length, true), (length, HEADER, false), inside, (third, length, true)],
        );
        check(
            &good[..good.len() - 1],
            &[after_body[0], (length, HEADER + length, true), (third, length - 1, false)],
        );
        // Wherever the next header lies, across the windows of the search as well.
        for gap in [1, 63, 64, 65].into_iter().chain((1 << 20) - 4..(1 << 20) + 3) {
            let bytes = [vec![b'R'; gap], entry(1)].concat();
            check(&bytes, &[(0, gap as u64, false), (gap as u64, length, true)]);
        }
    }
}

//! The bytes of a pack: a header, then entries one after the other.
//!
//! An entry describes itself, so a pack can be read without the index. All integers are little-endian.
//!
//! ```text
//! pack header, 16 bytes:  magic "RBPACK\r\n" (8), pack id (8)
//! entry header, 64 bytes:
//!    0  magic "RBe\x1a"            4
//!    4  version (1)               1
//!    5  kind                      1   1 frame, 2 blobs, 3 edges
//!    6  codec                     1   0 plain, 1 zstd
//!    7  zero                      1
//!    8  count of table rows       4
//!   12  table length              4
//!   16  payload length, stored    4
//!   20  payload length, decoded   4
//!   24  BLAKE3 of table, payload 32
//!   56  first 8 bytes of the BLAKE3 of bytes 0..56
//! table, payload
//! ```
//!
//! The decoders here are pure functions of bytes; each limit they keep is a constant below.

use rebit_oci::{Digest, ObjectId};

use crate::BlobForm;

pub(crate) const PACK_MAGIC: [u8; 8] = *b"RBPACK\r\n";
pub(crate) const PACK_HEADER: u64 = 16;
pub(crate) const ENTRY_MAGIC: [u8; 4] = *b"RBe\x1a";
pub(crate) const ENTRY_HEADER: usize = 64;
const VERSION: u8 = 1;

/// The largest decoded payload.
pub(crate) const MAX_PAYLOAD: u32 = 8 << 20;
/// The largest table.
pub(crate) const MAX_TABLE: u32 = 64 << 20;
/// The most rows of a table.
pub(crate) const MAX_ROWS: u32 = 1 << 20;

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Objects: the table says which, the payload is their content.
    Frame,
    /// Digests of blobs with the objects that hold them; no payload.
    Blobs,
    /// Edges added to objects stored elsewhere; no payload.
    Edges,
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Plain,
    /// One zstd frame.
    Zstd,
}

/// The fixed part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// What it holds.
    pub kind: EntryKind,
    /// How the payload is stored.
    pub codec: Codec,
    /// Rows of the table.
    pub rows: u32,
    /// Length of the table in bytes.
    pub table: u32,
    /// Length of the payload as stored.
    pub stored: u32,
    /// Length of the payload when decoded.
    pub raw: u32,
    /// BLAKE3 of table and payload as stored.
    pub check: [u8; 32],
}

/// Why bytes are not a valid entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// There are fewer bytes than the entry needs.
    #[error("the entry is cut short")]
    Short,
    /// The bytes do not start with an entry's magic.
    #[error("no entry starts here")]
    Magic,
    /// The header does not match its own checksum.
    #[error("the header's checksum does not match")]
    HeaderChecksum,
    /// The header is whole but of a version, kind or codec that this program does not know.
    #[error("{what} {value} is not known")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u8,
    },
    /// A length is over its limit.
    #[error("the {what} of {value} is over the limit")]
    Limit {
        /// Which length.
        what: &'static str,
        /// Its value.
        value: u32,
    },
    /// Table and payload do not match the header's checksum.
    #[error("the checksum of the entry's body does not match")]
    BodyChecksum,
    /// The table's rows make no sense.
    #[error("the table is malformed")]
    Table,
    /// The payload does not decode to the length promised.
    #[error("the payload does not decompress")]
    Payload,
}

/// How an object's bytes in a frame are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// They are the content.
    Plain,
    /// They are a piece list: the content is the concatenation of those objects.
    Chunked,
}

/// One object in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The BLAKE3 of the content.
    pub id: ObjectId,
    /// How the bytes are to be taken.
    pub kind: MemberKind,
    /// Where the bytes start in the decoded payload.
    pub offset: u32,
    /// How many there are.
    pub length: u32,
    /// The length of the content: the same for a plain member.
    pub size: u64,
    /// The objects it refers to, its chunks among them.
    pub edges: Vec<ObjectId>,
}

/// One row of a table of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRow {
    /// The digest.
    pub digest: Digest,
    /// The object.
    pub object: ObjectId,
    /// The length of the blob.
    pub size: u64,
    /// How the object holds it.
    pub form: BlobForm,
}

impl EntryHeader {
    /// Reads a header. Every limit is checked; nothing is allocated.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let bytes: &[u8; ENTRY_HEADER] =
            bytes.get(..ENTRY_HEADER).and_then(|bytes| bytes.try_into().ok()).ok_or(EntryError::Short)?;
        let mut input = Input(bytes);
        if input.array::<4>()? != ENTRY_MAGIC {
            return Err(EntryError::Magic);
        }
        if blake3::hash(&bytes[..56]).as_bytes()[..8] != bytes[56..] {
            return Err(EntryError::HeaderChecksum);
        }
        let [version, kind, codec, zero] = input.array::<4>()?;
        let kind = match kind {
            1 => EntryKind::Frame,
            2 => EntryKind::Blobs,
            3 => EntryKind::Edges,
            value => return Err(EntryError::Unknown { what: "entry kind", value }),
        };
        let codec = match codec {
            0 => Codec::Plain,
            1 => Codec::Zstd,
            value => return Err(EntryError::Unknown { what: "codec", value }),
        };
        for (what, value, expected) in [("entry version", version, VERSION), ("flag", zero, 0)] {
            if value != expected {
                return Err(EntryError::Unknown { what, value });
            }
        }
        let (rows, table, stored, raw) = (input.u32()?, input.u32()?, input.u32()?, input.u32()?);
        let limits = [
            ("row count", rows, MAX_ROWS),
            ("table length", table, MAX_TABLE),
            ("payload length", stored, MAX_PAYLOAD),
            ("decoded payload length", raw, MAX_PAYLOAD),
        ];
        for (what, value, limit) in limits {
            if value > limit {
                return Err(EntryError::Limit { what, value });
            }
        }
        if codec == Codec::Plain && stored != raw {
            return Err(EntryError::Payload);
        }
        Ok(Self { kind, codec, rows, table, stored, raw, check: input.array()? })
    }

    /// The length of the whole entry in bytes.
    #[must_use]
    pub fn entry_length(&self) -> u64 {
        ENTRY_HEADER as u64 + u64::from(self.table) + u64::from(self.stored)
    }

    fn encode(&self) -> [u8; ENTRY_HEADER] {
        let mut bytes = Vec::with_capacity(ENTRY_HEADER);
        bytes.extend_from_slice(&ENTRY_MAGIC);
        let kind = match self.kind {
            EntryKind::Frame => 1,
            EntryKind::Blobs => 2,
            EntryKind::Edges => 3,
        };
        let codec = match self.codec {
            Codec::Plain => 0,
            Codec::Zstd => 1,
        };
        bytes.extend_from_slice(&[VERSION, kind, codec, 0]);
        for value in [self.rows, self.table, self.stored, self.raw] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&self.check);
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(&sum.as_bytes()[..8]);
        let mut out = [0; ENTRY_HEADER];
        out.copy_from_slice(&bytes);
        out
    }
}

/// A whole entry, checked against its header: the header, the table and the payload as stored.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The fixed part.
    pub header: EntryHeader,
    table: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at the start of `bytes` and checks its checksums.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let header = EntryHeader::decode(bytes)?;
        let body = bytes.get(ENTRY_HEADER..).ok_or(EntryError::Short)?;
        let table = body.get(..header.table as usize).ok_or(EntryError::Short)?;
        let end = header.table as usize + header.stored as usize;
        let payload = body.get(header.table as usize..end).ok_or(EntryError::Short)?;
        if *blake3::Hasher::new().update(table).update(payload).finalize().as_bytes() != header.check {
            return Err(EntryError::BodyChecksum);
        }
        Ok(Self { header, table, payload })
    }

    /// The objects of a frame.
    ///
    /// # Errors
    /// [`EntryError::Table`] when the rows do not fit the table or the payload.
    pub fn members(&self) -> Result<Vec<Member>, EntryError> {
        let mut input = Input(self.table);
        let mut members = Vec::with_capacity((self.header.rows as usize).min(self.table.len() / 53));
        for _ in 0..self.header.rows {
            let id = ObjectId(input.array()?);
            let kind = match input.array::<1>()? {
                [0] => MemberKind::Plain,
                [1] => MemberKind::Chunked,
                _ => return Err(EntryError::Table),
            };
            let (offset, length, size) = (input.u32()?, input.u32()?, input.u64()?);
            let edges = input.ids()?;
            let fits = offset.checked_add(length).is_some_and(|end| end <= self.header.raw);
            if !fits || (kind == MemberKind::Plain && size != u64::from(length)) {
                return Err(EntryError::Table);
            }
            members.push(Member { id, kind, offset, length, size, edges });
        }
        input.finished()?;
        Ok(members)
    }

    /// The rows of an entry of blobs.
    ///
    /// # Errors
    /// [`EntryError::Table`].
    pub fn blobs(&self) -> Result<Vec<BlobRow>, EntryError> {
        let mut input = Input(self.table);
        let mut rows = Vec::with_capacity((self.header.rows as usize).min(self.table.len() / 73));
        for _ in 0..self.header.rows {
            let (digest, object) = (Digest::from_bytes(input.array()?), ObjectId(input.array()?));
            let size = input.u64()?;
            let [form] = input.array()?;
            let form = BlobForm::from_code(form).ok_or(EntryError::Table)?;
            rows.push(BlobRow { digest, object, size, form });
        }
        input.finished()?;
        Ok(rows)
    }

    /// The rows of an entry of edges: an object and those it refers to.
    ///
    /// # Errors
    /// [`EntryError::Table`].
    pub fn edges(&self) -> Result<Vec<(ObjectId, Vec<ObjectId>)>, EntryError> {
        let mut input = Input(self.table);
        let mut rows = Vec::new();
        for _ in 0..self.header.rows {
            rows.push((ObjectId(input.array()?), input.ids()?));
        }
        input.finished()?;
        Ok(rows)
    }

    /// The payload, decompressed; never longer than the header says.
    ///
    /// # Errors
    /// [`EntryError::Payload`].
    pub fn payload(&self) -> Result<Vec<u8>, EntryError> {
        let raw = match self.header.codec {
            Codec::Plain => self.payload.to_vec(),
            Codec::Zstd => zstd::bulk::decompress(self.payload, self.header.raw as usize)
                .map_err(|_| EntryError::Payload)?,
        };
        if raw.len() == self.header.raw as usize { Ok(raw) } else { Err(EntryError::Payload) }
    }
}

/// Writes a frame. `payload` is as `codec` says, `raw` the decoded length.
pub(crate) fn encode_frame(members: &[Member], codec: Codec, payload: &[u8], raw: usize) -> Vec<u8> {
    let mut table = Vec::new();
    for member in members {
        table.extend_from_slice(&member.id.0);
        table.push(u8::from(member.kind == MemberKind::Chunked));
        table.extend_from_slice(&member.offset.to_le_bytes());
        table.extend_from_slice(&member.length.to_le_bytes());
        table.extend_from_slice(&member.size.to_le_bytes());
        push_ids(&mut table, &member.edges);
    }
    assemble(EntryKind::Frame, codec, members.len(), &table, payload, raw)
}

/// Writes an entry of blobs.
pub(crate) fn encode_blobs(rows: &[BlobRow]) -> Vec<u8> {
    let mut table = Vec::with_capacity(rows.len() * 73);
    for row in rows {
        table.extend_from_slice(row.digest.as_bytes());
        table.extend_from_slice(&row.object.0);
        table.extend_from_slice(&row.size.to_le_bytes());
        table.push(row.form.code());
    }
    assemble(EntryKind::Blobs, Codec::Plain, rows.len(), &table, &[], 0)
}

/// Writes an entry of edges.
pub(crate) fn encode_edges(rows: &[(ObjectId, Vec<ObjectId>)]) -> Vec<u8> {
    let mut table = Vec::new();
    for (object, edges) in rows {
        table.extend_from_slice(&object.0);
        push_ids(&mut table, edges);
    }
    assemble(EntryKind::Edges, Codec::Plain, rows.len(), &table, &[], 0)
}

/// Puts the right magic and checksums into bytes that are otherwise anything, so that a fuzzer gets past them.
#[doc(hidden)]
pub fn seal_for_fuzzing(bytes: &mut [u8]) {
    if bytes.len() < ENTRY_HEADER {
        return;
    }
    let (header, body) = bytes.split_at_mut(ENTRY_HEADER);
    header[..4].copy_from_slice(&ENTRY_MAGIC);
    let mut lengths = Input(&header[12..20]);
    let (Ok(table), Ok(stored)) = (lengths.u32(), lengths.u32()) else { return };
    let end = (table as usize).saturating_add(stored as usize).min(body.len());
    header[24..56].copy_from_slice(blake3::hash(&body[..end]).as_bytes());
    let sum = blake3::hash(&header[..56]);
    header[56..].copy_from_slice(&sum.as_bytes()[..8]);
}

fn push_ids(table: &mut Vec<u8>, ids: &[ObjectId]) {
    table.extend_from_slice(&(ids.len() as u32).to_le_bytes());
    for id in ids {
        table.extend_from_slice(&id.0);
    }
}

fn assemble(kind: EntryKind, codec: Codec, rows: usize, table: &[u8], payload: &[u8], raw: usize) -> Vec<u8> {
    let header = EntryHeader {
        kind,
        codec,
        rows: rows as u32,
        table: table.len() as u32,
        stored: payload.len() as u32,
        raw: raw as u32,
        check: *blake3::Hasher::new().update(table).update(payload).finalize().as_bytes(),
    };
    let mut bytes = Vec::with_capacity(ENTRY_HEADER + table.len() + payload.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(table);
    bytes.extend_from_slice(payload);
    bytes
}

/// Bytes still to be read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(EntryError::Table)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, EntryError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, EntryError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn ids(&mut self) -> Result<Vec<ObjectId>, EntryError> {
        let count = self.u32()? as usize;
        let mut ids = Vec::with_capacity(count.min(self.0.len() / 32));
        for _ in 0..count {
            ids.push(ObjectId(self.array()?));
        }
        Ok(ids)
    }

    fn finished(&self) -> Result<(), EntryError> {
        if self.0.is_empty() { Ok(()) } else { Err(EntryError::Table) }
    }
}

#[cfg(test)]
mod tests;

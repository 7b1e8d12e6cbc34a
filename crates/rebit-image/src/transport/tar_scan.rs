//! Where the entries of an archive are, found without reading their contents.
//!
//! Only headers are read. Names are only ever compared with names that are looked for, so that a hostile one
//! (`../../etc/passwd`) is a name nobody asks for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tar::Header;

/// Bytes of a tar block.
pub(crate) const BLOCK: u64 = 512;
/// Most entries of an archive of images.
const MAX_ENTRIES: usize = 100_000;
/// Largest extension header (pax records, GNU long names).
const MAX_EXTENSION: u64 = 64 << 10;
/// Most bytes of all names together.
const MAX_NAMES: usize = 16 << 20;
/// Most deviations that are remembered.
const MAX_DEVIATIONS: usize = 100;

/// Bytes that can be read at any place.
pub(crate) trait ReadAt: Sync {
    /// Fills `buffer` from `offset`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let found = start.checked_add(buffer.len()).and_then(|end| self.get(start..end));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// What an entry is, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A symbolic link (`false`) or hard link (`true`) to this name.
    Link(String, bool),
    /// A directory.
    Directory,
    /// Anything else; nobody reads it.
    Other,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name without a leading `./` and a trailing `/`; bytes that are not UTF-8 are replaced.
    pub(crate) name: String,
    pub(crate) kind: EntryKind,
    /// Where the content starts.
    pub(crate) offset: u64,
    /// Bytes of content.
    pub(crate) size: u64,
}

/// What an archive holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) entries: Vec<Entry>,
    /// Contents of extension headers: their padding counts too, but they have no name of their own.
    pub(crate) extensions: Vec<Entry>,
    /// Where the zero blocks at the end start; the end of the file when there are none.
    pub(crate) end: u64,
    /// What a tolerant reader accepts and a strict one does not: entry and problem.
    pub(crate) deviations: Vec<(String, String)>,
}

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error("entry `{entry}` is not valid: {reason}")]
    Corrupt { entry: String, reason: String },
    #[error("{what} is above the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("the archive cannot be read")]
    Io { source: io::Error },
}

/// Extension records that apply to the next entry.
#[derive(Default)]
struct Pending {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Finds the entries of the archive of `length` bytes in `bytes`.
pub(crate) fn scan<R: ReadAt + ?Sized>(bytes: &R, length: u64) -> Result<Scan, ScanError> {
    let mut scanner = Scanner { bytes, length, scan: Scan::default(), names: 0 };
    let mut pending = Pending::default();
    let mut at = 0;
    while let Some(header) = scanner.header(at)? {
        let body = at + BLOCK;
        let stated = scanner.size(&header)?;
        let size = match header.entry_type().as_byte() {
            b'x' | b'g' | b'L' | b'K' => {
                scanner.extension(&header, body, stated, &mut pending)?;
                stated
            }
            _ => {
                let taken = std::mem::take(&mut pending);
                scanner.entry(&header, body, stated, taken)?
            }
        };
        // No body reaches past the end of the file, so that this does not overflow.
        at = body + size.next_multiple_of(BLOCK);
    }
    scanner.scan.end = at.min(length);
    Ok(scanner.scan)
}

struct Scanner<'a, R: ?Sized> {
    bytes: &'a R,
    length: u64,
    scan: Scan,
    names: usize,
}

impl<R: ReadAt + ?Sized> Scanner<'_, R> {
    fn last(&self) -> String {
        match self.scan.entries.last() {
            Some(entry) => format!("after {}", entry.name),
            None => "the first one".to_owned(),
        }
    }

    fn corrupt<T>(&self, entry: String, reason: impl Into<String>) -> Result<T, ScanError> {
        Err(ScanError::Corrupt { entry, reason: reason.into() })
    }

    fn deviation(&mut self, entry: &str, problem: impl Into<String>) {
        if self.scan.deviations.len() < MAX_DEVIATIONS {
            self.scan.deviations.push((entry.to_owned(), problem.into()));
        }
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), ScanError> {
        self.bytes.read_exact_at(buffer, offset).map_err(|source| ScanError::Io { source })
    }

    /// The header at `at`; `None` at the zero blocks or where the file ends.
    fn header(&mut self, at: u64) -> Result<Option<Header>, ScanError> {
        if at >= self.length {
            self.deviation("", "the archive does not end with two blocks of zeros");
            return Ok(None);
        }
        if self.length - at < BLOCK {
            return self.corrupt(self.last(), "the archive ends in the middle of a header");
        }
        let mut header = Header::new_old();
        self.read(header.as_mut_bytes(), at)?;
        let block = header.as_bytes();
        if block.iter().all(|byte| *byte == 0) {
            if self.length - at < 2 * BLOCK {
                self.deviation("", "the archive does not end with two blocks of zeros");
            }
            return Ok(None);
        }
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(place, byte)| if (148..156).contains(&place) { 32 } else { u64::from(*byte) })
            .sum();
        let name = shown(&header.path_bytes());
        if header.cksum().ok().map(u64::from) != Some(sum) {
            if at == 0 && header.as_ustar().is_none() && header.as_gnu().is_none() {
                return self.corrupt("its first header".to_owned(), "this is not a tar archive".to_owned());
            }
            return self.corrupt(name, format!("the checksum of its header is not {sum:06o}"));
        }
        // Only these two spellings; with others, a changed byte could go unnoticed.
        let spelled: &[u8] = block.get(148..156).unwrap_or_default();
        if spelled != format!("{sum:06o}\0 ").as_bytes() && spelled != format!("{sum:07o}\0").as_bytes() {
            self.deviation(&name, "the checksum of its header is not spelled in a usual way");
        }
        Ok(Some(header))
    }

    fn size(&self, header: &Header) -> Result<u64, ScanError> {
        if !has_content(header) {
            return Ok(0);
        }
        let size = header.entry_size();
        size.or_else(|_| self.corrupt(shown(&header.path_bytes()), "the size in its header is not a number"))
    }

    fn check_body(&self, name: &str, offset: u64, size: u64) -> Result<(), ScanError> {
        if offset.checked_add(size).is_none_or(|end| end > self.length) {
            let reason = format!("it claims {size} bytes, which is past the end of the archive");
            return self.corrupt(name.to_owned(), reason);
        }
        Ok(())
    }

    fn extension(
        &mut self,
        header: &Header,
        offset: u64,
        size: u64,
        pending: &mut Pending,
    ) -> Result<(), ScanError> {
        let name = format!("extension header {}", self.last());
        if size > MAX_EXTENSION {
            return Err(ScanError::Limit { what: "the size of an extension header", limit: MAX_EXTENSION });
        }
        self.check_body(&name, offset, size)?;
        let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read(&mut body, offset)?;
        let text = |body: Vec<u8>| body.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        match header.entry_type().as_byte() {
            b'L' => pending.path = Some(text(body)),
            b'K' => pending.link = Some(text(body)),
            b'x' => {
                for record in tar::PaxExtensions::new(&body) {
                    let Ok(record) = record else { return self.corrupt(name, "its records are malformed") };
                    match record.key_bytes() {
                        b"path" => pending.path = Some(record.value_bytes().to_vec()),
                        b"linkpath" => pending.link = Some(record.value_bytes().to_vec()),
                        b"size" => match record.value().ok().and_then(|value| value.parse().ok()) {
                            Some(size) => pending.size = Some(size),
                            None => return self.corrupt(name, "its size is not a number"),
                        },
                        _ => {}
                    }
                }
            }
            // Global records: none of those that matter here makes sense for a whole archive.
            _ => {}
        }
        if self.scan.extensions.len() >= MAX_ENTRIES {
            return Err(ScanError::Limit {
                what: "the number of extension headers",
                limit: MAX_ENTRIES as u64,
            });
        }
        self.scan.extensions.push(Entry { name, kind: EntryKind::Other, offset, size });
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        offset: u64,
        stated: u64,
        pending: Pending,
    ) -> Result<u64, ScanError> {
        let raw = pending.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = normal(&raw);
        let link = || {
            let target = pending.link.clone().or_else(|| header.link_name_bytes().map(|l| l.into_owned()));
            String::from_utf8_lossy(&target.unwrap_or_default()).into_owned()
        };
        let kind = match header.entry_type().as_byte() {
            b'0' | 0 | b'7' => EntryKind::File,
            b'1' => EntryKind::Link(normal(link().as_bytes()), true),
            b'2' => EntryKind::Link(link(), false),
            b'5' => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        let size = if has_content(header) { pending.size.unwrap_or(stated) } else { 0 };
        self.check_body(&name, offset, size)?;
        self.names += name.len();
        if self.scan.entries.len() >= MAX_ENTRIES {
            return Err(ScanError::Limit { what: "the number of entries", limit: MAX_ENTRIES as u64 });
        }
        if self.names > MAX_NAMES {
            return Err(ScanError::Limit { what: "the length of all names", limit: MAX_NAMES as u64 });
        }
        self.scan.entries.push(Entry { name, kind, offset, size });
        Ok(size)
    }
}

/// Links, directories and devices have no content, whatever the size in their header says.
fn has_content(header: &Header) -> bool {
    !matches!(header.entry_type().as_byte(), b'1'..=b'6')
}

fn normal(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut name = text.as_ref();
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    name.trim_end_matches('/').to_owned()
}

/// A name for a message.
fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}

/// The entries by name, with links followed.
///
/// `Err` names an entry that is there twice.
pub(crate) fn by_name(scan: &Scan) -> Result<BTreeMap<String, (u64, u64)>, String> {
    let mut files = BTreeMap::new();
    let mut links = BTreeMap::new();
    for entry in &scan.entries {
        let doubled = match &entry.kind {
            EntryKind::File => files.insert(entry.name.clone(), (entry.offset, entry.size)).is_some(),
            EntryKind::Link(target, hard) => {
                let target = if *hard { Some(target.clone()) } else { join(&entry.name, target) };
                links.insert(entry.name.clone(), target).is_some()
            }
            EntryKind::Directory | EntryKind::Other => false,
        };
        if doubled || (files.contains_key(&entry.name) && links.contains_key(&entry.name)) {
            return Err(entry.name.clone());
        }
    }
    for name in links.keys() {
        // Docker's own links go one step; a few more are followed, a loop is not.
        let mut target = links.get(name).cloned().flatten();
        for _ in 0..4 {
            match target.as_ref().and_then(|target| links.get(target)) {
                Some(next) => target = next.clone(),
                None => break,
            }
        }
        if let Some(place) = target.and_then(|target| files.get(&target).copied()) {
            files.insert(name.clone(), place);
        }
    }
    Ok(files)
}

/// Where a symbolic link at `name` leads, inside the archive only.
fn join(name: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &[u8], &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content, link) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            // Written by hand: the library refuses names that lead out.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn scanned(bytes: &[u8]) -> Result<Scan, ScanError> {
        scan(bytes, bytes.len() as u64)
    }

    #[test]
    fn entries_and_links_are_found() {
        // I-33
        use tar::EntryType::{Directory, Regular, Symlink};
        let bytes = archive(&[
            ("./a/", Directory, b"", ""),
            ("./a/layer.tar", Regular, b"content", ""),
            ("b/layer.tar", Symlink, b"", "../a/layer.tar"),
            ("c/layer.tar", Symlink, b"", "../../a/layer.tar"),
            ("d", Symlink, b"", "d"),
            ("../e", Regular, b"", ""),
        ]);
        let scan = scanned(&bytes).unwrap();
        assert!(scan.deviations.is_empty(), "{:?}", scan.deviations);
        let files = by_name(&scan).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["../e", "a/layer.tar", "b/layer.tar"]);
        assert_eq!(files["b/layer.tar"], files["a/layer.tar"]);
        let (offset, size) = files["a/layer.tar"];
        assert_eq!(&bytes[offset as usize..][..size as usize], b"content");
    }

    #[test]
    fn doubled_names_are_refused() {
        // I-34
        use tar::EntryType::{Regular, Symlink};
        for second in [Regular, Symlink] {
            let bytes = archive(&[("a", Regular, b"1", ""), ("./a", second, b"", "x")]);
            assert_eq!(by_name(&scanned(&bytes).unwrap()), Err("a".to_owned()));
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        // I-52
        let bytes = archive(&[("a", tar::EntryType::Regular, b"content", "")]);
        for length in 0..bytes.len() {
            match scanned(&bytes[..length]) {
                Ok(scan) => assert!(!scan.deviations.is_empty() || length >= 2048, "{length}"),
                Err(ScanError::Corrupt { .. }) => {}
                Err(other) => panic!("{length}: {other}"),
            }
        }
        for place in 0..512 {
            for mask in [1, 0x80] {
                let mut damaged = bytes.clone();
                damaged[place] ^= mask;
                let noticed = scanned(&damaged).map_or(true, |scan| !scan.deviations.is_empty());
                assert!(noticed, "{place}");
            }
        }
    }

    #[test]
    fn sizes_are_limited() {
        let mut header = Header::new_gnu();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 30);
        header.set_cksum();
        let bytes = header.as_bytes().to_vec();
        assert!(matches!(scanned(&bytes), Err(ScanError::Limit { .. })));
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(u64::MAX - 10);
        header.set_cksum();
        assert!(matches!(scanned(header.as_bytes()), Err(ScanError::Corrupt { .. })));
    }
}

//! The journal of refs: what the index knows of them, once more, in a file that can be read without it.
//!
//! A line is a checksum (16 digits of the BLAKE3 of the rest), a blank, and `set UPDATED DIGEST ROOT NAME` or
//! `delete NAME`. Names hold no control characters, so a line is a line. Lines are appended under the index's
//! write lock and synced before the transaction commits; later lines win. A collection writes the file anew.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use rebit_oci::{Digest, ObjectId};

use crate::vfs::Vfs;
use crate::{Ref, StoreError, time};

pub(crate) const FILE: &str = "refs.log";
/// A larger journal is not read.
const LIMIT: u64 = 1 << 30;

/// What a journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The refs, by name.
    pub refs: BTreeMap<String, Ref>,
    /// How many lines are damaged.
    pub damaged: u64,
}

impl Journal {
    /// Reads the bytes of a journal. Damaged lines are counted and left out.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut journal = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if journal.line(line).is_none() {
                journal.damaged += 1;
            }
        }
        journal
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        let (sum, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        if sum != checksum(rest) {
            return None;
        }
        if let Some(name) = rest.strip_prefix("delete ") {
            self.refs.remove(name);
            return Some(());
        }
        let mut fields = rest.strip_prefix("set ")?.splitn(4, ' ');
        let updated: i64 = fields.next()?.parse().ok()?;
        let digest: Digest = fields.next()?.parse().ok()?;
        let root: ObjectId = fields.next()?.parse().ok()?;
        let name = fields.next()?.to_owned();
        let updated: SystemTime = time::from_seconds(updated)?;
        self.refs.insert(name.clone(), Ref { name, digest, root, updated });
        Some(())
    }
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().as_str()[..16].to_owned()
}

/// The line that sets a ref.
pub(crate) fn set_line(entry: &Ref) -> String {
    let updated = time::seconds(entry.updated);
    finish(&format!("set {updated} {} {} {}", entry.digest, entry.root, entry.name))
}

/// The line that deletes a ref.
pub(crate) fn delete_line(name: &str) -> String {
    finish(&format!("delete {name}"))
}

fn finish(text: &str) -> String {
    format!("{} {text}\n", checksum(text))
}

/// Reads the journal of the store at `root`.
pub(crate) fn read(root: &Path, vfs: &dyn Vfs) -> Result<Journal, StoreError> {
    let path = root.join(FILE);
    let read = || -> io::Result<Vec<u8>> {
        let file = vfs.open(&path, false)?;
        let length = file.length()?;
        if length > LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the journal of refs is too long"));
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Journal::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Journal::default()),
        Err(source) => Err(StoreError::io("read", &path, source)),
    }
}

/// Appends lines durably. The caller holds the index's write lock.
pub(crate) fn append(root: &Path, vfs: &dyn Vfs, lines: &str) -> Result<(), StoreError> {
    let path = root.join(FILE);
    let append = || -> io::Result<()> {
        let (file, new) = match vfs.open(&path, true) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (vfs.create(&path)?, true),
            Err(error) => return Err(error),
        };
        let length = file.length()?;
        // A line that was cut short must not run into this one.
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        let text = if last == [b'\n'] { lines.to_owned() } else { format!("\n{lines}") };
        file.write_all_at(text.as_bytes(), length)?;
        file.sync()?;
        if new { vfs.sync_dir(root) } else { Ok(()) }
    };
    append().map_err(|source| StoreError::io("write", &path, source))
}

/// Writes the journal anew. The caller holds the index's write lock.
pub(crate) fn rewrite(root: &Path, vfs: &dyn Vfs, refs: &[Ref]) -> Result<(), StoreError> {
    let (path, temporary) = (root.join(FILE), root.join("refs.new"));
    let text: String = refs.iter().map(set_line).collect();
    let write = || -> io::Result<()> {
        match vfs.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = vfs.create(&temporary)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync()?;
        vfs.rename(&temporary, &path)?;
        vfs.sync_dir(root)
    };
    write().map_err(|source| StoreError::io("write", &path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, content: &[u8]) -> Ref {
        Ref {
            name: name.to_owned(),
            digest: Digest::of(content),
            root: ObjectId::of(content),
            updated: SystemTime::UNIX_EPOCH,
        }
    }

    // S-31, S-32
    #[test]
    fn later_lines_win_and_damaged_ones_are_left_out() {
        let (a, b) = (sample("a b", b"1"), sample("b", b"2"));
        let newer = sample("a b", b"3");
        let text = [set_line(&a), set_line(&b), set_line(&newer), delete_line("b")].concat();
        let journal = Journal::parse(text.as_bytes());
        assert_eq!(journal.refs.into_values().collect::<Vec<_>>(), [newer]);

        let whole = set_line(&a);
        for cut in 1..whole.len() - 1 {
            let text = format!("{}\n{}", &whole[..cut], set_line(&b));
            let journal = Journal::parse(text.as_bytes());
            assert_eq!((journal.damaged, journal.refs.len()), (1, 1), "cut at {cut}");
        }
    }
}

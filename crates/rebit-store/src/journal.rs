//! The journal of refs: what the index knows of them, once more, in a file that can be read without it.
//!
//! A line is a checksum (16 digits of the BLAKE3 of the rest), a blank, and one of `journal ID`,
//! `set UPDATED DIGEST ROOT NAME` and `delete NAME`. Names hold no control characters, so a line is a line.
//! The first line names the journal by a random number. Lines are appended under the index's write lock and
//! synced before the transaction commits; later lines win.
//!
//! The index notes the journal's name and length. What is longer than that is of a transaction that did not
//! commit, and the next one cuts it off; a journal that is shorter or has another name is written anew.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use rebit_oci::{Digest, ObjectId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::index::Fail;
use crate::pack::random_u64;
use crate::vfs::Vfs;
use crate::{Ref, StoreError, refs, time};

pub(crate) const FILE: &str = "refs.log";
/// The journal while it is written anew.
pub(crate) const NEW: &str = "refs.new";
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
        if rest.starts_with("journal ") {
            return Some(());
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

/// The first line, which has always the same length.
fn first_line(id: i64) -> String {
    finish(&format!("journal {:016x}", id.cast_unsigned()))
}

/// What the index notes of the journal: its name and its length.
fn noted(index: &Connection) -> rusqlite::Result<Option<(i64, u64)>> {
    let mut statement = index.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let mut value = |name: &str| statement.query_row([name], |row| row.get::<_, i64>(0)).optional();
    Ok(value("journal")?.zip(value("journal_length")?).map(|(id, length)| (id, length.cast_unsigned())))
}

fn note(index: &Connection, id: i64, length: u64) -> rusqlite::Result<()> {
    let mut statement = index.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    statement.execute(params!["journal", id])?;
    statement.execute(params!["journal_length", length.cast_signed()])?;
    Ok(())
}

/// The bytes of the journal; none when there is no journal.
fn bytes(root: &Path, vfs: &dyn Vfs) -> Result<Vec<u8>, StoreError> {
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
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| StoreError::io("read", &path, source)),
    }
}

/// Reads the whole journal of the store at `root`, for one without an index.
pub(crate) fn read(root: &Path, vfs: &dyn Vfs) -> Result<Journal, StoreError> {
    Ok(Journal::parse(&bytes(root, vfs)?))
}

/// Reads the journal as far as its transactions committed.
pub(crate) fn read_committed(index: &Connection, root: &Path, vfs: &dyn Vfs) -> Result<Journal, Fail> {
    let bytes = bytes(root, vfs)?;
    let committed = match noted(index)? {
        Some((id, length)) if bytes.starts_with(first_line(id).as_bytes()) => {
            bytes.get(..length as usize).unwrap_or(&bytes)
        }
        _ => &bytes,
    };
    Ok(Journal::parse(committed))
}

/// Appends lines durably, in a transaction that has made the same changes to the table.
pub(crate) fn append(index: &Transaction<'_>, root: &Path, vfs: &dyn Vfs, lines: &str) -> Result<(), Fail> {
    let path = root.join(FILE);
    let Some((id, length)) = noted(index)? else { return rewrite(index, root, vfs) };
    let append = || -> io::Result<bool> {
        let file = match vfs.open(&path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let first = first_line(id);
        let mut found = vec![0; first.len()];
        if file.length()? < length.max(first.len() as u64) {
            return Ok(false);
        }
        file.read_exact_at(&mut found, 0)?;
        if found != first.as_bytes() {
            return Ok(false);
        }
        if file.length()? > length {
            file.truncate(length)?;
        }
        file.write_all_at(lines.as_bytes(), length)?;
        file.sync()?;
        Ok(true)
    };
    if append().map_err(|source| StoreError::io("write", &path, source))? {
        return Ok(note(index, id, length + lines.len() as u64)?);
    }
    rewrite(index, root, vfs)
}

/// Writes the journal anew from the table.
pub(crate) fn rewrite(index: &Transaction<'_>, root: &Path, vfs: &dyn Vfs) -> Result<(), Fail> {
    let (path, temporary) = (root.join(FILE), root.join(NEW));
    let id = random_u64().map_err(|source| StoreError::io("name", &path, source))?.cast_signed();
    let lines: String = refs::all(index)?.iter().map(set_line).collect();
    let text = first_line(id) + &lines;
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
    write().map_err(|source| StoreError::io("write", &path, source))?;
    Ok(note(index, id, text.len() as u64)?)
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

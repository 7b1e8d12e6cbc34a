//! Refs: names that keep what they name.

use std::time::SystemTime;

use rebit_oci::{Digest, ObjectId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::index::objects::{id_at, resurrect};
use crate::index::{Durability, Fail, blobs};
use crate::{Ref, Session, Store, StoreError, journal, time};

const NAME_LIMIT: usize = 1024;

/// Fails unless `name` can be a ref's name.
fn check_name(name: &str) -> Result<(), StoreError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_LIMIT {
        "it is longer than 1024 bytes"
    } else if name.chars().any(char::is_control) {
        "it has control characters"
    } else {
        return Ok(());
    };
    Err(StoreError::InvalidName { name: name.chars().take(100).collect(), reason })
}

/// All refs, by name.
pub(crate) fn all(index: &Connection) -> rusqlite::Result<Vec<Ref>> {
    let mut statement = index.prepare_cached("SELECT name, digest, root, updated FROM refs ORDER BY name")?;
    let rows = statement.query_map([], from_row)?;
    rows.collect()
}

fn one(index: &Connection, name: &str) -> rusqlite::Result<Option<Ref>> {
    index
        .prepare_cached("SELECT name, digest, root, updated FROM refs WHERE name = ?1")?
        .query_row([name], from_row)
        .optional()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Ref> {
    Ok(Ref {
        name: row.get(0)?,
        digest: Digest::from_bytes(row.get(1)?),
        root: id_at(row, 2)?,
        updated: time::from_seconds(row.get(3)?).unwrap_or(SystemTime::UNIX_EPOCH),
    })
}

/// Writes a row, in place of an older one.
pub(crate) fn insert(index: &Connection, entry: &Ref) -> rusqlite::Result<()> {
    index
        .prepare_cached("INSERT OR REPLACE INTO refs (name, digest, root, updated) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            entry.name,
            entry.digest.as_bytes(),
            entry.root.as_bytes(),
            time::seconds(entry.updated)
        ])?;
    Ok(())
}

impl Session {
    /// Commits, then names `root` durably: when this returns, the name and everything below `root` survive a
    /// loss of power.
    ///
    /// # Errors
    /// [`StoreError::InvalidName`], [`StoreError::MissingEdge`] when `root` is missing,
    /// [`StoreError::BlobNotFound`] when no blob of this digest was put, or as [`commit`](Self::commit).
    pub fn set_ref(
        &self,
        name: &str,
        digest: &Digest,
        root: &ObjectId,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        check_name(name)?;
        self.commit()?;
        let inner = &self.shared.inner;
        let entry = Ref { name: name.to_owned(), digest: *digest, root: *root, updated: now };
        let done = inner.index.write("set a ref", Durability::Full, |index| {
            resurrect(index, [*root])?;
            if blobs::find(index, digest)?.is_empty() {
                return Err(StoreError::BlobNotFound { digest: *digest }.into());
            }
            insert(index, &entry)?;
            journal::append(index, &inner.root, &*inner.vfs, &journal::set_line(&entry))?;
            Ok(())
        });
        done.map_err(|error| match error {
            StoreError::ObjectNotFound { object } => {
                StoreError::MissingEdge { what: format!("ref `{name}`"), edge: object }
            }
            other => other,
        })
    }
}

impl Session {
    /// Commits, then lets a ref that keeps `old` keep `new` instead, durably; its digest and its time stay. `false` when the
    /// ref is gone or keeps something else by now.
    ///
    /// # Errors
    /// [`StoreError::MissingEdge`] when `new` is missing, or as [`commit`](Self::commit).
    pub fn replace_root(&self, name: &str, old: &ObjectId, new: &ObjectId) -> Result<bool, StoreError> {
        self.commit()?;
        let inner = &self.shared.inner;
        let done = inner.index.write("change a ref", Durability::Full, |index| {
            resurrect(index, [*new])?;
            let Some(entry) = one(index, name)?.filter(|entry| entry.root == *old) else { return Ok(false) };
            let entry = Ref { root: *new, ..entry };
            insert(index, &entry)?;
            journal::append(index, &inner.root, &*inner.vfs, &journal::set_line(&entry))?;
            Ok(true)
        });
        done.map_err(|error| match error {
            StoreError::ObjectNotFound { object } => {
                StoreError::MissingEdge { what: format!("ref `{name}`"), edge: object }
            }
            other => other,
        })
    }
}

impl Store {
    /// All refs, by name.
    ///
    /// # Errors
    /// What the index says.
    pub fn refs(&self) -> Result<Vec<Ref>, StoreError> {
        self.inner.index.read("list the refs", |index| Ok(all(index)?))
    }

    /// One ref.
    ///
    /// # Errors
    /// What the index says.
    pub fn get_ref(&self, name: &str) -> Result<Option<Ref>, StoreError> {
        self.inner.index.read("find a ref", |index| Ok(one(index, name)?))
    }

    /// Deletes a ref durably; `false` when there was none. What it kept goes with the next collection.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`], or what the index says.
    pub fn delete_ref(&self, name: &str) -> Result<bool, StoreError> {
        self.change_refs("delete a ref", |index| {
            let deleted = index.execute("DELETE FROM refs WHERE name = ?1", [name])? > 0;
            Ok((deleted, if deleted { journal::delete_line(name) } else { String::new() }))
        })
    }

    /// Deletes a ref durably if it is still as it was; says whether it did.
    pub(crate) fn delete_ref_as_it_was(&self, entry: &Ref) -> Result<bool, StoreError> {
        self.change_refs("delete a ref", |index| {
            if one(index, &entry.name)?.as_ref() != Some(entry) {
                return Ok((false, String::new()));
            }
            index.execute("DELETE FROM refs WHERE name = ?1", [&entry.name])?;
            Ok((true, journal::delete_line(&entry.name)))
        })
    }

    /// Renames a ref durably.
    ///
    /// # Errors
    /// [`StoreError::RefNotFound`], [`StoreError::RefExists`], [`StoreError::InvalidName`],
    /// [`StoreError::ReadOnly`], or what the index says.
    pub fn rename_ref(&self, from: &str, to: &str) -> Result<(), StoreError> {
        check_name(to)?;
        self.change_refs("rename a ref", |index| {
            let missing = || StoreError::RefNotFound { name: from.to_owned() };
            let entry = Ref { name: to.to_owned(), ..one(index, from)?.ok_or_else(missing)? };
            if one(index, to)?.is_some() {
                return Err(StoreError::RefExists { name: to.to_owned() }.into());
            }
            insert(index, &entry)?;
            index.execute("DELETE FROM refs WHERE name = ?1", [from])?;
            Ok(((), journal::set_line(&entry) + &journal::delete_line(from)))
        })
    }

    fn change_refs<T>(
        &self,
        what: &'static str,
        change: impl FnOnce(&Connection) -> Result<(T, String), Fail>,
    ) -> Result<T, StoreError> {
        let inner = &self.inner;
        inner.check_writable()?;
        inner.index.write(what, Durability::Full, |index| {
            let (result, lines) = change(index)?;
            if !lines.is_empty() {
                journal::append(index, &inner.root, &*inner.vfs, &lines)?;
            }
            Ok(result)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let check = |name: &str, expected: bool| assert_eq!(check_name(name).is_ok(), expected, "{name:?}");
        check("docker.io/library/busybox:latest", true);
        check("a name with blanks, and ü", true);
        check(&"x".repeat(1024), true);
        check("", false);
        check(&"x".repeat(1025), false);
        check("a\nb", false);
        check("a\0b", false);
        check("a\u{85}b", false);
    }
}

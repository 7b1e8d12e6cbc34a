//! The one pack that a session appends to.

use crate::index::Durability;
use crate::lease::LeaseId;
use crate::pack::{PackId, TARGET};
use crate::store::Inner;
use crate::vfs::VfsFile;
use crate::{StoreError, quota};
use rusqlite::{OptionalExtension, params};

/// Appends entries. After a failed write or sync it must not be used again.
#[derive(Debug)]
pub(crate) struct Writer {
    lease: LeaseId,
    open: Option<OpenPack>,
    /// Packs written to since the last commit, complete ones only.
    finished: Vec<Written>,
    /// Every pack this session ever had open.
    used: Vec<PackId>,
    /// How many bytes may be appended before the quota is asked again.
    allowance: u64,
    /// Whether the quota is ignored: a collection writes so that less is used.
    unlimited: bool,
}

#[derive(Debug)]
struct OpenPack {
    id: PackId,
    file: Box<dyn VfsFile>,
    length: u64,
    /// Bytes of entries that hold no objects.
    extra: u64,
    /// Whether its name is not durable yet.
    new: bool,
    dirty: bool,
}

/// A pack as it is after a sync.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) id: PackId,
    pub(crate) length: u64,
    /// Bytes of entries that hold no objects.
    pub(crate) extra: u64,
    pub(crate) sealed: bool,
}

impl Writer {
    pub(crate) fn new(lease: LeaseId) -> Self {
        Self { lease, open: None, finished: Vec::new(), used: Vec::new(), allowance: 0, unlimited: false }
    }

    /// Ignores the quota from now on.
    pub(crate) fn ignore_quota(&mut self) {
        self.unlimited = true;
    }

    /// Appends one entry; returns where it is.
    pub(crate) fn append(&mut self, inner: &Inner, bytes: &[u8]) -> Result<(PackId, u64), StoreError> {
        let length = bytes.len() as u64;
        if let Some(limit) = inner.options.max_bytes
            && !self.unlimited
            && self.allowance < length
        {
            self.allowance = quota::reserve(inner, self.lease, limit, length)?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.acquire(inner)?,
        };
        if self.used.last() != Some(&open.id) {
            self.used.push(open.id);
        }
        let offset = open.length;
        let path = || inner.packs.path(open.id);
        open.file
            .write_all_at(bytes, offset)
            .map_err(|source| StoreError::io("write to the pack", &path(), source))?;
        self.allowance = self.allowance.saturating_sub(length);
        open.length += length;
        open.dirty = true;
        let id = open.id;
        if open.length >= TARGET {
            open.sync(inner)?;
            self.finished.push(Written { id, length: open.length, extra: open.extra, sealed: true });
        } else {
            self.open = Some(open);
        }
        Ok((id, offset))
    }

    /// As [`append`](Self::append), for an entry that holds no objects.
    pub(crate) fn append_extra(&mut self, inner: &Inner, bytes: &[u8]) -> Result<(), StoreError> {
        let (id, _) = self.append(inner, bytes)?;
        let length = bytes.len() as u64;
        if let Some(open) = self.open.as_mut().filter(|open| open.id == id) {
            open.extra += length;
        } else if let Some(finished) = self.finished.last_mut() {
            finished.extra += length;
        }
        Ok(())
    }

    /// Ends the pack that is written to, however short it is.
    pub(crate) fn seal(&mut self, inner: &Inner) -> Result<(), StoreError> {
        if let Some(mut open) = self.open.take() {
            open.sync(inner)?;
            self.finished.push(Written { id: open.id, length: open.length, extra: open.extra, sealed: true });
        }
        Ok(())
    }

    /// Makes everything appended durable; says which packs changed since the last time.
    pub(crate) fn sync(&mut self, inner: &Inner) -> Result<Vec<Written>, StoreError> {
        if let Some(open) = &mut self.open
            && open.dirty
        {
            open.sync(inner)?;
            let written = Written { id: open.id, length: open.length, extra: open.extra, sealed: false };
            self.finished.push(written);
        }
        Ok(std::mem::take(&mut self.finished))
    }

    /// Puts back what [`sync`](Self::sync) said, when it could not be noted.
    pub(crate) fn put_back(&mut self, written: Vec<Written>) {
        self.finished.extend(written);
    }

    /// Every pack this session ever had open.
    pub(crate) fn used(&self) -> &[PackId] {
        &self.used
    }

    /// A pack to append to: one that nobody writes to any more, or a new one.
    fn acquire(&self, inner: &Inner) -> Result<OpenPack, StoreError> {
        match self.adopt(inner)? {
            Some(open) => Ok(open),
            None => self.create(inner),
        }
    }

    fn adopt(&self, inner: &Inner) -> Result<Option<OpenPack>, StoreError> {
        let lease = self.lease;
        let found = inner.index.write("take over a pack", Durability::Normal, |index| {
            let found = index
                .prepare_cached(
                    "SELECT id, length, extra FROM packs WHERE sealed = 0 AND writer IS NULL AND damaged = 0
                     ORDER BY length DESC LIMIT 1",
                )?
                .query_row([], |row| {
                    let unsigned =
                        |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
                    Ok((PackId::from_row(row.get(0)?), unsigned(1)?, unsigned(2)?))
                })
                .optional()?;
            if let Some((id, ..)) = found {
                index.execute("UPDATE packs SET writer = ?2 WHERE id = ?1", params![id.to_row(), lease.0])?;
            }
            Ok(found)
        })?;
        let Some((id, length, extra)) = found else { return Ok(None) };
        let path = inner.packs.path(id);
        let opened = inner.vfs.open(&path, true).and_then(|file| {
            // What lies behind the last commit was abandoned. Less than that must not be made longer.
            if file.length()? < length || length == 0 {
                return Ok(None);
            }
            file.truncate(length)?;
            Ok(Some(file))
        });
        inner.packs.forget(id);
        match opened {
            Ok(Some(file)) => Ok(Some(OpenPack { id, file, length, extra, new: false, dirty: false })),
            // A damaged pack is for a check to report; it is not written to again.
            Ok(None) => self.give_up(inner, id).map(|()| None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.give_up(inner, id).map(|()| None)
            }
            Err(source) => Err(StoreError::io("open the pack", &path, source)),
        }
    }

    fn give_up(&self, inner: &Inner, id: PackId) -> Result<(), StoreError> {
        inner.index.write("seal a pack", Durability::Normal, |index| {
            index.execute("UPDATE packs SET sealed = 1, writer = NULL WHERE id = ?1", [id.to_row()])?;
            Ok(())
        })
    }

    fn create(&self, inner: &Inner) -> Result<OpenPack, StoreError> {
        let directory = inner.packs.directory();
        let id = PackId::random().map_err(|source| StoreError::io("name a pack in", directory, source))?;
        // The row comes first: a pack without one is nobody's, and is removed by a collection.
        let lease = self.lease;
        inner.index.write("add a pack", Durability::Normal, |index| {
            index.execute(
                "INSERT INTO packs (id, length, sealed, extra, writer) VALUES (?1, 0, 0, 0, ?2)",
                params![id.to_row(), lease.0],
            )?;
            Ok(())
        })?;
        let path = inner.packs.path(id);
        let header = id.header();
        let file = inner.vfs.create(&path).and_then(|file| {
            file.write_all_at(&header, 0)?;
            Ok(file)
        });
        let file = file.map_err(|source| StoreError::io("create the pack", &path, source))?;
        Ok(OpenPack { id, file, length: header.len() as u64, extra: 0, new: true, dirty: true })
    }
}

impl OpenPack {
    fn sync(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let path = inner.packs.path(self.id);
        self.file.sync().map_err(|source| StoreError::io("sync the pack", &path, source))?;
        if self.new {
            let directory = inner.packs.directory();
            inner
                .vfs
                .sync_dir(directory)
                .map_err(|source| StoreError::io("sync the directory", directory, source))?;
        }
        (self.new, self.dirty) = (false, false);
        Ok(())
    }
}

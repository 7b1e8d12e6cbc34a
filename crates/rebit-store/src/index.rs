//! The index: an SQLite database that says where everything is.
//!
//! It can be made anew from the packs and the journal of refs, apart from records, the stat cache and the
//! segment cache, which are caches.
//!
//! Settings and why: write-ahead logging, so that readers and a writer do not wait for each other; every
//! writing transaction starts with `BEGIN IMMEDIATE`, since upgrading a read transaction fails at once when
//! another writer was faster; `synchronous=NORMAL` may lose the last commits with the power and never corrupts,
//! which is enough where the packs can tell the same again; `FULL` where a commit is acknowledged (refs) or
//! something is deleted because of it (garbage collection). The log is not folded into the database when a
//! process ends: that would cost every short run a sync.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::StoreError;
use crate::vfs::Vfs;

pub(crate) mod blobs;
pub(crate) mod objects;

const FILE: &str = "index.sqlite";
const SCHEMA_VERSION: i64 = 1;
/// The largest database that is written anew to shrink it: a copy is made in memory, since nothing is written outside the root.
const SHRINKABLE: u64 = 128 << 20;
const BUSY: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
CREATE TABLE objects (
    id BLOB PRIMARY KEY,
    pack INTEGER NOT NULL,       -- the pack's id
    frame INTEGER NOT NULL,      -- where the entry starts in the pack
    entry INTEGER NOT NULL,      -- the entry's length
    size INTEGER NOT NULL,       -- the content's length
    kind INTEGER NOT NULL,       -- 0 plain, 1 chunked
    cost INTEGER NOT NULL,       -- the object's share of the entry's length
    edges BLOB,                  -- the identities of the objects referred to, one after the other
    condemned INTEGER            -- the generation in which nothing referred to it
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_condemned ON objects (condemned) WHERE condemned IS NOT NULL;
CREATE TABLE blobs (
    digest BLOB NOT NULL,
    object BLOB NOT NULL,
    size INTEGER NOT NULL,
    form INTEGER NOT NULL,       -- 0 plain, 1 composite, 2 recipe
    PRIMARY KEY (digest, object)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    key BLOB PRIMARY KEY,
    payload BLOB NOT NULL,
    sum BLOB NOT NULL,           -- BLAKE3 of key, edges and payload
    edges BLOB NOT NULL,
    used INTEGER NOT NULL        -- seconds since 1970
) STRICT;
CREATE TABLE refs (
    name TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    root BLOB NOT NULL,
    updated INTEGER NOT NULL     -- seconds since 1970
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
    id INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL,
    start INTEGER NOT NULL,      -- the process's start time, in clock ticks since boot
    boot TEXT NOT NULL,
    namespace INTEGER NOT NULL,  -- the inode of the process's pid namespace
    generation INTEGER NOT NULL, -- as of the lease's start
    reserved INTEGER NOT NULL    -- bytes it may append, of the quota
) STRICT;
CREATE TABLE packs (
    id INTEGER PRIMARY KEY,
    length INTEGER NOT NULL,     -- as of the last commit
    sealed INTEGER NOT NULL,
    extra INTEGER NOT NULL,      -- bytes of entries that hold no objects
    writer INTEGER,              -- the lease that appends to it
    damaged INTEGER NOT NULL DEFAULT 0  -- holds bytes that are no valid entry: the next collection rewrites it
) STRICT;
CREATE TABLE stat_cache (
    dev INTEGER NOT NULL,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    ctime INTEGER NOT NULL,
    object BLOB NOT NULL,
    PRIMARY KEY (dev, ino)
) STRICT, WITHOUT ROWID;
CREATE TABLE segments (
    key BLOB NOT NULL,
    encoder TEXT NOT NULL,
    object BLOB NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (key, encoder)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkouts (
    name TEXT PRIMARY KEY,       -- of the directory
    bytes INTEGER NOT NULL,
    boot TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('generation', 1);
";

/// How far a commit reaches before it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is atomic, and may be lost with the power.
    Normal,
    /// It is on the disk.
    Full,
}

/// An error inside a piece of work on the index, before it is known what the work was.
#[derive(Debug)]
pub(crate) enum Fail {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A database opened once and its connections, which threads take in turns.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    vfs: Arc<dyn Vfs>,
    idle: Mutex<Vec<Connection>>,
}

impl Index {
    /// Opens the index of the store at `root`. When there is none yet, it is made, and `fill` puts into it
    /// what the packs say, in the same transaction.
    pub(crate) fn open(
        root: &Path,
        vfs: Arc<dyn Vfs>,
        fill: &mut dyn FnMut(&Transaction<'_>) -> Result<(), Fail>,
    ) -> Result<Self, StoreError> {
        let index = Self { path: root.join(FILE), vfs, idle: Mutex::new(Vec::new()) };
        let connection = index.connect()?;
        let version = |connection: &Connection| {
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        };
        let found = version(&connection).map_err(|error| index.error("read the version", error))?;
        if found == 0 {
            let wal = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get::<_, String>(0));
            wal.map_err(|error| index.error("turn on logging", error))?;
        } else if found != SCHEMA_VERSION {
            let feature = format!("index version {found}");
            return Err(StoreError::UnsupportedFeature { path: root.to_owned(), feature });
        }
        index.give_back(connection);
        if found == 0 {
            index.write("make the tables", Durability::Full, |transaction| {
                // Another process may have been faster.
                if version(transaction)? == 0 {
                    transaction.execute_batch(SCHEMA)?;
                    fill(transaction)?;
                    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
                }
                Ok(())
            })?;
        }
        Ok(index)
    }

    /// The names of the index's files under the root.
    pub(crate) fn file_names() -> [&'static str; 3] {
        [FILE, "index.sqlite-wal", "index.sqlite-shm"]
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&self.path)?;
            connection.busy_timeout(BUSY)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.execute_batch(
                "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;
                 PRAGMA journal_size_limit=33554432; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000;",
            )?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(connection)
        };
        open().map_err(|error| self.error("open", error))
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < 8 {
            idle.push(connection);
        }
    }

    /// Reads. Each statement sees the latest commit; for one view of several, see [`snapshot`](Self::snapshot).
    pub(crate) fn read<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fail>,
    ) -> Result<T, StoreError> {
        let connection = self.take()?;
        let result = work(&connection);
        self.give_back(connection);
        result.map_err(|fail| self.fail(what, fail))
    }

    /// Reads in one transaction: all statements see the same state.
    pub(crate) fn snapshot<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fail>,
    ) -> Result<T, StoreError> {
        self.read(what, |connection| {
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
            work(&transaction)
        })
    }

    /// Writes, in one transaction that holds the writers' lock from its start.
    pub(crate) fn write<T>(
        &self,
        what: &'static str,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fail>,
    ) -> Result<T, StoreError> {
        self.read(what, |connection| {
            let full = durability == Durability::Full;
            if full {
                connection.pragma_update(None, "synchronous", "FULL")?;
            }
            let result = self.transact(connection, work);
            if full {
                connection.pragma_update(None, "synchronous", "NORMAL")?;
            }
            if result.is_ok() {
                self.vfs.after_commit(full);
            }
            result
        })
    }

    fn transact<T>(
        &self,
        connection: &Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        self.vfs.before_commit().map_err(|source| StoreError::io("commit to", &self.path, source))?;
        transaction.commit()?;
        Ok(result)
    }

    /// Gives back what the database holds no more: what is free of it if that is more than a quarter, and with `all` what its pages
    /// have free, too. On a disk that is full, or while somebody writes, or when it is too large to be copied in memory, nothing happens.
    pub(crate) fn shrink(&self, all: bool) -> Result<(), StoreError> {
        self.read("shrink the database", |connection| {
            let pages = |name| {
                let query = format!("PRAGMA {name}");
                connection.query_row(&query, [], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))
            };
            let (free, count, size) = (pages("freelist_count")?, pages("page_count")?, pages("page_size")?);
            let wanted = all || free > count / 4;
            if !wanted || count.saturating_sub(free).saturating_mul(size) > SHRINKABLE {
                return Ok(());
            }
            match connection.execute_batch("VACUUM") {
                Err(error)
                    if matches!(
                        error.sqlite_error_code(),
                        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
                    ) =>
                {
                    Ok(())
                }
                other => Ok(other?),
            }
        })
    }

    /// Folds the log into the database and cuts it; leaves what readers still need.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.read("fold the log", |connection| {
            let folded = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            Ok(folded?)
        })
    }

    fn fail(&self, what: &'static str, fail: Fail) -> StoreError {
        match fail {
            Fail::Sqlite(error) => self.error(what, error),
            Fail::Store(error) => error,
        }
    }

    fn error(&self, what: &'static str, source: rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
            Some(ErrorCode::DiskFull) => {
                StoreError::DiskFull { path, source: io::Error::from(io::ErrorKind::StorageFull) }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::CorruptIndex { path, reason: source.to_string() }
            }
            _ => StoreError::Index { what, source },
        }
    }
}

/// The current generation: it grows with every collection.
pub(crate) fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'generation'")?
        .query_row([], |row| row.get(0))
}

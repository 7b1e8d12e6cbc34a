//! Leases: which sessions are alive.
//!
//! A lease is a row that names a process by pid, start time, boot and pid namespace. It is dead when that
//! process is gone; no clock is asked. A process in another pid namespace cannot be seen from here and counts
//! as alive until the machine has been booted anew.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, params};

use crate::StoreError;
use crate::index::{Fail, generation};
use crate::pack::random_u64;

/// The name of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeaseId(pub(crate) i64);

impl LeaseId {
    /// The name of its scratch directory.
    pub(crate) fn directory_name(self) -> String {
        format!("{:016x}", self.0)
    }

    /// The lease that a scratch directory belongs to.
    pub(crate) fn from_directory_name(name: &str) -> Option<Self> {
        if name.len() != 16 {
            return None;
        }
        u64::from_str_radix(name, 16).ok().map(|value| Self(value.cast_signed()))
    }
}

/// A process, told apart from every other one there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: i64,
    pub(crate) start: i64,
    pub(crate) boot: String,
    pub(crate) namespace: i64,
}

impl ProcessIdentity {
    /// This process.
    pub(crate) fn current() -> Result<Self, StoreError> {
        let pid = i64::from(std::process::id());
        let missing = |path: &str| {
            let source = io::Error::from(io::ErrorKind::NotFound);
            StoreError::io("read the process's identity from", Path::new(path), source)
        };
        let start = start_time("self").ok_or_else(|| missing("/proc/self/stat"))?;
        let boot = "/proc/sys/kernel/random/boot_id";
        let boot =
            fs::read_to_string(boot).map_err(|source| StoreError::io("read", Path::new(boot), source))?;
        let namespace = namespace("self").ok_or_else(|| missing("/proc/self/ns/pid"))?;
        Ok(Self { pid, start, boot: boot.trim().to_owned(), namespace })
    }

    /// Whether the process still runs, as far as `viewer` can see.
    fn is_alive(&self, viewer: &Self) -> bool {
        if self.boot != viewer.boot {
            return false;
        }
        self.namespace != viewer.namespace || start_time(&self.pid.to_string()) == Some(self.start)
    }
}

/// Field 22 of `/proc/PID/stat`. The second field may hold blanks and parentheses: fields are counted from
/// its end.
fn start_time(process: &str) -> Option<i64> {
    let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The inode of the process's pid namespace.
fn namespace(process: &str) -> Option<i64> {
    let link = fs::read_link(format!("/proc/{process}/ns/pid")).ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    pub(crate) generation: i64,
}

/// Starts a lease.
pub(crate) fn start(connection: &Connection, process: &ProcessIdentity) -> Result<Lease, Fail> {
    let random = random_u64().map_err(|source| StoreError::io("read", Path::new("/dev/urandom"), source))?;
    let id = LeaseId((random >> 1).cast_signed());
    let generation = generation(connection)?;
    connection
        .prepare_cached(
            "INSERT INTO leases (id, pid, start, boot, namespace, generation, reserved)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
        )?
        .execute(params![id.0, process.pid, process.start, process.boot, process.namespace, generation])?;
    Ok(Lease { id, generation })
}

/// Ends a lease.
pub(crate) fn end(connection: &Connection, lease: LeaseId) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE packs SET writer = NULL WHERE writer = ?1")?.execute([lease.0])?;
    connection.prepare_cached("DELETE FROM leases WHERE id = ?1")?.execute([lease.0])?;
    Ok(())
}

/// The leases whose processes are alive, and those whose are not.
pub(crate) fn sort(
    connection: &Connection,
    viewer: &ProcessIdentity,
) -> rusqlite::Result<(Vec<Lease>, Vec<LeaseId>)> {
    let mut statement =
        connection.prepare_cached("SELECT id, generation, pid, start, boot, namespace FROM leases")?;
    let rows = statement.query_map([], |row| {
        let process = ProcessIdentity {
            pid: row.get(2)?,
            start: row.get(3)?,
            boot: row.get(4)?,
            namespace: row.get(5)?,
        };
        Ok((Lease { id: LeaseId(row.get(0)?), generation: row.get(1)? }, process))
    })?;
    let (mut alive, mut dead) = (Vec::new(), Vec::new());
    for row in rows {
        let (lease, process) = row?;
        if process.is_alive(viewer) { alive.push(lease) } else { dead.push(lease.id) }
    }
    Ok((alive, dead))
}

/// Ends the leases of dead processes; says how many there were.
pub(crate) fn end_dead(connection: &Connection, viewer: &ProcessIdentity) -> rusqlite::Result<u64> {
    let (_, dead) = sort(connection, viewer)?;
    for lease in &dead {
        end(connection, *lease)?;
    }
    Ok(dead.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-61
    #[test]
    fn a_process_is_alive_only_as_itself() {
        let this = ProcessIdentity::current().unwrap();
        assert!(this.is_alive(&this));
        let other_start = ProcessIdentity { start: this.start + 1, ..this.clone() };
        assert!(!other_start.is_alive(&this), "a reused pid was taken for the process");
        let other_boot = ProcessIdentity { boot: "x".into(), ..this.clone() };
        assert!(!other_boot.is_alive(&this));
        let no_process = ProcessIdentity { pid: i64::MAX, ..this.clone() };
        assert!(!no_process.is_alive(&this));
        let other_namespace = ProcessIdentity { pid: i64::MAX, namespace: -1, ..this.clone() };
        assert!(other_namespace.is_alive(&this), "what cannot be seen was taken for dead");
    }
}

//! Rows of blobs: digests of whole contents, and the objects that hold them.
//!
//! A digest may have several rows, one per object that holds it: each row lives as long as its object.

use rebit_oci::{Digest, ObjectId};
use rusqlite::{Connection, params};

use super::objects::{id_at, signed, unsigned};
use crate::entry::BlobRow;
use crate::{BlobForm, BlobStat};

/// Everything that holds `digest`, plain ones first.
pub(crate) fn find(connection: &Connection, digest: &Digest) -> rusqlite::Result<Vec<BlobStat>> {
    let mut statement = connection
        .prepare_cached("SELECT object, size, form FROM blobs WHERE digest = ?1 ORDER BY form, object")?;
    let rows = statement.query_map([digest.as_bytes()], |row| {
        Ok(BlobStat { object: id_at(row, 0)?, size: unsigned(row.get(1)?), form: form(row, 2)? })
    })?;
    rows.collect()
}

/// Adds a row.
pub(crate) fn insert(connection: &Connection, row: &BlobRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO blobs (digest, object, size, form) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            row.digest.as_bytes(),
            row.object.as_bytes(),
            signed(row.size),
            i64::from(row.form.code()),
        ])?;
    Ok(())
}

/// All rows, in order of their digests.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<BlobRow>> {
    let mut statement =
        connection.prepare("SELECT digest, object, size, form FROM blobs ORDER BY digest, object")?;
    let rows = statement.query_map([], |row| {
        Ok(BlobRow {
            digest: Digest::from_bytes(row.get(0)?),
            object: ObjectId(row.get(1)?),
            size: unsigned(row.get(2)?),
            form: form(row, 3)?,
        })
    })?;
    rows.collect()
}

fn form(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<BlobForm> {
    let value: i64 = row.get(column)?;
    let form = u8::try_from(value).ok().and_then(BlobForm::from_code);
    form.ok_or(rusqlite::Error::IntegralValueOutOfRange(column, value))
}

//! Rows of objects.

use rebit_oci::ObjectId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Fail;
use crate::StoreError;
use crate::entry::MemberKind;
use crate::pack::PackId;

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: PackId,
    /// Where its entry starts.
    pub(crate) frame: u64,
    /// The entry's length.
    pub(crate) entry: u64,
    /// The content's length.
    pub(crate) size: u64,
    pub(crate) kind: MemberKind,
}

/// A new row.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub(crate) id: ObjectId,
    pub(crate) place: Place,
    /// Its share of the entry, in bytes.
    pub(crate) cost: u64,
    pub(crate) edges: Vec<ObjectId>,
}

/// Where `id` is, and whether it is condemned.
pub(crate) fn find(connection: &Connection, id: &ObjectId) -> rusqlite::Result<Option<(Place, bool)>> {
    connection
        .prepare_cached("SELECT pack, frame, entry, size, kind, condemned FROM objects WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| Ok((place(row, 0)?, row.get::<_, Option<i64>>(5)?.is_some())))
        .optional()
}

/// Reads five columns from `first`.
pub(crate) fn place(row: &Row<'_>, first: usize) -> rusqlite::Result<Place> {
    Ok(Place {
        pack: PackId::from_row(row.get(first)?),
        frame: unsigned(row.get(first + 1)?),
        entry: unsigned(row.get(first + 2)?),
        size: unsigned(row.get(first + 3)?),
        kind: if row.get::<_, i64>(first + 4)? == 1 { MemberKind::Chunked } else { MemberKind::Plain },
    })
}

/// The edges of `id`; `None` when there is no such object.
pub(crate) fn edges(connection: &Connection, id: &ObjectId) -> rusqlite::Result<Option<Vec<ObjectId>>> {
    connection
        .prepare_cached("SELECT edges FROM objects WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| edges_at(row, 0))
        .optional()
}

/// Reads a column of edges.
pub(crate) fn edges_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<ObjectId>> {
    let bytes = row.get_ref(column)?.as_blob_or_null()?.unwrap_or_default();
    Ok(split_ids(bytes))
}

/// Splits identities written one after the other.
pub(crate) fn split_ids(bytes: &[u8]) -> Vec<ObjectId> {
    bytes.as_chunks::<32>().0.iter().map(|id| ObjectId(*id)).collect()
}

/// Writes identities one after the other.
pub(crate) fn join_ids(ids: &[ObjectId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

/// Reads an identity.
pub(crate) fn id_at(row: &Row<'_>, column: usize) -> rusqlite::Result<ObjectId> {
    Ok(ObjectId(row.get(column)?))
}

/// Adds a row. When there is one already, it stays where it is, gains the edges, and is no longer condemned.
pub(crate) fn insert(connection: &Connection, object: &NewObject) -> Result<(), Fail> {
    let edges = (!object.edges.is_empty()).then(|| join_ids(&object.edges));
    let place = &object.place;
    let added = connection
        .prepare_cached(
            "INSERT INTO objects (id, pack, frame, entry, size, kind, cost, edges)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            object.id.as_bytes(),
            place.pack.to_row(),
            signed(place.frame),
            signed(place.entry),
            signed(place.size),
            i64::from(place.kind == MemberKind::Chunked),
            signed(object.cost),
            edges,
        ])?;
    if added == 0 {
        add_edges(connection, &object.id, &object.edges)?;
        resurrect(connection, [object.id])?;
    }
    Ok(())
}

/// Adds edges to a row.
pub(crate) fn add_edges(connection: &Connection, id: &ObjectId, new: &[ObjectId]) -> rusqlite::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let mut all = edges(connection, id)?.unwrap_or_default();
    let before = all.len();
    merge(&mut all, new);
    if all.len() > before {
        connection
            .prepare_cached("UPDATE objects SET edges = ?2 WHERE id = ?1")?
            .execute(params![id.as_bytes(), join_ids(&all)])?;
    }
    Ok(())
}

/// Appends those of `new` that `all` lacks.
pub(crate) fn merge(all: &mut Vec<ObjectId>, new: &[ObjectId]) {
    let mut seen: std::collections::HashSet<ObjectId> = all.iter().copied().collect();
    all.extend(new.iter().filter(|id| seen.insert(**id)));
}

/// Takes the condemnation off `ids` and everything below them.
///
/// It stops at objects that are not condemned: nothing below those is (see the module `gc`).
///
/// Fails with [`StoreError::ObjectNotFound`] when one is missing.
pub(crate) fn resurrect(
    connection: &Connection,
    ids: impl IntoIterator<Item = ObjectId>,
) -> Result<(), Fail> {
    let mut stack: Vec<ObjectId> = ids.into_iter().collect();
    while let Some(object) = stack.pop() {
        let condemned = connection
            .prepare_cached("SELECT condemned FROM objects WHERE id = ?1")?
            .query_row([object.as_bytes()], |row| row.get::<_, Option<i64>>(0))
            .optional()?;
        match condemned {
            None => return Err(StoreError::ObjectNotFound { object }.into()),
            Some(None) => {}
            Some(Some(_)) => {
                connection
                    .prepare_cached("UPDATE objects SET condemned = NULL WHERE id = ?1")?
                    .execute([object.as_bytes()])?;
                stack.extend(edges(connection, &object)?.unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// Whether any object at all is condemned; quick, by a partial index.
pub(crate) fn any_condemned(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM objects WHERE condemned IS NOT NULL)")?
        .query_row([], |row| row.get(0))
}

/// SQLite's integers are signed; ours are stored bit for bit.
pub(crate) fn signed(value: u64) -> i64 {
    value.cast_signed()
}

/// The reverse of [`signed`].
pub(crate) fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

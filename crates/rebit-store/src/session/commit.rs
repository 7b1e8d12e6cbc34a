//! Making what was put durable: packs first, then the index.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use rebit_oci::ObjectId;
use rusqlite::{Transaction, params};

use super::Shared;
use super::state::{NewSegment, Pending, PendingPlace};
use super::writer::Written;
use crate::StoreError;
use crate::entry::{self, BlobRow};
use crate::index::objects::{self, NewObject};
use crate::index::{Durability, Fail, blobs, generation};

/// The most rows of one entry of blobs or edges.
const ROWS: usize = 1 << 15;

/// Everything that one commit puts into the index.
struct Batch {
    objects: Vec<NewObject>,
    blobs: Vec<BlobRow>,
    extra_edges: BTreeMap<ObjectId, Vec<ObjectId>>,
    segments: Vec<(([u8; 32], String), NewSegment)>,
    /// In which generation all edges were last seen uncondemned.
    generation: i64,
}

impl Shared {
    /// Makes everything put so far durable and indexed.
    pub(crate) fn commit(self: &Arc<Self>) -> Result<(), StoreError> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let group = {
            let mut state = self.state();
            state.check()?;
            state.take_group()
        };
        if !group.is_empty() {
            self.send(group)?;
        }
        self.wait_until_landed();
        let batch = self.batch()?;
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.make_durable(&batch).inspect_err(|error| {
            let reason = error.to_string();
            self.state().fail(StoreError::SessionFailed { reason });
        })?;
        let done = self.inner.index.write("add objects", Durability::Normal, |index| {
            let current = generation(index)?;
            batch.write(index, &written, current != batch.generation)?;
            self.write_touched(index)?;
            Ok(current)
        });
        match done {
            Ok(generation) => self.committed(batch, generation),
            Err(error) => {
                self.writer().put_back(written);
                return Err(error);
            }
        }
        Ok(())
    }

    /// What is pending. All of it is written, since nothing is on its way.
    fn batch(&self) -> Result<Batch, StoreError> {
        let mut state = self.state();
        state.check()?;
        let mut objects = Vec::with_capacity(state.pending.len());
        for (id, Pending { edges, place, .. }) in &state.pending {
            let PendingPlace::Written(place, cost) = *place else {
                let reason = format!("object {id} was not written");
                return Err(StoreError::SessionFailed { reason });
            };
            objects.push(NewObject { id: *id, place, cost, edges: edges.clone() });
        }
        objects.sort_unstable_by_key(|object| object.id);
        Ok(Batch {
            objects,
            blobs: state.blobs.values().copied().collect(),
            extra_edges: state.extra_edges.clone(),
            segments: state.segments.clone().into_iter().collect(),
            generation: state.generation,
        })
    }

    fn make_durable(&self, batch: &Batch) -> Result<Vec<Written>, StoreError> {
        let mut writer = self.writer();
        for rows in batch.blobs.chunks(ROWS) {
            writer.append_extra(&self.inner, &entry::encode_blobs(rows))?;
        }
        for (object, edges) in &batch.extra_edges {
            writer.append_extra(&self.inner, &entry::encode_edges(&[(*object, edges.clone())]))?;
        }
        writer.sync(&self.inner)
    }

    fn committed(&self, batch: Batch, generation: i64) {
        let mut state = self.state();
        for object in &batch.objects {
            state.pending.remove(&object.id);
        }
        for row in &batch.blobs {
            state.blobs.remove(&(row.digest, row.object));
        }
        for id in batch.extra_edges.keys() {
            state.extra_edges.remove(id);
        }
        for (key, _) in &batch.segments {
            state.segments.remove(key);
        }
        // What was seen before a collection may be condemned now: only what this batch refers to was looked after.
        state.advance(generation);
        state.remember(batch.objects.into_iter().map(|object| object.id));
    }

    /// Notes when records were used.
    pub(crate) fn write_touched(&self, index: &Transaction<'_>) -> Result<(), Fail> {
        let touched = std::mem::take(&mut self.state().touched);
        for (key, used) in touched {
            index
                .prepare_cached("UPDATE records SET used = max(used, ?2) WHERE key = ?1")?
                .execute(params![key.as_bytes(), used])?;
        }
        Ok(())
    }

    /// Stops everything that is on its way, and abandons it.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wait_until_landed();
        // Another session may write other entries where the abandoned ones are.
        for pack in self.writer().used() {
            self.inner.packs.forget(*pack);
        }
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.objects.is_empty()
            && self.blobs.is_empty()
            && self.extra_edges.is_empty()
            && self.segments.is_empty()
    }

    fn write(&self, index: &Transaction<'_>, written: &[Written], collected: bool) -> Result<(), Fail> {
        for object in &self.objects {
            objects::insert(index, object)?;
        }
        for (id, edges) in &self.extra_edges {
            objects::add_edges(index, id, edges)?;
        }
        if collected {
            // A collection has condemned since; nothing below a new object may stay so.
            let edges = self.objects.iter().flat_map(|object| object.edges.iter().copied());
            let extra = self.extra_edges.iter().flat_map(|(id, edges)| edges.iter().copied().chain([*id]));
            let blobs = self.blobs.iter().map(|row| row.object);
            let segments = self.segments.iter().map(|(_, segment)| segment.object);
            objects::resurrect(index, edges.chain(extra).chain(blobs).chain(segments))?;
        }
        for row in &self.blobs {
            blobs::insert(index, row)?;
        }
        for ((key, encoder), segment) in &self.segments {
            index
                .prepare_cached(
                    "INSERT OR REPLACE INTO segments (key, encoder, object, length) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![key, encoder, segment.object.as_bytes(), objects::signed(segment.length)])?;
        }
        note_packs(index, written)?;
        Ok(())
    }
}

/// Notes how long packs are now.
pub(crate) fn note_packs(index: &Transaction<'_>, written: &[Written]) -> rusqlite::Result<()> {
    for pack in written {
        index
            .prepare_cached(
                "UPDATE packs SET length = ?2, sealed = ?3, extra = ?4,
                 writer = CASE ?3 WHEN 1 THEN NULL ELSE writer END WHERE id = ?1",
            )?
            .execute(params![
                pack.id.to_row(),
                objects::signed(pack.length),
                pack.sealed,
                objects::signed(pack.extra)
            ])?;
    }
    Ok(())
}

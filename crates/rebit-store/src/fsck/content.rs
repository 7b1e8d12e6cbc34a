//! Checking what is put together from several objects: chunked objects, blobs, records.

use std::io::{self, Read};

use rebit_oci::object::ObjectSource;
use rebit_oci::{CacheKey, Digest, ObjectId};

use super::Check;
use crate::entry::MemberKind;
use crate::index::blobs;
use crate::index::objects::{self, split_ids};
use crate::session::records::RecordRow;
use crate::{FindingKind, StoreError};

impl Check<'_> {
    /// Reads every chunked object; its chunks are verified one by one, and the whole.
    pub(super) fn chunked(&mut self) -> Result<(), StoreError> {
        let chunked: Vec<ObjectId> = self
            .placed
            .values()
            .flatten()
            .filter(|object| object.kind == MemberKind::Chunked && !self.wrong.objects.contains(&object.id))
            .map(|object| object.id)
            .collect();
        for id in chunked {
            self.report.objects += 1;
            let store = self.store;
            if let Err(reason) = drain(store.open(&id).map_err(|error| error.to_string())) {
                self.find_object(FindingKind::ObjectContent, id, reason);
            }
        }
        Ok(())
    }

    /// Reads every blob and compares its digest.
    pub(super) fn blobs(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let rows = store.inner.index.read("list the blobs", |index| Ok(blobs::all(index)?))?;
        let mut last: Option<Digest> = None;
        for row in rows {
            let found = store.inner.index.read("check", |index| Ok(objects::find(index, &row.object)?))?;
            if found.is_none() {
                let reason = format!("object {}, which holds blob {}, is missing", row.object, row.digest);
                self.find(FindingKind::BlobContent, reason).blobs.push(row.digest);
                continue;
            }
            // Several objects may hold one blob: it is read once.
            if last.replace(row.digest) == Some(row.digest) {
                continue;
            }
            self.report.blobs += 1;
            let opened = store.open_blob(&row.digest).map(|(reader, _)| reader);
            if let Err(reason) = drain(opened.map_err(|error| error.to_string())) {
                let finding = self.find(FindingKind::BlobContent, format!("blob {}: {reason}", row.digest));
                finding.blobs.push(row.digest);
                finding.objects.push(row.object);
            }
        }
        Ok(())
    }

    /// Checks every record's bytes and that its objects are there.
    pub(super) fn records(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let wrong = store.inner.index.snapshot("check", |index| {
            let mut wrong = Vec::new();
            let mut statement = index.prepare("SELECT key, payload, sum, edges FROM records")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let key = CacheKey(row.get(0)?);
                let record = RecordRow { payload: row.get(1)?, sum: row.get(2)?, edges: row.get(3)? };
                if !record.is_whole(&key) {
                    wrong.push((key, format!("record {key} is damaged")));
                    continue;
                }
                for edge in split_ids(&record.edges) {
                    if objects::find(index, &edge)?.is_none() {
                        wrong.push((key, format!("record {key} needs object {edge}, which is missing")));
                    }
                }
            }
            Ok(wrong)
        })?;
        for (key, reason) in wrong {
            self.wrong.records.insert(key);
            self.find(FindingKind::Record, reason);
        }
        Ok(())
    }
}

/// Reads to the end; the error says what was wrong.
fn drain(opened: Result<Box<dyn Read + Send + '_>, String>) -> Result<(), String> {
    io::copy(&mut opened?, &mut io::sink()).map(drop).map_err(|error| error.to_string())
}

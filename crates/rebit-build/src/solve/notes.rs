//! What is noted of each step for the provenance.

use rebit_image::provenance::{self as document, DigestSet, Wrote};
use rebit_layer::changeset::Change;
use rebit_layer::{Compare, diff};
use rebit_oci::TreeId;
use rebit_oci::encode::Preimage;

use super::{Solver, lock};
use crate::error::StepProblem;
use crate::graph::{CopyOp, CopySource};
use crate::progress::StepId;
use crate::{key, provenance, record};

impl Solver<'_> {
    /// What a stage starts from.
    pub(super) fn note_base(&self, place: usize, tree: TreeId) {
        lock(&self.notes).bases.insert(place, tree);
    }

    /// The trees that a step reads.
    pub(super) fn note_trees<'s>(&self, id: StepId, read: impl Iterator<Item = (&'s CopySource, TreeId)>) {
        let read = read.map(|(from, tree)| provenance::read(self.graph, from, document::tree(&tree)));
        lock(&self.notes).reads.entry(id).or_default().extend(read);
    }

    /// What a copy takes of a context, of the Dockerfile or from the network: the fields of `key` from `start` on say what it is.
    pub(super) fn note_selection(&self, id: StepId, op: &CopyOp, key: &Preimage, start: usize) {
        if self.inputs.asked.is_none() {
            return;
        }
        let digest = DigestSet::from([(document::SELECTION.to_owned(), key.part(start).to_string())]);
        let read = provenance::selected(self.graph, op, digest);
        lock(&self.notes).reads.entry(id).or_default().push(read);
    }

    /// What a step made of `before`.
    pub(super) fn note_result(&self, id: StepId, before: TreeId, after: TreeId) -> Result<(), StepProblem> {
        if self.inputs.asked.is_some() {
            let wrote = self.wrote(before, after)?;
            lock(&self.notes).results.insert(id, (after, wrote));
        }
        Ok(())
    }

    /// The difference of two trees, summed up. It is remembered: a build that finds everything known loads no tree for it.
    fn wrote(&self, before: TreeId, after: TreeId) -> Result<Wrote, StepProblem> {
        if before == after {
            return Ok(Wrote::default());
        }
        let (session, now, trial) =
            (self.inputs.session, self.inputs.options.now, self.inputs.trial.is_some());
        let key = key::summary(before, after);
        let known = if trial { None } else { session.get_record(&key, now)? };
        if let Some(known) = known.and_then(|bytes| record::decode(&bytes)) {
            return Ok(known);
        }
        let changes = diff(&*self.trees.load(&before)?, &*self.trees.load(&after)?, Compare::IgnoreMtime);
        let removed = changes.iter().filter(|(_, change)| matches!(change, Change::Remove)).count() as u64;
        let wrote = Wrote { bytes: changes.size(), entries: changes.len() as u64 - removed, removed };
        if !trial {
            session.put_record(&key, &record::encode(&wrote), &[], now)?;
        }
        Ok(wrote)
    }
}

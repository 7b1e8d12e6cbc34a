//! Why steps are executed, and what became of them, kept for `rebit why`.

use rebit_oci::encode::Preimage;

use super::{Solver, lock};
use crate::error::{BuildError, StepProblem};
use crate::explain::{self, KeptPreimage, StepReport};
use crate::graph::StagePlan;
use crate::progress::StepId;
use crate::{debug, record};

impl Solver<'_> {
    /// What differs from the last execution at the same place, and remembers the preimage for the next one.
    pub(super) fn explain(&self, id: StepId, key: &Preimage) -> Result<Vec<String>, StepProblem> {
        if self.inputs.trial.is_some() {
            return Ok(Vec::new());
        }
        let stage = self.stage_of(id).map_or_else(String::new, StagePlan::display_name);
        let place = explain::place(self.inputs.scope, &stage, id.step);
        let (session, now) = (self.inputs.session, self.inputs.options.now);
        let kept = KeptPreimage::of(key);
        let before = session.get_record(&place, now)?;
        let before = before.and_then(|bytes| KeptPreimage::decode(&bytes));
        session.put_record(&place, &kept.encode(), &[], now)?;
        Ok(before.map(|before| kept.differences(&before)).unwrap_or_default())
    }

    pub(super) fn note_report(&self, id: StepId, cached: bool, reasons: &[String]) {
        let Some(stage) = self.stage_of(id) else { return };
        let step = stage.steps.get(id.step).map_or_else(String::new, |step| step.text.clone());
        let remotes = lock(&self.remotes).get(&id).cloned().unwrap_or_default();
        let report = StepReport {
            stage: stage.display_name(),
            step,
            cached,
            reasons: reasons.to_vec(),
            remotes,
            fixed: Vec::new(),
        };
        lock(&self.reports).insert(id, report);
    }

    /// Keeps what became of the steps, unless all of them were known: then the report before still tells more.
    pub(super) fn keep_report(&self) -> Result<(), BuildError> {
        let fixed = lock(&self.fixed);
        let with_fixed = |(id, report): (&StepId, &StepReport)| {
            let fixed = fixed.get(id).cloned().unwrap_or_default();
            StepReport { fixed, ..report.clone() }
        };
        let reports: Vec<StepReport> = lock(&self.reports).iter().map(with_fixed).collect();
        if self.inputs.trial.is_none() && reports.iter().any(|report| !report.cached) {
            let key = explain::report_key(self.inputs.scope);
            let (session, now) = (self.inputs.session, self.inputs.options.now);
            session.put_record(&key, &record::encode(&reports), &[], now)?;
            debug::forget(session, self.inputs.scope, now)?;
        }
        Ok(())
    }
}

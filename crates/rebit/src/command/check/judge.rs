//! Why a step gave something else the second time: it is run again under conditions of which one is changed at a time.

use std::collections::{BTreeMap, BTreeSet};

use rebit_build::graph::{Base, CopySource, Op, SourcePath};
use rebit_build::progress::StepId;
use serde::Serialize;

use super::builds::{Bench, Part, Ran};
use super::cause::{self, Cause};
use super::conditions::Conditions;
use super::difference::{self, Difference};
use super::later_failed;
use crate::error::CommandError;

/// How many differences of a step are looked into.
const LOOKED_AT: usize = 100;

/// Why a step differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// It differs under the same conditions.
    NotDeterministic,
    /// It depends on the number of processors.
    Processors,
    /// It depends on where its root file system lies: the order of directories, the file system.
    Directories,
    /// It gave the same each time when only one condition was changed: what it depends on is not known.
    Unsettled,
    /// An input was changed.
    Moved,
    /// The step is rebit's own work.
    Own,
}

/// A step that gave something else the second time.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) id: StepId,
    pub(super) verdict: Verdict,
    /// What differs and why, in order of path.
    pub(super) differences: Vec<(Difference, Cause)>,
}

/// Judges each step that gave something else the second time.
pub(super) fn judge(
    bench: &Bench<'_>,
    first: &Ran,
    second: &Ran,
    inputs_moved: bool,
) -> Result<Vec<Judged>, CommandError> {
    let mut trees = BTreeMap::new();
    for (id, tree) in &first.trees {
        if let Some(other) = second.trees.get(id).filter(|other| *other != tree) {
            trees.insert(*id, (*tree, *other));
        }
    }
    let mut verdicts = BTreeMap::new();
    let mut open = BTreeSet::new();
    for id in trees.keys() {
        let Some(step) = bench.step(*id) else { continue };
        let outside = inputs_moved && reads_outside(bench, *id, &step.op);
        if outside || fetches(&step.op) {
            verdicts.insert(*id, Verdict::Moved);
        } else if matches!(step.op, Op::Run(_)) {
            open.insert(*id);
        } else {
            verdicts.insert(*id, Verdict::Own);
        }
    }
    for (conditions, verdict) in [
        (Conditions::FIRST, Verdict::NotDeterministic),
        (Conditions::PROCESSORS, Verdict::Processors),
        (Conditions::DIRECTORIES, Verdict::Directories),
    ] {
        let another = conditions == Conditions::FIRST || bench.ground.differs(&conditions);
        if open.is_empty() || !another {
            continue;
        }
        let again = bench
            .run(&conditions, Part::Only(&open, &first.trees))
            .map_err(|failed| later_failed(bench, "a further run of a step", failed))?;
        for id in open.clone() {
            if again.trees.get(&id) != first.trees.get(&id) {
                // What differed under the same conditions shows more than what a changed one added.
                if let (Some(pair), Some(tree)) = (trees.get_mut(&id), again.trees.get(&id)) {
                    pair.1 = *tree;
                }
                verdicts.insert(id, verdict);
                open.remove(&id);
            }
        }
    }
    verdicts.extend(open.into_iter().map(|id| (id, Verdict::Unsettled)));
    let mut judged = Vec::new();
    for (id, verdict) in verdicts {
        let (Some((a, b)), Some(step)) = (trees.get(&id), bench.step(id)) else { continue };
        let differences = difference::between(bench, a, b, LOOKED_AT)?
            .into_iter()
            .map(|difference| {
                let cause = cause::of(&difference, &step.op, &verdict);
                (difference, cause)
            })
            .collect();
        judged.push(Judged { id, verdict, differences });
    }
    Ok(judged)
}

/// Whether a step reads a context, or starts from one.
fn reads_outside(bench: &Bench<'_>, id: StepId, op: &Op) -> bool {
    let outside = |source: &CopySource| matches!(source, CopySource::Context | CopySource::Named(_));
    let stage = bench.graph.stages.get(id.stage);
    op.sources().any(outside) || stage.is_some_and(|stage| matches!(stage.base, Base::Context(_)))
}

/// Whether a step takes what a URL or a repository gives.
fn fetches(op: &Op) -> bool {
    let remote = |source: &SourcePath| matches!(source, SourcePath::Url(_) | SourcePath::Git(_));
    matches!(op, Op::Copy(copy) if copy.sources.iter().any(remote))
}

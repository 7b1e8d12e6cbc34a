//! What two provenances say is not the same.

use serde::Serialize;

use super::StepName;
use crate::Provenance;
use crate::provenance::{DigestSet, Resource, Stage};

/// Something that is not the same in two builds, the earliest of its stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Moved {
    /// The Dockerfile, a base image, or what an address gives.
    Input {
        /// Its name.
        name: String,
        /// What the given image was made from.
        given: String,
        /// What it is now.
        rebuilt: String,
    },
    /// A step is another instruction.
    Instruction {
        /// The step now.
        step: StepName,
        /// What it was.
        given: String,
    },
    /// A step read something else.
    Read {
        /// The step.
        step: StepName,
        /// From where.
        from: String,
    },
    /// A step left something else, though it started from the same files and read the same.
    Result {
        /// The step.
        step: StepName,
        /// Whether it could reach a network.
        network: bool,
    },
}

/// What `made` says that `known` does not.
pub(super) fn moved(known: &Provenance, made: &Provenance) -> Vec<Moved> {
    let mut found = inputs(known, made);
    for stage in &made.work().stages {
        if let Some(before) = known.work().stages.iter().find(|before| before.name == stage.name) {
            found.extend(steps(before, stage));
        }
    }
    found
}

/// Contexts are left to the steps that read them.
fn inputs(known: &Provenance, made: &Provenance) -> Vec<Moved> {
    let name =
        |resource: &Resource| resource.name.clone().or_else(|| resource.uri.clone()).unwrap_or_default();
    let mut found = Vec::new();
    for now in made.dependencies().iter().filter(|now| !name(now).starts_with("context")) {
        let before = known.dependencies().iter().find(|before| name(before) == name(now));
        if let Some(before) = before.filter(|before| before.digest != now.digest) {
            found.push(Moved::Input {
                name: name(now),
                given: text(&before.digest),
                rebuilt: text(&now.digest),
            });
        }
    }
    found
}

fn text(digest: &DigestSet) -> String {
    digest.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
}

/// The first step that differs; what comes after it may only follow.
fn steps(known: &Stage, made: &Stage) -> Option<Moved> {
    if known.base.tree != made.base.tree {
        return None;
    }
    for (before, now) in known.steps.iter().zip(&made.steps) {
        let step = StepName { stage: Some(made.name.clone()), instruction: now.instruction.clone() };
        if before.instruction != now.instruction {
            return Some(Moved::Instruction { step, given: before.instruction.clone() });
        }
        if before.reads != now.reads {
            let from = now.reads.iter().find(|read| !before.reads.contains(read));
            let from = from.and_then(|read| read.name.clone()).unwrap_or_default();
            // What another stage gives differs because of a step there.
            return (!from.starts_with("stage ")).then_some(Moved::Read { step, from });
        }
        if before.tree != now.tree {
            return Some(Moved::Result { step, network: now.network });
        }
    }
    None
}

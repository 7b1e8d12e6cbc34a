//! What a build says while it goes on.

use rebit_sandbox::Stream;

use crate::fix::Deed;

/// Identifies a step of a build: a stage by its place in the graph and a step within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    /// Place of the stage in the graph.
    pub stage: usize,
    /// Place of the step in the stage.
    pub step: usize,
}

/// Something that happened. Times are the listener's to take.
#[derive(Debug)]
pub enum Event<'a> {
    /// The build context was read.
    ContextRead {
        /// How many entries it has.
        entries: u64,
        /// How many bytes its files have.
        bytes: u64,
        /// How many files had to be read, the others being known.
        files_read: u64,
    },
    /// Something of the build context was left out, in words.
    ContextNotice {
        /// What.
        text: String,
    },
    /// Something is being fetched over the network.
    Fetching {
        /// The step that needs it.
        id: StepId,
        /// What, in words.
        text: &'a str,
    },
    /// The root file system of a step is being written to disk.
    Unpacking {
        /// The step that needs it.
        id: StepId,
    },
    /// A step begins to be executed.
    Started {
        /// The step.
        id: StepId,
        /// What changed since it was last executed; empty when that is not known.
        reasons: &'a [String],
    },
    /// A process wrote something.
    Output {
        /// The step.
        id: StepId,
        /// Where.
        stream: Stream,
        /// What.
        bytes: &'a [u8],
    },
    /// A step was not executed: what it gives is known.
    Cached {
        /// The step.
        id: StepId,
    },
    /// A step was executed.
    Finished {
        /// The step.
        id: StepId,
    },
    /// A layer of the image is being compressed.
    Encoding {
        /// The layer's place among those that the build made.
        layer: usize,
        /// How many there are.
        of: usize,
    },
    /// A fixer did something to files that a step left.
    Fixed {
        /// The step.
        id: StepId,
        /// The name of the fixer.
        fixer: &'a str,
        /// What it did.
        did: Deed,
        /// To how many files.
        files: usize,
    },
    /// Something was left out of a layer, in words.
    Notice {
        /// The step.
        id: StepId,
        /// What.
        text: String,
    },
}

/// Listens to a build. Called from the thread that runs the step.
pub trait Progress: Sync {
    /// Takes an event.
    fn event(&self, event: Event<'_>);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}

//! Why a build failed. Every step's error carries the place in the Dockerfile that it is about.

use std::io;

use rebit_dockerfile::Span;
use rebit_layer::tree::{GraftError, InsertError, LoadError, ResolveError};
use rebit_layer::{ApplyError, DiskError, EncodeError, PathError, tree};
use rebit_oci::document::DocumentError;
use rebit_oci::object::ObjectError;
use rebit_sandbox::{Exit, SandboxError};
use rebit_store::StoreError;

use crate::remote::RemoteError;
use crate::user::UserError;

/// A build that did not end with an image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A step failed.
    #[error("{step}")]
    Step {
        /// The instruction.
        step: String,
        /// The place in the Dockerfile.
        span: Span,
        /// Why.
        #[source]
        problem: StepProblem,
    },
    /// A context that a stage starts from cannot be used.
    #[error("cannot start from the context `{name}`")]
    BaseContext {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        problem: StepProblem,
    },
    /// The caller asked to stop.
    #[error("the build was interrupted")]
    Interrupted,
    /// The build context cannot be read.
    #[error("cannot read the build context")]
    Context {
        /// Why.
        source: DiskError,
    },
    /// A context that is an archive cannot be read.
    #[error("cannot read the context's archive")]
    Archive {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A base image of the plan is not at hand any more.
    #[error("the base image with manifest {manifest} is missing from the store")]
    BaseMissing {
        /// Its manifest.
        manifest: rebit_oci::Digest,
    },
    /// A layer cannot be written.
    #[error("cannot write a layer")]
    Encode(#[from] EncodeError),
    /// A tree cannot be loaded.
    #[error("cannot load a file tree")]
    Load(#[from] LoadError),
    /// A document of the image cannot be written.
    #[error("cannot write the image")]
    Document(#[from] DocumentError),
    /// The image cannot be stored.
    #[error("cannot store the image")]
    Image(#[from] rebit_image::ImageError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// An object cannot be read or written.
    #[error("the store failed")]
    Object(#[from] ObjectError),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepProblem {
    /// The process ended with something other than 0.
    #[error("the command {}", describe(*exit))]
    Failed {
        /// How it ended.
        exit: Exit,
    },
    /// What a failed step left is not there any more.
    #[error("what the step left is not kept any more")]
    NothingKept,
    /// Neither the image nor the caller names a program.
    #[error("the image names no program to run")]
    NothingToRun,
    /// The process could not be started.
    #[error("the command could not be started")]
    Sandbox(#[from] SandboxError),
    /// Layers were to be images, and the host does not mount them.
    #[error("EROFS images cannot be mounted here: {reason}")]
    NoImages {
        /// What stands in the way.
        reason: String,
    },
    /// A source of a copy does not exist.
    #[error("`{path}` does not exist in {place}")]
    SourceMissing {
        /// The source as written.
        path: String,
        /// The tree that it was looked up in, in words.
        place: String,
    },
    /// The build context cannot be read.
    #[error("{source}")]
    Context {
        /// Why.
        source: Box<BuildError>,
    },
    /// An image that is copied from is not at hand any more.
    #[error("the image with manifest {manifest} is missing from the store")]
    ImageMissing {
        /// Its manifest.
        manifest: rebit_oci::Digest,
    },
    /// The files of an image cannot be had.
    #[error(transparent)]
    Image(#[from] rebit_image::ImageError),
    /// A wildcard cannot be read.
    #[error("`{pattern}` is not a valid pattern")]
    BadPattern {
        /// The pattern.
        pattern: String,
    },
    /// A mode cannot be read.
    #[error("`{mode}` is not a mode")]
    BadMode {
        /// The mode.
        mode: String,
    },
    /// Something that has to be a directory is none.
    #[error("`{path}` is not a directory")]
    NotDirectory {
        /// The path.
        path: String,
    },
    /// A name that means a removal in layers.
    #[error("`{path}` cannot be in an image: in a layer, a name that starts with `.wh.` means a removal")]
    ReservedName {
        /// The path.
        path: String,
    },
    /// Several files would become one.
    #[error("the wildcards match {count} sources, but `{dest}` is no directory and does not end with `/`")]
    ManySources {
        /// How many.
        count: usize,
        /// The destination.
        dest: String,
    },
    /// A secret, agent or context that the step needs was not given to the build.
    #[error("the {what} `{id}` was not given to the build")]
    NotGiven {
        /// "secret", "SSH agent" or "context".
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// A source that comes over the network is not to be had.
    #[error("{0}")]
    Remote(#[from] RemoteError),
    /// A user or group is not known.
    #[error(transparent)]
    User(#[from] UserError),
    /// A path does not resolve in the tree.
    #[error(transparent)]
    Resolve {
        /// Why.
        source: ResolveError,
    },
    /// A path is not valid.
    #[error(transparent)]
    Path {
        /// Why.
        source: PathError,
    },
    /// A node cannot be put into the tree.
    #[error(transparent)]
    Insert {
        /// Why.
        source: InsertError,
    },
    /// A copy does not fit into the tree.
    #[error(transparent)]
    Graft {
        /// Why.
        source: GraftError,
    },
    /// A changeset does not fit onto its tree.
    #[error("the changes of the step do not apply to its tree")]
    Apply {
        /// Why.
        source: ApplyError,
    },
    /// An archive cannot be unpacked.
    #[error("the archive cannot be unpacked")]
    Archive {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What the step changed cannot be read back, or its root file system not be written.
    #[error("cannot read or write the root file system of the step")]
    Disk(#[from] DiskError),
    /// A tree cannot be loaded.
    #[error("cannot load a file tree")]
    Load(#[from] LoadError),
    /// A tree cannot be stored.
    #[error("cannot store a file tree")]
    StoreTree(#[from] tree::StoreError),
    /// A directory of the step cannot be prepared.
    #[error("cannot prepare `{path}`")]
    Io {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// An object cannot be read or written.
    #[error("the store failed")]
    Object(#[from] ObjectError),
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with exit code {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
    }
}

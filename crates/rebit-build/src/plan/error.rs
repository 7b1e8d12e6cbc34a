//! Why a Dockerfile cannot be planned.

use crate::platform::ParsePlatformError;
use rebit_dockerfile::Span;
use rebit_dockerfile::expand::ExpandError;
use rebit_oci::Reference;
use rebit_oci::reference::ParseReferenceError;

/// A problem and the place in the Dockerfile that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct PlanError {
    /// The place.
    pub span: Span,
    /// What is wrong there.
    #[source]
    pub problem: PlanProblem,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum PlanProblem {
    /// A variable or quote in a word cannot be expanded.
    #[error("cannot expand `{word}`: {source}")]
    Expand {
        /// The word as written.
        word: String,
        /// Why.
        source: ExpandError,
    },
    /// The language has it, this program does not execute it.
    #[error("{what} is not supported")]
    Unsupported {
        /// The instruction, flag or value.
        what: String,
    },
    /// A step that runs unconfined, which the caller does not allow.
    #[error("RUN --security=insecure is not allowed")]
    NotAllowed,
    /// A `--platform` that is none.
    #[error(transparent)]
    BadPlatform(#[from] ParsePlatformError),
    /// A name or number that is no stage of the file.
    #[error("there is no stage `{name}`")]
    UnknownTarget {
        /// The name asked for.
        name: String,
        /// The stages there are.
        stages: Vec<String>,
    },
    /// A reference to the stage itself or to a later one.
    #[error("stage `{name}` is not an earlier stage")]
    NotEarlier {
        /// The name or number.
        name: String,
    },
    /// A base name that is no image name.
    #[error(transparent)]
    BadReference(#[from] ParseReferenceError),
    /// A `FROM` or `--from` that expands to nothing.
    #[error("the base name `{word}` is empty after expansion")]
    EmptyBase {
        /// The word as written.
        word: String,
    },
    /// The base image cannot be had.
    #[error("base image `{}` is not available", reference.familiar())]
    Base {
        /// The image.
        reference: Box<Reference>,
        /// Why.
        source: BasesError,
    },
    /// A base image's `ONBUILD` trigger cannot be read.
    #[error("the ONBUILD trigger `{trigger}` of the base image is not valid: {message}")]
    Trigger {
        /// The trigger as the base's config has it.
        trigger: String,
        /// What the parser said.
        message: String,
    },
    /// A value that does not have the form it needs.
    #[error("`{value}` is not {expected}")]
    Invalid {
        /// The value after expansion.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The address of a git repository that cannot be meant.
    #[error(transparent)]
    Remote(#[from] rebit_dockerfile::remote::RemoteSourceError),
    /// A `--mount` that cannot be used.
    #[error("the mount cannot be used")]
    Mount(#[from] rebit_dockerfile::mount::MountError),
    /// Several sources need a destination that is a directory.
    #[error("more than one source needs a destination that ends with `/`: `{dest}`")]
    DestinationNotDirectory {
        /// The destination after expansion.
        dest: String,
    },
}

/// Why a base image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BasesError {
    /// There is no such image.
    #[error("it is not in the store")]
    NotFound,
    /// It is there, but not for this platform.
    #[error("it is for {found}, not for {wanted}")]
    WrongPlatform {
        /// The platform of the image.
        found: String,
        /// The platform of the build.
        wanted: String,
    },
    /// It is not in the store, and its registry does not give it.
    #[error("it is not in the store, and could not be got from its registry")]
    Unavailable {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its registry was to be asked what it is now, and does not say.
    #[error("its registry could not be asked what it is now")]
    Unasked {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

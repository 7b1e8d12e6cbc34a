//! What a build is done with, besides its input: the same flags in `build`, `check` and `verify --rebuild`.

use clap::Args;
use clap::builder::TypedValueParser as _;

use super::{CompressionFlag, ProgressFlag};

#[derive(Debug, Clone, Args)]
pub(crate) struct BuildMeans {
    /// Let RUN --mount=type=secret use a secret; id=NAME[,src=FILE|,env=VARIABLE].
    #[arg(long = "secret", value_name = "id=NAME[,src=FILE]")]
    pub(crate) secrets: Vec<String>,
    /// Let RUN --mount=type=ssh use an SSH agent: default, or NAME=SOCKET.
    #[arg(long = "ssh", value_name = "default|NAME=SOCKET")]
    pub(crate) agents: Vec<String>,
    /// Add an annotation to the image's manifest.
    #[arg(long = "annotation", value_name = "NAME=VALUE")]
    pub(crate) annotations: Vec<String>,
    /// How many stages are built at the same time [default: the number of processors].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..).map(usize::from))]
    pub(crate) jobs: Option<usize>,
    /// How layers are compressed [default: gzip].
    #[arg(long, value_enum)]
    pub(crate) compression: Option<CompressionFlag>,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) progress: ProgressFlag,
}

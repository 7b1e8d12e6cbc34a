//! The flags of `rebit check`.

use clap::Args;
use clap::builder::TypedValueParser as _;

use super::{BuildSource, CompressionFlag, ProgressFlag};

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) source: BuildSource,
    /// Let RUN --mount=type=secret use a secret, as in `rebit build`.
    #[arg(long = "secret", value_name = "id=NAME[,src=FILE]")]
    pub(crate) secrets: Vec<String>,
    /// Let RUN --mount=type=ssh use an SSH agent, as in `rebit build`.
    #[arg(long = "ssh", value_name = "default|NAME=SOCKET")]
    pub(crate) agents: Vec<String>,
    /// How many stages the first build works on at the same time; the second one is for one processor [default: the number of processors].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..).map(usize::from))]
    pub(crate) jobs: Option<usize>,
    /// How layers are compressed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) compression: CompressionFlag,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) progress: ProgressFlag,
    /// Show no progress.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

//! The flags of `rebit check`.

use clap::Args;

use super::{BuildMeans, BuildSource};

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) source: BuildSource,
    #[command(flatten)]
    pub(crate) means: BuildMeans,
    /// Show no progress.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

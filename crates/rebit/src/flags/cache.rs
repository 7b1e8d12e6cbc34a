//! The flags of `rebit cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{parse_size, parse_time};

#[derive(Debug, Args)]
pub(crate) struct Cache {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the caches.
    Ls {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write caches to an archive, zstd-compressed when its name ends with .zst or .tzst.
    Export {
        /// The archive; - is standard output.
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
        /// The names of the caches [default: all].
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Print JSON about what was written.
        #[arg(long)]
        json: bool,
    },
    /// Bring the caches of an archive in; each replaces what a cache of its name holds.
    Import {
        /// The archive; - is standard input.
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
        /// Print JSON about what was brought in.
        #[arg(long)]
        json: bool,
    },
    /// Remove caches by age and size, the least recently used first; those in use are left.
    Prune {
        /// Remove caches that no build used within this time, e.g. 36h or 30d.
        #[arg(long, value_name = "TIME", value_parser = parse_time, required_unless_present = "max_size")]
        older_than: Option<std::time::Duration>,
        /// Remove caches until the others take at most this, e.g. 20G.
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        max_size: Option<u64>,
        /// Say what would be removed, and remove nothing.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove what caches hold.
    Rm {
        /// The names of the caches.
        #[arg(value_name = "NAME", required_unless_present = "all")]
        names: Vec<String>,
        /// All of them.
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

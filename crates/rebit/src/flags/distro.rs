//! The flags of `rebit image` and `rebit lock`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CompressionFlag;

#[derive(Debug, Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Assemble images from Debian packages, as rebit.toml says.
    Build(ImageBuild),
    /// Print ready recipes, to be put into a rebit.toml.
    Recipes {
        /// The image, e.g. distroless/static:nonroot, or gcr.io/distroless/cc-debian13 as FROM has it [default: list them].
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// The release of Debian: bookworm or trixie.
        #[arg(long, value_name = "SUITE", default_value = "bookworm")]
        suite: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ImageBuild {
    /// The names of the images [default: all of the file].
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The file of recipes; rebit.lock is beside it.
    #[arg(short, long, value_name = "FILE", default_value = "rebit.toml")]
    pub(crate) file: PathBuf,
    /// The platform [default: what the recipe says, else this machine's].
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Take nothing from the network that is not in the store.
    #[arg(long)]
    pub(crate) offline: bool,
    /// How the layer is compressed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) compression: CompressionFlag,
    /// Print digests only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// The names of the images [default: all of the file].
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The file of recipes; rebit.lock is written beside it.
    #[arg(short, long, value_name = "FILE", default_value = "rebit.toml")]
    pub(crate) file: PathBuf,
    /// The platform [default: what the recipe says, else those that are pinned, else this machine's].
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    /// Move pins that are there to what the archives have now, and print what changed.
    #[arg(long)]
    pub(crate) update: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

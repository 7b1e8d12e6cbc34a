//! The flags of what looks at images and changes nothing: `verify` and `diff`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The image: store:NAME, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The manifest digest that it must have.
    #[arg(long, value_name = "sha256:…")]
    pub(crate) digest: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The first: store:NAME, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, or dir:PATH for files without an image.
    #[arg(value_name = "A")]
    pub(crate) a: String,
    /// The second.
    #[arg(value_name = "B")]
    pub(crate) b: String,
    /// Count, and do not report, what does not change what an image does: times of files and in archives, compression, how files are split into layers.
    #[arg(long)]
    pub(crate) semantic: bool,
    /// The platform to take out of an image index [default: this machine's].
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Name every path and every line that is known.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page for a browser too.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

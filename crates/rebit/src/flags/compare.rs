//! The flags of what looks at images and changes nothing: `verify`, `diff`, `inspect` and `history`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{BuildMeans, BuildSource};

// The context of the input is needed with --rebuild only; that it is there then is the command's to see.
#[derive(Debug, Args)]
#[command(mut_arg("context", |arg| arg.required(false).default_value("").hide_default_value(true)))]
pub(crate) struct Verify {
    /// The image: store:NAME, docker://NAME[@DIGEST], oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE. At a registry
    /// all of it is read and nothing kept.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Build the image again from CONTEXT, with the flags of `rebit build`, and say what is the same. What is not given is taken from
    /// what is known of the image: epoch, build arguments, target, platform, annotations, compression.
    #[arg(long, requires = "context")]
    pub(crate) rebuild: bool,
    /// The least that must be the same for a rebuild to hold.
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", requires = "rebuild")]
    pub(crate) accept: Accept,
    #[command(flatten)]
    pub(crate) source: BuildSource,
    #[command(flatten)]
    pub(crate) means: BuildMeans,
    /// Show no progress.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The manifest digest that it must have.
    #[arg(long, value_name = "sha256:…")]
    pub(crate) digest: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accept {
    /// Every byte.
    #[default]
    Blob,
    /// The tar streams of the layers and the config, however compressed.
    Tar,
    /// The files, whatever else is said of them.
    Tree,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The first: store:NAME, docker://NAME, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, or dir:PATH for files without an image.
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

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The image: store:NAME, docker://NAME, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The platform to take out of an image index [default: this machine's].
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Print the bytes of the manifest, config or index as they are.
    #[arg(long, value_enum, value_name = "DOCUMENT")]
    pub(crate) raw: Option<Document>,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// The image: store:NAME, docker://NAME, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Show what each step read, ran and wrote, of an image that was built here or has its provenance beside it at its registry.
    #[arg(long)]
    pub(crate) provenance: bool,
    /// Print the provenance document's bytes as they are.
    #[arg(long, requires = "provenance", conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print instructions and digests in full.
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    /// The image's manifest.
    Manifest,
    /// The image's config.
    Config,
    /// What the name stands for where the image is not in the store: an index, or the manifest.
    Index,
}

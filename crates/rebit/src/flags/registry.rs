//! Flags of the commands that speak to registries.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The image: NAME[:TAG][@DIGEST]; docker.io where it says no registry.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The platform to take out of an image index [default: this machine's].
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Unpack the layers now, not when a build or a command needs the files.
    #[arg(long)]
    pub(crate) unpack: bool,
    /// Print the digest only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The image of the store.
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The name that it gets, and with it the registry [default: its name in the store].
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) destination: Option<String>,
    /// Put the image's provenance beside it, for everybody who may pull: `rebit history --provenance docker://NAME` shows it.
    /// The image stays the same.
    #[arg(long)]
    pub(crate) provenance: bool,
    /// Print the digest only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Where it is: docker://NAME, store:NAME, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE.
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Where it goes to: the same kinds of place.
    #[arg(value_name = "DESTINATION")]
    pub(crate) destination: String,
    /// The platform to take out of an image index [default: this machine's].
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Copy an image index as it is, with the images for every platform.
    #[arg(short, long, conflicts_with = "platform")]
    pub(crate) all: bool,
    /// Copy what refers to the images too, from registry to registry: provenances, signatures, inventories.
    #[arg(long)]
    pub(crate) referrers: bool,
    /// Print the digest only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The registry [default: docker.io].
    #[arg(value_name = "HOST", default_value = "docker.io", hide_default_value = true)]
    pub(crate) registry: String,
    /// The user name.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// The password; other users of this machine can see it, so rather give it on standard input.
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password from standard input.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// The registry [default: docker.io].
    #[arg(value_name = "HOST", default_value = "docker.io", hide_default_value = true)]
    pub(crate) registry: String,
}

#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// The repository.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Referrers {
    /// The image or index: NAME[:TAG][@DIGEST].
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// List what refers to the image for a platform, and not to the index that it is in.
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// When base images are taken from their registries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullFlag {
    /// When the store lacks them.
    #[default]
    #[value(alias = "false")]
    Missing,
    /// Always: what the registry has now is used.
    #[value(alias = "true")]
    Always,
    /// Never.
    Never,
}

/// Whether a provenance goes with an image, in the words of buildx. There is one document, which is all that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProvenanceFlag {
    /// It does.
    #[value(alias = "mode=max")]
    True,
    /// It does not.
    False,
}

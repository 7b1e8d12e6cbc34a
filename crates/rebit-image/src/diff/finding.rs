//! What a comparison finds, and why it may be so.

use std::fmt;

use serde::Serialize;

/// Why two builds of one thing differ, as far as the bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A clock: a time stamp, or a date as text.
    Time,
    /// The same things in another order: of a directory, a hash table, threads.
    Order,
    /// Where it was built.
    Path,
    /// Who built it, or on which machine.
    Host,
    /// A random number, a UUID, a temporary name, a hash of something else that differs.
    Random,
    /// The language, the character set or the form of numbers.
    Locale,
    /// The number of a process.
    Process,
    /// The same content, compressed in another way.
    Compression,
    /// The identity that a linker computes of a program: it differs because something else does.
    BuildId,
    /// An owner or a mode that the builder's user or umask decided.
    Owner,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time stamp",
            Self::Order => "order",
            Self::Path => "build path",
            Self::Host => "user or host name",
            Self::Random => "random or hash",
            Self::Locale => "locale",
            Self::Process => "process id",
            Self::Compression => "compression",
            Self::BuildId => "build id",
            Self::Owner => "owner or umask",
        })
    }
}

/// What a semantic comparison leaves aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ignored {
    /// Modification times of files.
    FileTime,
    /// Times that archives and compressed files keep of what is in them.
    ArchiveTime,
    /// The time of the source that a compiled Python module names.
    PycTime,
    /// The time that a picture was changed.
    ImageTime,
    /// Times of creation in an image's config.
    ConfigTime,
    /// What an image's config says of how it was made.
    History,
    /// How the same bytes are compressed.
    Compression,
    /// How the same files are split into layers.
    LayerSplit,
    /// How the same values are written as JSON.
    JsonForm,
    /// The descriptors of parts that are compared themselves.
    Descriptor,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileTime => "modification times of files",
            Self::ArchiveTime => "times in archives",
            Self::PycTime => "times in compiled Python modules",
            Self::ImageTime => "times in pictures",
            Self::ConfigTime => "times in the config",
            Self::History => "lines of history",
            Self::Compression => "compression",
            Self::LayerSplit => "how files are split into layers",
            Self::JsonForm => "how JSON is written",
            Self::Descriptor => "digests and sizes of parts that are compared themselves",
        })
    }
}

/// One difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: a path, and after each `!` a member of the archive before it; or a field of a document.
    pub place: String,
    /// What differs there, in a few words that are the same for all differences of the kind.
    pub what: String,
    /// The value in the first, when it is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<String>,
    /// The value in the second, when it is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<String>,
    /// What it looks like it comes from, sorted; empty when nothing fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// As what a semantic comparison leaves it aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignorable: Option<Ignored>,
    /// Lines to show: ranges of bytes, or a unified diff.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
}

/// Longest value that a finding carries, in characters.
const MAX_VALUE: usize = 200;

impl Finding {
    /// A difference of which only the kind is known.
    #[must_use]
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), ..Self::default() }
    }

    /// With the two values, cut to a length that can be shown.
    #[must_use]
    pub fn values(mut self, a: &str, b: &str) -> Self {
        (self.a, self.b) = (Some(cut(a)), Some(cut(b)));
        self
    }

    /// With a cause.
    #[must_use]
    pub fn because(mut self, causes: impl IntoIterator<Item = Cause>) -> Self {
        self.causes.extend(causes);
        self.causes.sort_unstable();
        self.causes.dedup();
        self
    }

    /// Left aside by a semantic comparison.
    #[must_use]
    pub fn ignorable(mut self, as_what: Ignored) -> Self {
        self.ignorable = Some(as_what);
        self
    }
}

/// Cuts a text to what can be shown.
pub(super) fn cut(text: &str) -> String {
    let mut end = text.chars();
    let start: String = end.by_ref().take(MAX_VALUE).collect();
    if end.next().is_some() { format!("{start}…") } else { start }
}

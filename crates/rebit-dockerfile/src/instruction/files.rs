//! `COPY` and `ADD`.

use crate::heredoc::Heredoc;
use crate::span::Spanned;

/// What `COPY` and `ADD` have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The sources in the order written, at least one.
    pub sources: Vec<Source>,
    /// The destination, unexpanded.
    pub dest: Spanned<String>,
    /// Whether the JSON form was used, which has no heredocs.
    pub json: bool,
    /// `--chown=user[:group]`, unexpanded.
    pub chown: Option<Spanned<String>>,
    /// `--chmod`, unexpanded; see [`crate::mode::ChmodMode::parse`].
    pub chmod: Option<Spanned<String>>,
    /// `--link`; `None` without the flag.
    pub link: Option<bool>,
    /// `--exclude` patterns, in order; never expanded. See [`crate::ignore::Ignore::from_patterns`].
    pub excludes: Vec<Spanned<String>>,
}

/// One source of `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, wildcard, URL or git address, unexpanded.
    Path(Spanned<String>),
    /// A file written in the Dockerfile itself; its name is [`Heredoc::name`], its content [`Heredoc::content`].
    Heredoc(Heredoc),
}

/// `COPY [flags] source … dest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Sources, destination and common flags.
    pub files: Files,
    /// `--from`: a stage, an image or a named context. Never expanded.
    pub from: Option<Spanned<String>>,
    /// `--parents`: keep the directories of the sources.
    pub parents: bool,
}

/// `ADD [flags] source … dest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Sources, destination and common flags.
    pub files: Files,
    /// `--checksum=sha256:…` or a git commit, unexpanded.
    pub checksum: Option<Spanned<String>>,
    /// `--keep-git-dir`; `None` without the flag.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`; `None` without the flag, which means: local archives yes, remote ones no.
    pub unpack: Option<bool>,
}

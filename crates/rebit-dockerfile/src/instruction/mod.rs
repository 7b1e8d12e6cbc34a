//! The tree: one struct per instruction, as written, nothing expanded.
//!
//! Order of words is the order of the file. `Spanned<String>` values are raw words: quotes and variables are still in them,
//! unless the word came from a flag (quotes removed) or a JSON array (decoded).

mod files;
mod run;
mod words;

use std::time::Duration;

pub use files::{Add, Copy, Files, Source};
pub use run::{Command, Device, Network, Program, Run, Security};

use crate::directive::Directives;
use crate::span::{Span, Spanned};

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dockerfile {
    /// Parser directives of the first lines.
    pub directives: Directives,
    /// `ARG`s before the first `FROM`.
    pub global_args: Vec<Node<Arg>>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Empty lines inside continued lines, in order.
    pub blank_continuations: Vec<Span>,
}

impl Dockerfile {
    /// The last stage with this name (case-insensitive) or, failing that, with this number.
    ///
    /// A later stage hides an earlier one of the same name, as for `--target` and `COPY --from`.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        let named = self
            .stages
            .iter()
            .rev()
            .find(|s| s.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        named.or_else(|| self.stages.get(name.parse::<usize>().ok()?))
    }

    /// The last stage with this name (case-insensitive) among those before stage `index`: what a `FROM` of that stage can mean.
    pub fn stage_before(&self, name: &str, index: usize) -> Option<&Stage> {
        let before = self.stages.iter().take(index);
        before.rev().find(|stage| stage.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name)))
    }
}

/// A `FROM` and the instructions after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Number of the stage, from 0.
    pub index: usize,
    /// Name after `AS`, in lower case.
    pub name: Option<String>,
    /// The `FROM` line.
    pub from: Node<From>,
    /// The instructions, in order.
    pub instructions: Vec<Node<Instruction>>,
}

/// An instruction and how it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<T> {
    /// The instruction.
    pub value: T,
    /// From the first letter of the name to the end of the last line, heredocs included.
    pub span: Span,
    /// The instruction's name as written.
    pub keyword: Spanned<String>,
    /// The logical line: continuations joined, comments inside it gone, blanks around it trimmed; nothing expanded. The history of an image
    /// is made of this or, as BuildKit does for most instructions, of the expanded words.
    pub text: String,
    /// Each heredoc's body followed by its delimiter, joined by line feeds; empty without heredocs.
    pub heredoc_text: String,
    /// Comment lines directly before the instruction, without `#`, trimmed; an empty comment or line clears the ones before it.
    pub comments: Vec<String>,
}

impl<T> Node<T> {
    /// The logical line and the heredocs, as they would have to be written again.
    pub fn full_text(&self) -> String {
        if self.heredoc_text.is_empty() {
            return self.text.clone();
        }
        format!("{}\n{}", self.text, self.heredoc_text)
    }

    /// The instruction, and all the rest.
    pub(crate) fn take(self) -> (T, Node<()>) {
        let Self { value, span, keyword, text, heredoc_text, comments } = self;
        (value, Node { value: (), span, keyword, text, heredoc_text, comments })
    }

    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Node<U> {
        Node {
            value: f(self.value),
            span: self.span,
            keyword: self.keyword,
            text: self.text,
            heredoc_text: self.heredoc_text,
            comments: self.comments,
        }
    }
}

/// Any instruction of a stage but `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the struct of its name")]
pub enum Instruction {
    Add(Add),
    Arg(Arg),
    Cmd(Cmd),
    Copy(Copy),
    Entrypoint(Entrypoint),
    Env(Env),
    Expose(Expose),
    Healthcheck(Healthcheck),
    Label(Label),
    Maintainer(Maintainer),
    OnBuild(OnBuild),
    Run(Run),
    Shell(Shell),
    StopSignal(StopSignal),
    User(User),
    Volume(Volume),
    Workdir(Workdir),
}

impl Instruction {
    /// The instruction's name in upper case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::OnBuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// `FROM [--platform=P] image [AS name]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// Image reference, `scratch`, or the name of an earlier stage; unexpanded.
    pub image: Spanned<String>,
    /// `--platform`, unexpanded.
    pub platform: Option<Spanned<String>>,
    /// The name after `AS`, as written.
    pub name: Option<Spanned<String>>,
}

/// `ARG name[=default] …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The declared names, at least one.
    pub args: Vec<ArgName>,
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgName {
    /// The name, never expanded, not empty.
    pub name: Spanned<String>,
    /// The text after `=`, unexpanded; `None` without `=`, which differs from an empty one.
    pub default: Option<Spanned<String>>,
}

/// A key and its value, unexpanded; the key is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Spanned<String>,
    /// The value; quotes are still in it.
    pub value: Spanned<String>,
}

/// `ENV key=value …`, or the old `ENV key value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Env {
    /// The pairs, at least one. All values are expanded with the environment as it was before this instruction.
    pub pairs: Vec<KeyValue>,
    /// Whether this is the old form, whose value is the rest of the line.
    pub legacy: bool,
}

/// `LABEL key=value …`, or the old `LABEL key value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The pairs, at least one.
    pub pairs: Vec<KeyValue>,
    /// Whether this is the old form, whose value is the rest of the line.
    pub legacy: bool,
}

/// `CMD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmd {
    /// The default command; may be empty (`CMD []`).
    pub command: Command,
}

/// `ENTRYPOINT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrypoint {
    /// The program every container starts; empty (`ENTRYPOINT []`) resets it.
    pub command: Command,
}

/// `EXPOSE port[-port][/protocol] …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expose {
    /// The words, unexpanded, at least one.
    pub ports: Vec<Spanned<String>>,
}

/// `HEALTHCHECK NONE` or `HEALTHCHECK [flags] CMD command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// No check, also not the one of the base image.
    None,
    /// Run a command.
    Cmd(HealthcheckCmd),
}

/// The command form of `HEALTHCHECK`. A time that is absent or zero is inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthcheckCmd {
    /// The command, not empty.
    pub command: Command,
    /// `--interval`, at least 1 ms.
    pub interval: Option<Duration>,
    /// `--timeout`, at least 1 ms.
    pub timeout: Option<Duration>,
    /// `--start-period`, at least 1 ms.
    pub start_period: Option<Duration>,
    /// `--start-interval`, at least 1 ms.
    pub start_interval: Option<Duration>,
    /// `--retries`; zero and absent are the same.
    pub retries: Option<u32>,
}

/// `MAINTAINER name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintainer {
    /// The rest of the line.
    pub name: Spanned<String>,
}

/// `ONBUILD instruction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBuild {
    /// The instruction; never `ONBUILD`, `MAINTAINER` or `FROM`.
    pub trigger: Box<Node<Instruction>>,
}

impl OnBuild {
    /// What goes to the image config's `OnBuild` list; [`crate::parse_trigger`] reads it back.
    pub fn expression(&self) -> String {
        self.trigger.full_text()
    }
}

/// `SHELL ["program", "argument", …]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    /// The words, at least one.
    pub args: Vec<Spanned<String>>,
}

/// `STOPSIGNAL signal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopSignal {
    /// Name or number, unexpanded.
    pub signal: Spanned<String>,
}

/// `USER user[:group]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The rest of the line, unexpanded.
    pub user: Spanned<String>,
}

/// `VOLUME path …` or `VOLUME ["path", …]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The paths, unexpanded, trimmed, at least one, none empty.
    pub paths: Vec<Spanned<String>>,
}

/// `WORKDIR path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workdir {
    /// The rest of the line, unexpanded.
    pub path: Spanned<String>,
}

//! `RUN`, and the command forms that other instructions share with it.

use crate::heredoc::Heredoc;
use crate::mount::MountSpec;
use crate::span::Spanned;

/// A command in one of its two forms. Never expanded by the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The rest of the line, one argument for the `SHELL` in force.
    Shell(Spanned<String>),
    /// A JSON array: program and arguments, no shell. May be empty.
    Exec(Vec<Spanned<String>>),
}

impl Command {
    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Shell(text) => text.value.is_empty(),
            Self::Exec(args) => args.is_empty(),
        }
    }
}

/// `RUN [flags] command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command as written; with heredocs, the line that introduces them.
    pub command: Command,
    /// Heredocs in the order of the line; always empty in exec form.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, in order.
    pub mounts: Vec<MountSpec>,
    /// `--network`; the default without it.
    pub network: Option<Spanned<Network>>,
    /// `--security`; the sandbox without it.
    pub security: Option<Spanned<Security>>,
    /// `--device`, in order.
    pub devices: Vec<Spanned<Device>>,
}

/// `--network` of `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// What the build gives every step.
    Default,
    /// Loopback only.
    None,
    /// The host's network.
    Host,
}

/// `--security` of `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// Confined, as by default.
    Sandbox,
    /// All privileges.
    Insecure,
}

/// `--device` of `RUN`: a CDI device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    /// CDI name, for example `vendor.com/class=device`; not empty.
    pub name: String,
    /// Whether the step fails without the device.
    pub required: bool,
}

/// What a `RUN` executes once its heredocs are put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// These words, without a shell.
    Exec(Vec<String>),
    /// This text as the last argument of the `SHELL` in force.
    Shell(String),
    /// This text as an executable file (mode 0755) at `/dev/pipes/NAME`, on a read-only mount; that path is the last argument of the `SHELL`
    /// in force. For a lone heredoc that begins with `#!`.
    File {
        /// File name, the heredoc's delimiter.
        name: String,
        /// File content.
        content: String,
    },
}

impl Run {
    /// Puts heredocs in place as BuildKit does.
    ///
    /// A line that is only a heredoc runs its body: in the shell, or as a file of its own when it begins with `#!`. Any other line is
    /// given to the shell together with the bodies, for the shell to interpret.
    pub fn program(&self) -> Program {
        let line = match &self.command {
            Command::Exec(args) => return Program::Exec(args.iter().map(|arg| arg.value.clone()).collect()),
            Command::Shell(line) => &line.value,
        };
        let Some(first) = self.heredocs.first() else {
            return Program::Shell(line.clone());
        };
        if Heredoc::is_alone(line) {
            if first.body.starts_with("#!") {
                return Program::File { name: first.name.clone(), content: first.content() };
            }
            return Program::Shell(first.content());
        }
        let mut text = line.clone();
        for heredoc in &self.heredocs {
            text.push('\n');
            text.push_str(&heredoc.body);
            text.push_str(&heredoc.name);
        }
        Program::Shell(text)
    }
}

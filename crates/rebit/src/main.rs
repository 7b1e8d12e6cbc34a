//! The `rebit` command line.
//!
//! Only this crate looks at the terminal, the home directory, the environment and the clock, and only here errors become words, hints
//! and exit codes. Standard output is data; everything said to people goes to standard error.

mod apt;
mod assembly;
mod command;
mod diagnostics;
mod environment;
mod error;
mod flags;
mod machine;
mod network;
mod output;
mod progress;
mod project;
mod registry;
mod settings;
mod signal;
mod temporary;

use std::process::ExitCode;

use clap::Parser as _;

use error::{CommandError, ExitKind};
use flags::{Command, Flags};

fn main() -> ExitCode {
    rebit_sandbox::maybe_run_as_runner();
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(ExitKind::Usage.code())
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.text.is_empty() {
                output::say(&error.text);
            }
            ExitCode::from(error.exit.code())
        }
    }
}

fn run(flags: &Flags) -> Result<(), CommandError> {
    if needs_namespace(&flags.command) {
        // Before anything else: the program starts again as root of a user namespace when it is not root.
        let privilege = rebit_sandbox::enter_user_namespace()?;
        if let rebit_sandbox::Privilege::UserNamespace { mapped_ids: 1 } = privilege {
            output::say("warning: only one user id can be mapped: steps that change owners will fail");
            output::say("hint: give this user a range in /etc/subuid and /etc/subgid, and install newuidmap");
        }
    }
    command::dispatch(flags)
}

/// Commands that make or remove files of other owners.
fn needs_namespace(command: &Command) -> bool {
    if let Command::Verify(verify) = command {
        return verify.rebuild;
    }
    matches!(
        command,
        Command::Build(_)
            | Command::Check(_)
            | Command::Run(_)
            | Command::Debug(_)
            | Command::Image(_)
            | Command::Lock(_)
            | Command::Cache(_)
            | Command::Gc(_)
            | Command::Du(_)
            | Command::Fsck(_)
    )
}

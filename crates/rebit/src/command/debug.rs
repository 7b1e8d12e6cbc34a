//! `rebit debug`.

use rebit_build::{DebugRequest, HostNetwork};
use rebit_sandbox::Runner;

use super::run::end_with;
use super::{dockerfile, secret_flag};
use crate::error::{CommandError, printable};
use crate::flags::{Debug, Flags};
use crate::output::say;
use crate::{environment, signal};

pub(crate) fn debug(flags: &Flags, command: &Debug) -> Result<(), CommandError> {
    let secrets = secret_flag::read(&command.secrets, &command.agents)?;
    let stop = signal::stop_flag()?;
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let now = environment::now();
    let scope = command.context.as_ref().map(|context| dockerfile::scope(context, command.file.as_deref()));
    let failed = rebit_build::last_failure(&session, scope.as_deref(), now)?.ok_or_else(|| {
        CommandError::message("no failed RUN step is kept")
            .hint("one is kept until the next failure, or until its build has succeeded")
    })?;
    let shell = command.program.is_empty();
    let args = if shell { rebit_build::shell(&failed.op) } else { command.program.clone() };
    say(format!("[{}] {}", failed.stage, printable(&failed.step)));
    say(format!("  {} in `{}`; what is changed now is thrown away", failed.ended, failed.op.working_dir));
    if shell {
        say(format!("  it was: {}", printable(&quoted(&failed.op.args))));
    }
    let host = HostNetwork { resolv_conf: environment::resolv_conf(), add_hosts: Vec::new() };
    let request = DebugRequest { args, secrets: &secrets, host: &host };
    end_with(rebit_build::debug(&session, &failed, &request, &Runner::this_executable(), &stop, now))
}

/// Arguments as a shell takes them.
pub(super) fn quoted(args: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quote = |arg: &String| {
        if !arg.is_empty() && arg.chars().all(plain) {
            arg.clone()
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    };
    args.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        let check = |args: &[&str], expected: &str| {
            assert_eq!(quoted(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()), expected);
        };
        check(&["/bin/sh", "-c", "exit 3"], "/bin/sh -c 'exit 3'");
        check(&["echo", "", "it's"], r"echo '' 'it'\''s'");
    }
}

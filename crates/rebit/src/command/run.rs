//! `rebit run`.

use std::io::ErrorKind;

use rebit_build::graph::RunNetwork;
use rebit_build::{HostNetwork, RunRequest, StepProblem, run_image};
use rebit_sandbox::{Exit, Runner, SandboxError};

use super::find_unpacked;
use crate::error::{CommandError, ExitKind};
use crate::flags::{Flags, NetworkFlag, Run};
use crate::{environment, signal};

pub(crate) fn run(flags: &Flags, command: &Run) -> Result<(), CommandError> {
    let mut env = Vec::new();
    for text in &command.env {
        match text.split_once('=') {
            Some((name, value)) => env.push((name.to_owned(), value.to_owned())),
            None => env.extend(environment::variable(text)?.map(|value| (text.clone(), value))),
        }
    }
    let request = RunRequest {
        now: environment::now(),
        entrypoint: command.entrypoint.clone().map(|program| vec![program]),
        arguments: command.arguments.clone(),
        env,
        user: command.user.clone(),
        working_dir: command.workdir.clone(),
    };
    let stop = signal::stop_flag()?;
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let image = find_unpacked(&session, &command.image)?;
    let network = if command.network == NetworkFlag::None { RunNetwork::None } else { RunNetwork::Host };
    let host = HostNetwork { resolv_conf: environment::resolv_conf(), add_hosts: Vec::new() };
    end_with(run_image(&session, &image, &request, network, &host, &Runner::this_executable(), &stop))
}

/// Ends this process as the program ended.
pub(super) fn end_with(exit: Result<Exit, StepProblem>) -> Result<(), CommandError> {
    match exit {
        Ok(Exit::Code(0)) => Ok(()),
        // The program has said what there is to say: its exit code is ours.
        Ok(Exit::Code(code)) => {
            Err(CommandError::silent(ExitKind::Program(u8::try_from(code & 0xff).unwrap_or(1))))
        }
        Ok(Exit::Signal(signal)) => {
            Err(CommandError::silent(ExitKind::Program(u8::try_from((128 + signal) & 0xff).unwrap_or(1))))
        }
        Err(StepProblem::Sandbox(SandboxError::Stopped)) => Err(CommandError::silent(ExitKind::Interrupted)),
        // As Docker has it: 127 when there is no such program, 126 when it cannot be executed, 125 for everything before.
        Err(problem) => {
            let code = match &problem {
                StepProblem::Sandbox(SandboxError::Exec { source, .. })
                    if source.kind() == ErrorKind::NotFound =>
                {
                    127
                }
                StepProblem::Sandbox(SandboxError::Exec { .. }) => 126,
                _ => 125,
            };
            Err(CommandError::new(&problem).with_exit(ExitKind::Program(code)))
        }
    }
}

//! `RUN`.

use rebit_dockerfile::instruction::{Network, Program, Run, Security};
use rebit_dockerfile::{Instruction, Node};

use super::scope::PROXY_ARGS;
use super::stage::StageState;
use super::{PlanError, PlanProblem, Planner, mounts, unsupported};
use crate::graph::{Op, RunNetwork, RunOp, Script};

/// The shell of shell-form instructions when `SHELL` sets none.
pub(super) const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

pub(super) fn plan_run(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    run: &Run,
) -> Result<(), PlanError> {
    let insecure = is_insecure(planner, run)?;
    let mounts =
        run.mounts.iter().map(|mount| mounts::plan_mount(planner, state, mount)).collect::<Result<_, _>>()?;
    let mut script = None;
    let args = match run.program() {
        Program::Exec(args) => args,
        Program::Shell(line) => with_shell(state, line),
        Program::File { name, content } => {
            let path = format!("/dev/pipes/{name}");
            script = Some(Script { path: path.clone(), content });
            with_shell(state, path)
        }
    };
    let network = match run.network.as_ref().map(|network| network.value) {
        Some(Network::None) => RunNetwork::None,
        Some(Network::Host) => RunNetwork::Host,
        Some(Network::Default) | None if planner.options.offline => RunNetwork::None,
        Some(Network::Default) | None => RunNetwork::Host,
    };
    let declared = |name: &&str| !state.declared.iter().any(|(n, _)| n == name);
    let proxy =
        |name: &str| planner.options.build_args.get(name).map(|value| (name.to_owned(), value.clone()));
    let op = RunOp {
        args,
        script,
        env: state.scope.variables().to_vec(),
        proxy_env: PROXY_ARGS.iter().copied().filter(|name| declared(name)).filter_map(proxy).collect(),
        working_dir: state
            .config
            .working_dir
            .clone()
            .filter(|dir| !dir.is_empty())
            .unwrap_or_else(|| "/".into()),
        user: state.config.user.clone().unwrap_or_default(),
        network,
        insecure,
        limits: planner.options.limits.clone(),
        mounts,
    };
    let created_by = history_line(state, &op, node);
    state.step(node, created_by, Op::Run(op));
    Ok(())
}

/// Whether the step runs unconfined, which only the caller can allow.
fn is_insecure(planner: &Planner<'_>, run: &Run) -> Result<bool, PlanError> {
    if let Some(device) = run.devices.first() {
        return Err(unsupported(device.span, format!("RUN --device={}", device.value.name)));
    }
    match &run.security {
        Some(security) if security.value == Security::Insecure => match planner.options.allow_insecure {
            true => Ok(true),
            false => Err(PlanError { span: security.span, problem: PlanProblem::NotAllowed }),
        },
        _ => Ok(false),
    }
}

/// The shell in force, with `line` as its last argument.
pub(super) fn with_shell(state: &StageState, line: String) -> Vec<String> {
    let mut args = match &state.config.shell {
        Some(shell) if !shell.is_empty() => shell.clone(),
        _ => DEFAULT_SHELL.map(str::to_owned).to_vec(),
    };
    args.push(line);
    args
}

/// `RUN |N name=value … command`, the form by which Docker tells arguments from the command.
fn history_line(state: &StageState, op: &RunOp, node: &Node<Instruction>) -> String {
    let command = if op.script.is_some() { node.full_text() } else { op.args.join(" ") };
    let command = command.strip_prefix("RUN ").unwrap_or(&command);
    if state.declared.is_empty() {
        return format!("RUN {command}");
    }
    let args: Vec<String> = state.declared.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("RUN |{} {} {command}", args.len(), args.join(" "))
}

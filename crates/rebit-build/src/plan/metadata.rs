//! The instructions that change the config (and `WORKDIR`, which also makes a directory).

use std::time::Duration;

use rebit_dockerfile::instruction::{Command, Healthcheck, HealthcheckCmd};
use rebit_dockerfile::{Instruction, Node, Span, Spanned};
use rebit_oci::config::{Empty, Healthcheck as ConfigHealthcheck};

use super::run::with_shell;
use super::stage::StageState;
use super::{PlanError, PlanProblem, Planner};
use crate::graph::Op;

pub(super) fn plan_metadata(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
) -> Result<(), PlanError> {
    let created_by = match &node.value {
        Instruction::Workdir(workdir) => return plan_workdir(planner, state, node, &workdir.path),
        Instruction::User(user) => {
            let user = planner.expand(&state.scope, &user.user.value, user.user.span)?;
            state.config.user = Some(user.clone());
            format!("USER {user}")
        }
        Instruction::Cmd(cmd) => {
            let args = command(state, &cmd.command);
            state.config.cmd = Some(args.clone());
            state.config.args_escaped = Some(true);
            state.cmd_set = true;
            format!("CMD {}", json_list(&args))
        }
        Instruction::Entrypoint(entrypoint) => {
            let args = command(state, &entrypoint.command);
            state.config.entrypoint = Some(args.clone());
            if !state.cmd_set {
                state.config.cmd = None;
            }
            format!("ENTRYPOINT {}", json_list(&args))
        }
        Instruction::Shell(shell) => {
            let args: Vec<String> = shell.args.iter().map(|arg| arg.value.clone()).collect();
            state.config.shell = Some(args.clone());
            format!("SHELL {}", json_list(&args))
        }
        Instruction::StopSignal(signal) => {
            let span = signal.signal.span;
            let signal = planner.expand(&state.scope, &signal.signal.value, span)?;
            if !is_signal(&signal) {
                return Err(invalid(span, signal, "a signal"));
            }
            state.config.stop_signal = Some(signal.clone());
            format!("STOPSIGNAL {signal}")
        }
        Instruction::Volume(volume) => plan_volume(planner, state, &volume.paths)?,
        Instruction::Expose(expose) => plan_expose(planner, state, &expose.ports)?,
        Instruction::Healthcheck(check) => plan_healthcheck(state, check),
        Instruction::Maintainer(maintainer) => {
            state.author = Some(maintainer.name.value.clone());
            format!("MAINTAINER {}", maintainer.name.value)
        }
        _ => return Err(super::unsupported(node.span, node.value.name())),
    };
    state.metadata_step(node, created_by);
    Ok(())
}

fn command(state: &StageState, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(args) => args.iter().map(|arg| arg.value.clone()).collect(),
        Command::Shell(line) => with_shell(state, line.value.clone()),
    }
}

/// A list as the history shows it: Go's `%q` of strings, which is JSON's for plain text.
fn json_list(args: &[String]) -> String {
    let words: Vec<String> =
        args.iter().map(|arg| serde_json::Value::from(arg.as_str()).to_string()).collect();
    format!("[{}]", words.join(" "))
}

fn plan_workdir(
    planner: &Planner<'_>,
    state: &mut StageState,
    node: &Node<Instruction>,
    word: &Spanned<String>,
) -> Result<(), PlanError> {
    let path = planner.expand(&state.scope, &word.value, word.span)?;
    let path = absolute(state.config.working_dir.as_deref().unwrap_or("/"), &path);
    state.config.working_dir = Some(path.clone());
    state.step(
        node,
        format!("WORKDIR {path}"),
        Op::MakeDirectory { path, user: state.config.user.clone().unwrap_or_default() },
    );
    Ok(())
}

fn plan_volume(
    planner: &Planner<'_>,
    state: &mut StageState,
    paths: &[Spanned<String>],
) -> Result<String, PlanError> {
    let mut volumes = Vec::new();
    for word in paths {
        let path = planner.expand(&state.scope, &word.value, word.span)?;
        if path.trim().is_empty() {
            return Err(invalid(word.span, path, "a path"));
        }
        state.config.volumes.insert(path.clone(), Empty {});
        volumes.push(path);
    }
    Ok(format!("VOLUME {}", json_list(&volumes)))
}

fn plan_expose(
    planner: &Planner<'_>,
    state: &mut StageState,
    ports: &[Spanned<String>],
) -> Result<String, PlanError> {
    let mut shown = Vec::new();
    for word in ports {
        let words = state.scope.expand_words(planner.escape, &word.value).map_err(|source| PlanError {
            span: word.span,
            problem: PlanProblem::Expand { word: word.value.clone(), source },
        })?;
        for port in words {
            let range = port_range(&port)
                .ok_or_else(|| invalid(word.span, port.clone(), "a port, a range or `port/protocol`"))?;
            state.config.exposed_ports.extend(range.into_iter().map(|port| (port, Empty {})));
            shown.push(port);
        }
    }
    Ok(format!("EXPOSE {}", json_list(&shown)))
}

/// `80`, `80/udp`, `8000-8010/tcp`; a publishing form `host:container` exposes the container's side.
fn port_range(text: &str) -> Option<Vec<String>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let ports = ports.rsplit(':').next()?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn plan_healthcheck(state: &mut StageState, check: &Healthcheck) -> String {
    let check = match check {
        Healthcheck::None => {
            ConfigHealthcheck { test: Some(vec!["NONE".to_owned()]), ..ConfigHealthcheck::default() }
        }
        Healthcheck::Cmd(check) => config_healthcheck(check),
    };
    let shown = serde_json::to_string(&check).unwrap_or_default();
    state.config.healthcheck = Some(check);
    format!("HEALTHCHECK {shown}")
}

fn config_healthcheck(check: &HealthcheckCmd) -> ConfigHealthcheck {
    let mut test = Vec::new();
    match &check.command {
        Command::Exec(args) => {
            test.push("CMD".to_owned());
            test.extend(args.iter().map(|arg| arg.value.clone()));
        }
        Command::Shell(line) => test.extend(["CMD-SHELL".to_owned(), line.value.clone()]),
    }
    let nanoseconds =
        |time: Option<Duration>| time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    ConfigHealthcheck {
        test: Some(test),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        start_period: nanoseconds(check.start_period),
        start_interval: nanoseconds(check.start_interval),
        retries: check.retries.map_or(0, u64::from),
    }
}

fn invalid(span: Span, value: String, expected: &'static str) -> PlanError {
    PlanError { span, problem: PlanProblem::Invalid { value, expected } }
}

/// A number, or a name with or without `SIG`, in any case; real-time signals count from `RTMIN` or back from `RTMAX`.
fn is_signal(text: &str) -> bool {
    const NAMES: &str = " ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP \
                         TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX ";
    if let Ok(number) = text.parse::<u32>() {
        return number > 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |name: &str, sign| {
        name.strip_prefix(sign).is_some_and(|n| n.parse::<u32>().is_ok_and(|n| (1..=15).contains(&n)))
    };
    offset(name, "RTMIN+")
        || offset(name, "RTMAX-")
        || (!name.contains(' ') && NAMES.contains(&format!(" {name} ")))
}

/// Joins `path` to `base` unless it is absolute, and cleans the result: no `.`, no `..`, no double or final slash.
pub(crate) fn absolute(base: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

//! `rebit check`: the build is done twice under different conditions, and what differs is named.

mod builds;
mod cause;
mod conditions;
mod content;
mod difference;
mod fixing;
mod judge;
mod report;
mod today;

use std::time::{Duration, Instant, SystemTime};

use rebit_build::{BuildError, Graph, HostNetwork};
use rebit_sandbox::{Runner, StopFlag};

use super::bases::{Bases, Depth};
use super::{build_error, compression, dockerfile, limit_flag, secret_flag};
use crate::error::{CommandError, ExitKind};
use crate::flags::{Check, Flags, NetworkFlag, ProgressFlag};
use crate::output::say;
use crate::{environment, signal};
use builds::{Bench, Failed, Part, Ran};
use conditions::{Conditions, Ground};
use report::Report;

/// How much later than the first build the second one begins, at least: time stamps in seconds then differ.
const LATER: Duration = Duration::from_millis(2_100);

/// Room for what steps write besides what stays.
const ROOM: u64 = 64 << 20;

pub(crate) fn check(flags: &Flags, command: &Check) -> Result<(), CommandError> {
    let add_hosts = dockerfile::add_hosts(&command.source)?;
    let secrets = secret_flag::read(&command.means.secrets, &command.means.agents)?;
    let quiet = command.quiet || command.json;
    let stop = signal::stop_flag()?;
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let input = dockerfile::read(&command.source, quiet, &session, &stop)?;
    let bases = Bases::new(&session, &input, &command.source, Depth::Whole, quiet, &stop);
    let planned = dockerfile::plan(&command.source, &input, &bases)?;
    let ground = Ground::new(&store, &session)?;
    let bench = Bench {
        session: &session,
        ground: &ground,
        offline: command.source.network == NetworkFlag::None,
        graph: &planned.graph,
        bases: &bases,
        input: &input,
        runner: &Runner::this_executable(),
        stop: &stop,
        host: &HostNetwork { resolv_conf: environment::resolv_conf(), add_hosts },
        secrets: &secrets,
        jobs: command.means.jobs.unwrap_or_else(environment::processors),
        compression: compression(command.means.compression.unwrap_or_default()),
        annotations: limit_flag::annotations(&command.means.annotations)?,
        progress: if quiet { ProgressFlag::Quiet } else { command.means.progress },
    };
    let begun = environment::now();
    let (first, second) = twice(&bench)?;
    let moved = moved(&bench, command, &first, &second)?;
    let steps = judge::judge(&bench, &first, &second, !moved.is_empty())?;
    let dated = today::dated(&bench, &first, &steps, seconds(begun), seconds(environment::now()))?;
    Report::new(&bench, &first, &second, moved, steps, dated)?.print(command.json)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Builds under the first conditions and under the second; each step of the second build starts from what the first one left.
fn twice(bench: &Bench<'_>) -> Result<(Ran, Ran), CommandError> {
    let start = Instant::now();
    let first = bench.run(&Conditions::FIRST, Part::All).map_err(|failed| first_failed(bench, failed))?;
    bench.ground.look_elsewhere(bench.room(&first.trees)?.saturating_add(ROOM));
    wait(LATER.saturating_sub(start.elapsed()), bench.stop)?;
    let second = bench
        .run(&Conditions::SECOND, Part::From(&first.trees))
        .map_err(|failed| later_failed(bench, "the second build", failed))?;
    Ok((first, second))
}

fn wait(time: Duration, stop: &StopFlag) -> Result<(), CommandError> {
    let start = Instant::now();
    while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        if stop.is_stopped() {
            return Err(CommandError::new(&BuildError::Interrupted).with_exit(ExitKind::Interrupted));
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
    Ok(())
}

fn first_failed(bench: &Bench<'_>, failed: Failed) -> CommandError {
    match failed {
        Failed::Build(error) => build_error::trial_error(&bench.input.file, &bench.input.context, &error),
        Failed::Other(error) => error,
    }
}

/// A step that ended well in the first build and not in a later one is a finding.
fn later_failed(bench: &Bench<'_>, what: &str, failed: Failed) -> CommandError {
    let finding = matches!(&failed, Failed::Build(error) if matches!(**error, BuildError::Step { .. }));
    let shown = first_failed(bench, failed);
    if !finding {
        return shown;
    }
    say(format!("the first build succeeded, but {what} failed, where this was not the same:"));
    bench.ground.changed().iter().for_each(|condition| say(format!("  {condition}")));
    shown.with_exit(ExitKind::NotVerified)
}

/// What was put in and is not the same any more, in words.
fn moved(bench: &Bench<'_>, command: &Check, first: &Ran, second: &Ran) -> Result<Vec<String>, CommandError> {
    let mut moved = difference::contexts(bench, first, second)?;
    let piped = command.source.context == "-"
        || command.source.file.as_ref().is_some_and(|file| file.as_os_str() == "-");
    // Standard input was read to its end.
    if !piped {
        let input = dockerfile::open(&command.source, true, bench.session, bench.stop)?;
        if input.file.text() != bench.input.file.text() {
            moved.push(format!("the Dockerfile `{}` was changed", input.file.name()));
        } else if let Ok(planned) = dockerfile::plan(
            &command.source,
            &input,
            &Bases::new(bench.session, &input, &command.source, Depth::Config, true, bench.stop),
        ) {
            moved.extend(moved_bases(bench.graph, &planned.graph));
        }
    }
    Ok(moved)
}

fn moved_bases(before: &Graph, after: &Graph) -> Vec<String> {
    use rebit_build::graph::Base;
    let pairs = before.stages.iter().zip(&after.stages);
    let moved = pairs.filter_map(|(before, after)| match (&before.base, &after.base) {
        (Base::Image { reference, manifest, .. }, Base::Image { manifest: now, .. }) if manifest != now => {
            Some(format!("the base image `{reference}` was {manifest} and is {now}"))
        }
        _ => None,
    });
    moved.collect()
}

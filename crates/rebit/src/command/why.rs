//! `rebit why`.

use super::dockerfile;
use crate::environment;
use crate::error::{CommandError, printable};
use crate::flags::{Flags, Why};
use crate::output::{json, line};

pub(crate) fn why(flags: &Flags, command: &Why) -> Result<(), CommandError> {
    let store = environment::open_store(flags)?;
    let session = store.session()?;
    let scope = dockerfile::scope(&command.source.context, command.source.file.as_deref());
    let report = rebit_build::last_report(&session, &scope, environment::now())?;
    let missing = || {
        CommandError::message(format!(
            "no build of `{}` that executed anything is known",
            command.source.context
        ))
        .hint("give the context and --file of the build")
    };
    let steps = report.ok_or_else(missing)?;
    if command.json {
        return json(&steps);
    }
    for step in &steps {
        let outcome = match (step.cached, step.reasons.is_empty()) {
            (true, _) => "known",
            (false, true) => "executed for the first time here, or without the cache",
            (false, false) => "executed because",
        };
        line(format!("[{}] {}: {outcome}", step.stage, printable(&step.step)))?;
        step.remotes.iter().try_for_each(|remote| line(format!("    took {}", printable(remote))))?;
        for (fixer, did, files) in rebit_build::fix::summary(&step.fixed) {
            line(format!("    fixed: {fixer} {did} {files} file{}", if files == 1 { "" } else { "s" }))?;
        }
        step.reasons.iter().try_for_each(|reason| line(format!("    {}", printable(reason))))?;
    }
    Ok(())
}

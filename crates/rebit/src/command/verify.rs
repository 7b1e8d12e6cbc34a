//! `rebit verify`.

use rebit_image::{Finding, Place, VerifyError, VerifyReport};
use rebit_oci::Digest;
use serde_json::json;

use super::{find, place, rebuild};
use crate::environment;
use crate::error::{CommandError, ExitKind, printable};
use crate::flags::{Flags, Verify};
use crate::output::{self, line, say, size};

pub(crate) fn verify(flags: &Flags, command: &Verify) -> Result<(), CommandError> {
    if command.rebuild {
        return rebuild::rebuild(flags, command);
    }
    if !command.source.context.is_empty() {
        let text = format!("`{}`: a context is for --rebuild", command.source.context);
        return Err(CommandError::usage(text));
    }
    let place = place(&command.image)?;
    let expected = match &command.digest {
        Some(text) => Some(
            text.parse::<Digest>().map_err(|error| CommandError::new(&error).with_exit(ExitKind::Usage))?,
        ),
        None => None,
    };
    // What is not there at all is a failure, not a verification that does not hold.
    let result = match place.path() {
        None if matches!(place, Place::Registry { .. }) => {
            let text = format!("`{}` is at a registry", command.image);
            return Err(
                CommandError::usage(text).hint("`rebit pull` takes and verifies it; then it is in the store")
            );
        }
        None => {
            let store = environment::open_store(flags)?;
            let session = store.session()?;
            find(&session, &command.image)?;
            rebit_image::verify(Some(&session), &place, expected)
        }
        Some(path) => {
            if let Err(error) = std::fs::metadata(path) {
                return Err(CommandError::message(format!("cannot read `{}`: {error}", path.display())));
            }
            rebit_image::verify(None, &place, expected)
        }
    };
    match result {
        Ok(report) => holds(&report, command.json),
        Err(error) => Err(fails(&error, command.json)?),
    }
}

fn holds(report: &VerifyReport, as_json: bool) -> Result<(), CommandError> {
    if as_json {
        return output::json(&json!({"verified": true, "report": report}));
    }
    report.orphans.iter().for_each(|digest| say(format!("note: no image names blob {digest}")));
    say(format!("verified {} blobs, {}", report.blobs, size(report.bytes)));
    report.images.iter().try_for_each(|image| line(image.digest.to_string()))
}

/// Says what does not hold. An image that could not be checked at all is a failure of another kind.
fn fails(error: &VerifyError, as_json: bool) -> Result<CommandError, CommandError> {
    let found: &[Finding] = match error {
        VerifyError::Findings { findings, .. } => findings,
        _ => &[],
    };
    if as_json {
        output::json(&json!({"verified": false, "reason": error.to_string(), "findings": found}))?;
    } else {
        found.iter().for_each(|finding| say(format!("damaged: {}", printable(&describe(finding)))));
    }
    let text = CommandError::new(error);
    Ok(match error {
        VerifyError::Findings { .. } => text.with_exit(ExitKind::NotVerified),
        VerifyError::NotExpected { found, .. } => {
            let found: Vec<String> = found.iter().map(Digest::to_string).collect();
            text.with_exit(ExitKind::NotVerified).hint(format!("it holds {}", found.join(", ")))
        }
        VerifyError::Image { .. } => text,
    })
}

fn describe(finding: &Finding) -> String {
    let blob = finding.blob.map(|digest| format!("blob {digest}"));
    let entry = finding.entry.as_ref().map(|entry| format!("`{entry}`"));
    let what: Vec<String> = blob.into_iter().chain(entry).collect();
    if what.is_empty() {
        finding.problem.clone()
    } else {
        format!("{}: {}", what.join(" in "), finding.problem)
    }
}

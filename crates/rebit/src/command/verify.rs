//! `rebit verify`.

use rebit_image::{Finding, ImageError, Place, VerifyError, VerifyReport};
use rebit_oci::Digest;
use rebit_remote::registry::RegistryError;
use serde_json::json;

use super::{find, place, rebuild};
use crate::error::{CommandError, ExitKind, printable};
use crate::flags::{Flags, Verify};
use crate::output::{self, line, say, size};
use crate::progress::Transfer;
use crate::registry::Registries;
use crate::{environment, signal};

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
        None if matches!(place, Place::Registry { .. }) => at_registry(&place, expected, command)?,
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

/// Reads all of an image or index at its registry and keeps nothing of it.
fn at_registry(
    place: &Place,
    expected: Option<Digest>,
    command: &Verify,
) -> Result<Result<VerifyReport, VerifyError>, CommandError> {
    let registries = Registries::new(&signal::stop_flag()?);
    let transfer = Transfer::new(command.quiet || command.json);
    let source = super::source::open(place, &registries, &transfer)?;
    match rebit_image::verify_source(&*source, expected) {
        // What did not come was not verified, and nothing is known to be wrong with it.
        Err(VerifyError::Image { source }) if !is_lie(&source) => Err(registries.failure(source)),
        result => Ok(result),
    }
}

/// Whether a registry gave something else than what it should have.
fn is_lie(error: &ImageError) -> bool {
    let ImageError::Place { source, .. } = error else { return false };
    let error = source.downcast_ref::<RegistryError>();
    matches!(error, Some(RegistryError::Digest { .. } | RegistryError::Protocol { .. }))
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
        VerifyError::Image { source } if is_lie(source) => text.with_exit(ExitKind::NotVerified),
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

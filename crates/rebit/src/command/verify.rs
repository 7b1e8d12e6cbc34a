//! `rebit verify`.

use rebit_image::{Place, VerifyReport};
use rebit_oci::Digest;
use serde_json::json;

use super::place;
use crate::environment;
use crate::error::{CommandError, ExitKind};
use crate::flags::{Flags, Verify};
use crate::output::{self, line, say, size};

pub(crate) fn verify(flags: &Flags, command: &Verify) -> Result<(), CommandError> {
    let place = place(&command.image)?;
    let expected = match &command.digest {
        Some(text) => Some(
            text.parse::<Digest>().map_err(|error| CommandError::new(&error).with_exit(ExitKind::Usage))?,
        ),
        None => None,
    };
    let report = match &place {
        Place::Store { .. } => {
            let store = environment::open_store(flags)?;
            rebit_image::verify(&place, Some(&store.session()?), expected)?
        }
        _ => rebit_image::verify(&place, None, expected)?,
    };
    if command.json {
        output::json(&json!({
            "verified": report.is_ok(),
            "digests": report.manifests,
            "blobs": report.blobs,
            "bytes": report.bytes,
            "findings": report.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else {
        print(&report)?;
    }
    if report.is_ok() {
        return Ok(());
    }
    Err(CommandError::message(format!("`{}` does not verify", command.image))
        .with_exit(ExitKind::NotVerified))
}

fn print(report: &VerifyReport) -> Result<(), CommandError> {
    report.findings.iter().for_each(|finding| say(format!("damaged: {finding}")));
    report.notes.iter().for_each(|note| say(format!("note: {note}")));
    if report.is_ok() {
        say(format!("verified {} blobs, {}", report.blobs, size(report.bytes)));
        report.manifests.iter().try_for_each(|digest| line(digest.to_string()))?;
    }
    Ok(())
}

//! `rebit diff`.

mod group;
mod html;
mod text;

use std::path::Path;

use rebit_image::diff::{Report, Side, Subject, compare};
use rebit_image::{ImportOptions, Place, Platform, StoredImage};
use rebit_layer::Tree;
use rebit_oci::TreeId;
use rebit_store::{Session, Store, StoreOptions};

use super::{find_unpacked, place};
use crate::error::{CommandError, ExitKind};
use crate::flags::{Diff, Flags};
use crate::progress::Transfer;
use crate::registry::{Pull, Registries};
use crate::temporary::Temporary;
use crate::{environment, output, signal};

/// Ends with 0 when nothing differs, 1 when something does, and 2 when that could not be found out.
pub(crate) fn diff(flags: &Flags, command: &Diff) -> Result<(), CommandError> {
    let report = report(flags, command).map_err(|error| error.with_exit(ExitKind::Trouble))?;
    shown(&report, command).map_err(|error| error.with_exit(ExitKind::Trouble))?;
    if report.same { Ok(()) } else { Err(CommandError::silent(ExitKind::Failed)) }
}

fn shown(report: &Report, command: &Diff) -> Result<(), CommandError> {
    if let Some(file) = &command.html {
        std::fs::write(file, html::page(report))
            .map_err(|error| CommandError::message(format!("cannot write `{}`: {error}", file.display())))?;
    }
    if command.json {
        return output::json(report);
    }
    output::bytes(text::text(report, command.all).as_bytes())
}

/// Where a side is, before it is read.
enum Input {
    Image(Place),
    Directory(std::path::PathBuf),
}

fn input(text: &str) -> Result<Input, CommandError> {
    match text.strip_prefix("dir:") {
        Some(path) => Ok(Input::Directory(path.into())),
        None => Ok(Input::Image(place(text)?)),
    }
}

/// A store for what is compared and is in none; it goes with the command.
struct Scratch {
    session: Session,
    _directory: Temporary,
}

impl Scratch {
    fn new() -> Result<Self, CommandError> {
        let directory = Temporary::new(&environment::temporary_directory())?;
        let store = Store::open(&directory.path().join("store"), &StoreOptions::default())?;
        Ok(Self { session: store.session()?, _directory: directory })
    }
}

/// A side that was read.
enum Opened {
    /// An image of the user's store.
    Stored(StoredImage),
    /// An image in the scratch store.
    Taken(StoredImage),
    /// A directory in the scratch store.
    Directory(TreeId),
}

fn report(flags: &Flags, command: &Diff) -> Result<Report, CommandError> {
    let inputs = [input(&command.a)?, input(&command.b)?];
    let stored = |input: &Input| matches!(input, Input::Image(Place::Store { .. }));
    let session =
        if inputs.iter().any(stored) { Some(environment::open_store(flags)?.session()?) } else { None };
    let scratch = if inputs.iter().all(stored) { None } else { Some(Scratch::new()?) };
    let scratch_session = scratch.as_ref().map(|scratch| &scratch.session);
    let options = options(command)?;
    let texts = [&command.a, &command.b];
    let mut opened = Vec::new();
    for (input, text) in inputs.iter().zip(texts) {
        opened.push(match (input, &session, scratch_session) {
            (Input::Image(Place::Store { .. }), Some(session), _) => {
                Opened::Stored(find_unpacked(session, text)?)
            }
            (Input::Image(Place::Registry { name }), _, Some(session)) => {
                let registries = Registries::new(&signal::stop_flag()?);
                let (registry, transfer) = (registries.get()?, &Transfer::new(false));
                let (platform, any_platform) = (options.platform.clone(), options.any_platform);
                let pull = Pull {
                    session,
                    registry,
                    platform,
                    any_platform,
                    unpack: true,
                    now: options.now,
                    transfer,
                };
                Opened::Taken(pull.run(name, &[]).map_err(|error| registries.failure(error))?.image)
            }
            (Input::Image(place), _, Some(scratch)) => {
                if let Some(Err(error)) = place.path().map(std::fs::metadata) {
                    return Err(CommandError::message(format!("cannot read `{text}`: {error}")));
                }
                Opened::Taken(rebit_image::import_place(scratch, place, &[], &options)?)
            }
            (Input::Directory(path), _, Some(scratch)) => Opened::Directory(directory(scratch, path)?),
            _ => return Err(CommandError::message(format!("`{text}` cannot be read"))),
        });
    }
    let side = |opened, place| side(opened, place, session.as_ref(), scratch_session);
    match opened.as_slice() {
        [a, b] => match (side(a, texts[0]), side(b, texts[1])) {
            (Some(a), Some(b)) => Ok(compare(&a, &b, command.semantic)?),
            _ => Err(CommandError::message("there is no store to read from")),
        },
        _ => Err(CommandError::message("two places are compared")),
    }
}

fn side<'a>(
    opened: &'a Opened,
    place: &'a str,
    session: Option<&'a Session>,
    scratch: Option<&'a Session>,
) -> Option<Side<'a>> {
    let (subject, objects) = match opened {
        Opened::Stored(image) => (Subject::Image(image), session?),
        Opened::Taken(image) => (Subject::Image(image), scratch?),
        Opened::Directory(tree) => (Subject::Directory(*tree), scratch?),
    };
    Some(Side { place, objects, subject })
}

/// Takes a directory in as it is on disk.
fn directory(session: &Session, path: &Path) -> Result<TreeId, CommandError> {
    let mut notices = rebit_layer::Report::new();
    let tree = rebit_layer::upper_tree(&Tree::new(), path, session, 0, &mut notices)?;
    for (notice, tally) in &notices.notices {
        output::say(format!("note: {notice:?} at `{}` and {} more", tally.first, tally.count - 1));
    }
    tree.store(session).map_err(|error| CommandError::new(&error))
}

fn options(command: &Diff) -> Result<ImportOptions, CommandError> {
    let platform = match &command.platform {
        Some(text) => environment::parse_platform(text)?,
        None => environment::native_platform(),
    };
    let platform =
        Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant };
    let mut options = ImportOptions::new(platform, environment::now());
    options.any_platform = command.platform.is_none();
    Ok(options)
}

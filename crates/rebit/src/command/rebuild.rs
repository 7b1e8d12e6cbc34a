//! `rebit verify --rebuild`: an image is built again from its sources, and what is the same is said.

mod adopt;
mod text;

use std::collections::BTreeMap;

use rebit_build::progress::StepId;
use rebit_build::{
    BuildInputs, BuildOptions, Fetch, HostNetwork, NoCache, Overseer, Progress, Remote, SnapshotterKind,
    Trial, execute,
};
use rebit_image::rebuild::{self, Rebuild, Verdict};
use rebit_image::{ImportOptions, Place, Platform, Provenance, StoredImage};
use rebit_oci::{Digest, TreeId};
use rebit_sandbox::Runner;
use rebit_store::{Session, Store, StoreOptions};

use super::bases::{Bases, Depth};
use super::dockerfile;
use super::{build_error, compression, find_unpacked, limit_flag, place, secret_flag};
use crate::error::{CommandError, ExitKind};
use crate::flags::{Accept, Flags, NetworkFlag, ProgressFlag, Verify};
use crate::network::Network;
use crate::output::{self, say};
use crate::progress::Reporter;
use crate::{environment, signal};
use adopt::Adopted;

pub(super) fn rebuild(flags: &Flags, command: &Verify) -> Result<(), CommandError> {
    if command.source.context.is_empty() {
        return Err(CommandError::usage("--rebuild needs the CONTEXT that the image was built from"));
    }
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let given = given(&session, command)?;
    let known = known(&session, &given)?;
    let adopted = adopt::adopt(command, &given, known.as_ref())?;
    if !command.json {
        adopted.taken.iter().for_each(|taken| say(format!("taken from {taken}")));
    }
    let (rebuilt, made) = build(&session, command, &adopted)?;
    let report = rebuild::compare(&session, &given, &rebuilt, &made, known.as_ref())?;
    let holds = report.verdict <= least(command.accept);
    if command.json {
        let mut value = serde_json::to_value(&report)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("holds".to_owned(), holds.into());
            fields.insert("taken".to_owned(), adopted.taken.into());
        }
        output::json(&value)?;
    } else {
        output::bytes(text::text(&report).as_bytes())?;
    }
    if holds { Ok(()) } else { Err(not_held(&report, command)) }
}

fn least(accept: Accept) -> Verdict {
    match accept {
        Accept::Blob => Verdict::Identical,
        Accept::Tar => Verdict::IdenticalTar,
        Accept::Tree => Verdict::IdenticalTree,
    }
}

fn not_held(report: &Rebuild, command: &Verify) -> CommandError {
    let text = format!("`{}` is not what its sources give: {}", command.image, text::verdict(report.verdict));
    let error = CommandError::message(text).with_exit(ExitKind::NotVerified);
    match report.verdict {
        Verdict::IdenticalTar => error.hint("`--accept tar` takes another encoder for no difference"),
        Verdict::IdenticalTree => error.hint("`--accept tree` takes other metadata for no difference"),
        Verdict::Identical | Verdict::Different => error,
    }
}

/// The image in question; one that is elsewhere is taken into the store for as long as this goes on.
fn given(session: &Session, command: &Verify) -> Result<StoredImage, CommandError> {
    let image = match place(&command.image)? {
        Place::Store { .. } => find_unpacked(session, &command.image)?,
        place => {
            if let Some(Err(error)) = place.path().map(std::fs::metadata) {
                let text = format!("cannot read `{}`: {error}", command.image);
                return Err(CommandError::message(text));
            }
            let platform = match &command.source.platform {
                Some(text) => environment::parse_platform(text)?,
                None => environment::native_platform(),
            };
            let platform =
                Platform { os: platform.os, architecture: platform.architecture, variant: platform.variant };
            let mut options = ImportOptions::new(platform, environment::now());
            options.any_platform = command.source.platform.is_none();
            rebit_image::import_place(session, &place, &[], &options)?
        }
    };
    let expected = command.digest.as_ref().map(|text| text.parse::<Digest>()).transpose();
    let expected = expected.map_err(|error| CommandError::new(&error).with_exit(ExitKind::Usage))?;
    match expected.filter(|expected| *expected != image.digest()) {
        Some(expected) => {
            let text = format!("`{}` does not hold image {expected}", command.image);
            Err(CommandError::message(text)
                .with_exit(ExitKind::NotVerified)
                .hint(format!("it holds {}", image.digest())))
        }
        None => Ok(image),
    }
}

/// How the image was made, where that is known; one that cannot be read is as good as none.
fn known(session: &Session, given: &StoredImage) -> Result<Option<Provenance>, CommandError> {
    let Some(document) = rebit_image::provenance(session, given)? else { return Ok(None) };
    match Provenance::decode(&document) {
        Ok(known) => Ok(Some(known)),
        Err(error) => {
            say(format!("note: {error}"));
            Ok(None)
        }
    }
}

/// Builds with nothing that is known of earlier builds, and leaves nothing that later ones would rely on.
fn build(
    session: &Session,
    command: &Verify,
    adopted: &Adopted,
) -> Result<(StoredImage, Provenance), CommandError> {
    let (source, means) = (&adopted.source, &adopted.means);
    let progress = if command.quiet || command.json { ProgressFlag::Quiet } else { means.progress };
    let secrets = secret_flag::read(&means.secrets, &means.agents)?;
    let stop = signal::stop_flag()?;
    let input = dockerfile::read(source, matches!(progress, ProgressFlag::Quiet), session, &stop)?;
    let quiet = matches!(progress, ProgressFlag::Quiet);
    let bases = Bases::new(session, &input, source, Depth::Whole, quiet, &stop);
    let planned = dockerfile::plan(source, &input, &bases)?;
    let options = BuildOptions {
        compression: compression(means.compression.unwrap_or_default()),
        no_cache: NoCache::All,
        annotations: limit_flag::annotations(&means.annotations)?,
        jobs: means.jobs.unwrap_or_else(environment::processors),
        now: environment::now(),
        snapshotter: SnapshotterKind::default(),
    };
    let asked = dockerfile::asked(source, &input, &planned, &options)?;
    let reporter = Reporter::new(progress, &planned.graph);
    let network = Network::new(secrets.agents.get("default").cloned(), &stop);
    let offline = source.network == NetworkFlag::None;
    let now = options.now;
    let remote = Remote::new(session, (!offline).then_some(&network as &dyn Fetch), now);
    let scratch = session.scratch_dir("rebuild")?;
    let directories = Store::open(&scratch.path().join("store"), &StoreOptions::default())?.session()?;
    let inputs = BuildInputs {
        session,
        images: &bases,
        context: &input.context,
        contexts: &input.contexts,
        remote: &remote,
        runner: &Runner::this_executable(),
        progress: &reporter as &dyn Progress,
        stop: &stop,
        host: &HostNetwork {
            resolv_conf: environment::resolv_conf(),
            add_hosts: dockerfile::add_hosts(source)?,
        },
        secrets: &secrets,
        scope: "",
        options,
        asked: Some(&asked),
        trial: Some(Trial { directories: &directories, overseer: &Onlooker }),
    };
    let built = execute(&planned.graph, &inputs);
    reporter.finish(built.is_err());
    let built = built.map_err(|error| build_error::trial_error(&input.file, &input.context, &error))?;
    let document = built.provenance.clone().unwrap_or_default();
    let made = Provenance::decode(&document).map_err(|error| CommandError::new(&error))?;
    let rebuilt = built.store(session, &[], now).map_err(|error| CommandError::new(&error))?;
    Ok((rebuilt, made))
}

/// Sees every step, and changes nothing.
struct Onlooker;

impl Overseer for Onlooker {
    fn instead(&self, _id: StepId) -> Option<TreeId> {
        None
    }

    fn after(&self, _id: StepId, gave: TreeId) -> TreeId {
        gave
    }

    fn context(&self, _name: Option<&str>, _tree: TreeId) {}
}

/// Pairs as the command line writes them.
fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    map.iter().map(|(name, value)| format!("{name}={value}"))
}

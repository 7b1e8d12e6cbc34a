//! `rebit build`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use rebit_build::graph::Base;
use rebit_build::{BuildInputs, BuildOptions, Fetch, Graph, HostNetwork, NoCache, Progress, Remote, execute};
use rebit_image::transport::ImageNames;
use rebit_image::{Place, StoredImage};
use rebit_layer::{Changeset, CheckoutOptions, Tree, Whiteouts, checkout};
use rebit_oci::{Digest, Reference};
use rebit_sandbox::Runner;
use rebit_store::Session;
use serde_json::json;

use super::bases::{Bases, Depth};
use super::dockerfile;
use super::output_flag::{self, BuildOutput};
use super::{UNNAMED, build_error, call, compression, push, store_name};
use super::{limit_flag, secret_flag};
use crate::error::CommandError;
use crate::flags::{Build, Call, Flags, NetworkFlag, ProgressFlag, ProvenanceFlag};
use crate::network::Network;
use crate::output::{line, say, size};
use crate::progress::{Reporter, Transfer};
use crate::registry::Registries;
use crate::{environment, signal};

pub(crate) fn build(flags: &Flags, command: &Build) -> Result<(), CommandError> {
    let names = command.tags.iter().map(|tag| store_name(tag)).collect::<Result<Vec<_>, _>>()?;
    let outputs =
        command.output.iter().map(|text| output_flag::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let add_hosts = dockerfile::add_hosts(&command.source)?;
    let annotations = limit_flag::annotations(&command.means.annotations)?;
    let secrets = secret_flag::read(&command.means.secrets, &command.means.agents)?;
    let progress = if command.quiet { ProgressFlag::Quiet } else { command.means.progress };
    let stop = signal::stop_flag()?;
    let store = environment::create_store(flags)?;
    let session = store.session()?;
    let quiet = matches!(progress, ProgressFlag::Quiet);
    let input = dockerfile::open(&command.source, quiet, &session, &stop)?;
    let call = if command.check { Call::CHECK } else { command.call };
    if let Some(done) = call::answer(call, &input, command.source.target.as_deref(), quiet) {
        return done;
    }
    input.say(quiet)?;
    let bases = Bases::new(&session, &input, &command.source, Depth::Whole, quiet, &stop);
    let planned = dockerfile::plan(&command.source, &input, &bases)?;
    let reporter = Reporter::new(progress, &planned.graph);
    let now = environment::now();
    let network = Network::new(secrets.agents.get("default").cloned(), &stop);
    let offline = command.source.network == NetworkFlag::None;
    let remote = Remote::new(&session, (!offline).then_some(&network as &dyn Fetch), now);
    let options = BuildOptions {
        compression: compression(command.means.compression.unwrap_or_default()),
        no_cache: no_cache(command, &planned.graph)?,
        annotations,
        jobs: command.means.jobs.unwrap_or_else(environment::processors),
        now,
        snapshotter: command.snapshotter,
    };
    let asked = dockerfile::asked(&command.source, &input, &planned, &options)?;
    let inputs = BuildInputs {
        session: &session,
        images: &bases,
        context: &input.context,
        contexts: &input.contexts,
        remote: &remote,
        runner: &Runner::this_executable(),
        progress: &reporter as &dyn Progress,
        stop: &stop,
        host: &HostNetwork { resolv_conf: environment::resolv_conf(), add_hosts },
        secrets: &secrets,
        scope: &dockerfile::scope(&command.source.context, command.source.file.as_deref()),
        options,
        asked: Some(&asked),
        trial: None,
    };
    let built = execute(&planned.graph, &inputs).and_then(|built| built.store(&session, &names, now));
    reporter.finish(built.is_err());
    let image = built.map_err(|error| build_error::build_error(&input.file, &input.context, &error))?;
    if names.is_empty() {
        name_by_digest(&session, &image, now)?;
    }
    for output in &outputs {
        write_output(&session, &image, output, &names)?;
    }
    let pushes = pushes(command, &outputs, &names)?;
    let with_provenance = command.provenance == Some(ProvenanceFlag::True) && !pushes.is_empty();
    let document = if with_provenance { rebit_image::provenance(&session, &image)? } else { None };
    send(&session, &image, &pushes, document.as_deref(), quiet, &Registries::new(&stop))?;
    report(&session, command, &image, &names, &planned.graph, progress)?;
    let digest = image.manifest.digest().to_string();
    // An archive on standard output leaves no room for a line of text.
    if outputs.iter().any(BuildOutput::is_stdout) { Ok(()) } else { line(digest) }
}

/// The names under which the image goes to registries.
fn pushes(
    command: &Build,
    outputs: &[BuildOutput],
    names: &[Reference],
) -> Result<Vec<Reference>, CommandError> {
    let mut pushes: Vec<Reference> = Vec::new();
    let asked = outputs.iter().filter_map(|output| match output {
        BuildOutput::Registry(own) => Some(own.as_slice()),
        _ => None,
    });
    for own in asked.chain(command.push.then_some(&[][..])) {
        let own = if own.is_empty() { names } else { own };
        if own.is_empty() {
            return Err(
                CommandError::usage("the image has no name to be sent under").hint("`-t NAME` gives it one")
            );
        }
        pushes.extend(own.iter().filter(|name| !pushes.contains(name)).cloned().collect::<Vec<_>>());
    }
    Ok(pushes)
}

fn send(
    session: &Session,
    image: &StoredImage,
    names: &[Reference],
    document: Option<&[u8]>,
    quiet: bool,
    registries: &Registries,
) -> Result<(), CommandError> {
    for name in names {
        let transfer = Transfer::new(quiet);
        let pushed = push::stored(registries.get()?, session, image, name, &transfer);
        let pushed = pushed.map_err(|error| registries.failure(error))?;
        if !quiet {
            say(push::summary(name, &pushed));
        }
        if let Some(document) = document {
            let attached = push::publish(registries, name, image, document)?;
            if !quiet {
                say(push::published(&attached));
            }
        }
    }
    Ok(())
}

/// Whose steps are executed whatever is known; a name that is no stage of this build is a mistake.
fn no_cache(command: &Build, graph: &Graph) -> Result<NoCache, CommandError> {
    if command.no_cache {
        return Ok(NoCache::All);
    }
    let names: Vec<String> =
        command.no_cache_filter.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
    let known = |name: &&String| {
        graph.stages.iter().any(|stage| {
            stage.name.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(name))
                || stage.index.to_string() == **name
        })
    };
    match names.iter().find(|name| !known(name)) {
        Some(name) => {
            Err(CommandError::usage(format!("--no-cache-filter: this build has no stage `{name}`")))
        }
        None if names.is_empty() => Ok(NoCache::Nothing),
        None => Ok(NoCache::Stages(names)),
    }
}

fn report(
    session: &Session,
    command: &Build,
    image: &StoredImage,
    names: &[Reference],
    graph: &Graph,
    progress: ProgressFlag,
) -> Result<(), CommandError> {
    let digest = image.manifest.digest();
    if let Some(path) = &command.iidfile {
        write_file(path, digest.to_string().as_bytes())?;
    }
    if let Some(path) = &command.metadata_file {
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        let provenance = rebit_image::provenance(session, image)?.map(|document| Digest::of(&document));
        let metadata = json!({
            "containerimage.digest": digest,
            "containerimage.config.digest": image.config.digest(),
            "containerimage.descriptor": {
                "mediaType": rebit_oci::manifest::OCI_MANIFEST,
                "digest": digest,
                "size": image.manifest.size(),
            },
            "image.name": names.join(","),
            "rebit.bases": bases(graph),
            "rebit.provenance.digest": provenance,
        });
        write_file(path, serde_json::to_string_pretty(&metadata)?.as_bytes())?;
    }
    if !matches!(progress, ProgressFlag::Quiet | ProgressFlag::Rawjson) {
        let layers = image.layers.len();
        let total: u64 = image.layers.iter().map(|layer| layer.size).sum();
        let plural = if layers == 1 { "" } else { "s" };
        let shown: Vec<String> = names.iter().map(Reference::familiar).collect();
        let name = if shown.is_empty() { "image".to_owned() } else { shown.join(", ") };
        say(format!("{name}: {layers} layer{plural}, {}", size(total)));
    }
    Ok(())
}

/// What each stage started from: the name as it was written, and the manifest that was used for it.
fn bases(graph: &Graph) -> Vec<serde_json::Value> {
    let base = |stage: &rebit_build::graph::StagePlan| match &stage.base {
        Base::Image { reference, manifest, .. } => {
            Some(json!({"stage": stage.display_name(), "name": reference, "digest": manifest}))
        }
        _ => None,
    };
    graph.stages.iter().filter_map(base).collect()
}

/// An image without a name is found by its digest.
fn name_by_digest(session: &Session, image: &StoredImage, now: SystemTime) -> Result<(), CommandError> {
    let digest = image.manifest.digest();
    let name = format!("{UNNAMED}{digest}");
    // Its age is told by the hour: a build that finds everything known does not wait for the disk.
    let fresh = |updated: SystemTime| now.duration_since(updated).is_ok_and(|age| age.as_secs() < 3_600);
    let known =
        session.store().get_ref(&name)?.is_some_and(|found| found.root == image.root && fresh(found.updated));
    if known { Ok(()) } else { Ok(session.set_ref(&name, &digest, &image.root, now)?) }
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    let failed =
        |error: io::Error| CommandError::message(format!("cannot write `{}`: {error}", path.display()));
    fs::write(path, content).map_err(failed)
}

fn write_output(
    session: &Session,
    image: &StoredImage,
    output: &BuildOutput,
    names: &[Reference],
) -> Result<(), CommandError> {
    if !matches!(output, BuildOutput::Store | BuildOutput::Local(_) | BuildOutput::Registry(_)) {
        super::keep_at_hand(session.store(), image)?;
    }
    let place = match output {
        // What goes to registries goes last.
        BuildOutput::Store | BuildOutput::Registry(_) => return Ok(()),
        BuildOutput::Local(path) => return write_local(session, image, path),
        BuildOutput::Stdout(form) => {
            let names = ImageNames { tag: None, references: names.to_vec() };
            rebit_image::export::export_to_writer(session, image, &mut io::stdout().lock(), *form, &names)?;
            return Ok(());
        }
        BuildOutput::OciArchive(path) => Place::OciArchive { path: path.clone(), tag: None },
        BuildOutput::OciLayout(path) => Place::Oci { path: path.clone(), tag: None },
        BuildOutput::DockerArchive(path) => Place::DockerArchive { path: path.clone(), name: None },
    };
    rebit_image::export(session, image, &place, names)?;
    Ok(())
}

fn write_local(session: &Session, image: &StoredImage, path: &Path) -> Result<(), CommandError> {
    fs::create_dir_all(path)
        .map_err(|error| CommandError::message(format!("cannot make `{}`: {error}", path.display())))?;
    let Some(tree) = image.tree()? else { return Ok(()) };
    let tree = Tree::load(&tree, session)?;
    let options =
        CheckoutOptions { whiteouts: Whiteouts::Plain, allow_missing_devices: true, allow_other_owner: true };
    let written = checkout(&Changeset::full(&tree), path, session, &options)?;
    rebit_build::describe(&written.report).iter().for_each(|text| say(format!("note: {text}")));
    Ok(())
}

//! `rebit history --provenance`: what each step of an image read, ran and wrote.

use rebit_build::time::rfc3339;
use rebit_image::provenance::{DigestSet, Mount, Resource, Run, Stage, Step, Wrote};
use rebit_image::transport::select;
use rebit_image::{Place, Provenance};
use rebit_oci::Reference;
use rebit_store::Session;

use super::debug::quoted;
use super::{find, place, pull};
use crate::error::{CommandError, printable};
use crate::flags::{Flags, History};
use crate::output::{bytes, count, json, line, size};
use crate::progress::Transfer;
use crate::registry::{self, Registries, RegistrySource};
use crate::{environment, signal};

pub(crate) fn show(flags: &Flags, command: &History) -> Result<(), CommandError> {
    let document = match place(&command.image)? {
        Place::Registry { name } => published(&name, &command.image)?,
        _ => {
            let store = environment::open_store(flags)?;
            of(&store.session()?, &command.image)?
        }
    };
    if command.raw {
        return bytes(&document);
    }
    if command.json {
        return json(&serde_json::from_slice::<serde_json::Value>(&document)?);
    }
    let provenance = Provenance::decode(&document).map_err(|error| CommandError::new(&error))?;
    // Whatever stands in an instruction or a name, a line stays one.
    text(&provenance).iter().try_for_each(|text| line(printable(text).replace('\n', "\\n")))
}

/// What a registry has beside an image.
fn published(name: &Reference, image: &str) -> Result<Vec<u8>, CommandError> {
    let registries = Registries::new(&signal::stop_flag()?);
    let registry = registries.get()?;
    let transfer = Transfer::new(true);
    let source = RegistrySource::new(registry, name, &transfer)?;
    let found = select(&source, &pull::platform(None)?, true)
        .and_then(|found| registry::provenance::published(registry, name, &found.manifest.digest()));
    let none = |others: usize| {
        let text = CommandError::message(format!("there is no provenance by rebit beside `{image}`"));
        match others {
            0 => text.hint("`rebit push --provenance` puts one there; `rebit referrers` lists what there is"),
            _ => {
                text.hint(format!("of {others} statements none is such a one; `rebit referrers` lists them"))
            }
        }
    };
    found.map_err(|error| registries.failure(error))?.map_err(none)
}

/// What the store has.
pub(super) fn of(session: &Session, image: &str) -> Result<Vec<u8>, CommandError> {
    let found = find(session, image)?;
    rebit_image::provenance(session, &found)?.ok_or_else(|| {
        CommandError::message(format!("nothing is known of how `{image}` was made"))
            .hint("a provenance is kept of images that were built in this store; `rebit history` shows what the config says")
    })
}

fn text(provenance: &Provenance) -> Vec<String> {
    let (asked, work) = (provenance.parameters(), provenance.work());
    let mut out: Vec<String> =
        provenance.subject.iter().map(|subject| format!("image {}", digests(&subject.digest))).collect();
    out.push(format!(
        "platform {}, epoch {} ({}), layers of format {}, {}",
        asked.platform,
        work.epoch,
        rfc3339(work.epoch),
        work.layer_format,
        asked.compression
    ));
    out.extend(asked.target.iter().map(|target| format!("target {target}")));
    for (what, pairs) in
        [("build argument", &asked.build_args), ("label", &asked.labels), ("annotation", &asked.annotations)]
    {
        out.extend(pairs.iter().map(|(name, value)| format!("{what} {name}={value}")));
    }
    out.extend(asked.fixers.iter().map(|fixer| format!("fixer {fixer}")));
    out.extend(asked.hosts.iter().map(|host| format!("host {host}")));
    out.extend(provenance.dependencies().iter().map(|resource| format!("from {}", resource_text(resource))));
    work.stages.iter().for_each(|stage| stage_text(stage, &mut out));
    out
}

fn stage_text(stage: &Stage, out: &mut Vec<String>) {
    let base = match &stage.base.name {
        Some(name) => format!("{} {name}", stage.base.kind),
        None => stage.base.kind.clone(),
    };
    out.push(String::new());
    out.push(format!("stage {} ({}) from {base}", stage.name, stage.platform));
    for (number, step) in stage.steps.iter().enumerate() {
        out.push(format!("{:>3}. {}", number + 1, step.instruction));
        step_text(step, out);
    }
}

fn step_text(step: &Step, out: &mut Vec<String>) {
    let mut add = |text: String| out.push(format!("     {text}"));
    if let Some(run) = &step.run {
        let user = if run.user.is_empty() { "root" } else { &run.user };
        let network = if step.network { "the host's network" } else { "no network" };
        let insecure = if run.insecure { ", unconfined" } else { "" };
        add(format!("ran {} as {user} in {}, with {network}{insecure}", quoted(&run.args), run.working_dir));
        around(run).into_iter().for_each(&mut add);
    }
    step.reads.iter().for_each(|read| add(format!("read {}", resource_text(read))));
    if step.wrote != Wrote::default() {
        add(format!("{}: tree {}", wrote(&step.wrote), step.tree));
    }
}

/// Environment, limits and mounts of a process.
fn around(run: &Run) -> Vec<String> {
    let mut lines: Vec<String> = run.env.iter().map(|pair| format!("with {pair}")).collect();
    lines.extend(run.limits.iter().map(|limit| format!("limited to {limit}")));
    lines.extend(run.mounts.iter().map(mount));
    lines
}

fn mount(mount: &Mount) -> String {
    let id = mount.id.as_ref().map(|id| format!(" {id}"));
    let source = mount.source.as_ref().map(|source| format!(" {source}"));
    let from = mount.from.as_ref().map(|from| format!(" of {from}"));
    let target = mount.target.as_ref().map(|target| format!(" at {target}"));
    let env = mount.env.as_ref().map(|env| format!(" in ${env}"));
    let parts: Vec<String> = [id, source, from, target, env].into_iter().flatten().collect();
    format!("with {}{}", mount.kind, parts.concat())
}

fn wrote(wrote: &Wrote) -> String {
    let written = format!("wrote {}, {}", count(wrote.entries, "entry", "entries"), size(wrote.bytes));
    match wrote.removed {
        0 => written,
        removed => format!("{written}, removed {}", count(removed, "path", "paths")),
    }
}

fn resource_text(resource: &Resource) -> String {
    let named = [&resource.name, &resource.uri].into_iter().flatten().cloned();
    named.chain([digests(&resource.digest)]).collect::<Vec<_>>().join(" ")
}

fn digests(set: &DigestSet) -> String {
    set.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
}

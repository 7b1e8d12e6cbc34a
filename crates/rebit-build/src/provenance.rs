//! What a build writes down of itself (`docs/format/provenance.md`).
//!
//! Everything in it follows from the plan, from what was asked, and from the trees that steps read and left, so that it is the same
//! whether a step was executed or known.

use std::collections::{BTreeMap, BTreeSet};

use rebit_image::provenance::{
    self as document, CONTEXT, DigestSet, Parameters, Provenance, Resource, Stage, Work, Wrote,
};
use rebit_oci::encode::Preimage;
use rebit_oci::{DiffId, Digest, Reference, TreeId};

use crate::graph::{
    Base, BuildPlatform, CopyOp, CopySource, Graph, Op, RunMount, RunMountKind, RunNetwork, RunOp,
    SourcePath, StagePlan, Step,
};
use crate::progress::StepId;

/// The version of the layer format.
const LAYER_FORMAT: u32 = 1;

/// What was asked for, as far as the plan does not say it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The digest of the Dockerfile.
    pub dockerfile: Digest,
    /// Compression is the build's to say; the rest is the caller's.
    pub parameters: Parameters,
    /// Where contexts that are not of this machine came from; the build context is called `context`, others by `context NAME`.
    pub origins: Vec<Resource>,
}

/// What is noted of the steps while they are gone through.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The tree that each stage starts from, by its place.
    pub(crate) bases: BTreeMap<usize, TreeId>,
    /// What each step read besides the tree that it started from.
    pub(crate) reads: BTreeMap<StepId, Vec<Resource>>,
    /// The tree that each step left, and what it wrote.
    pub(crate) results: BTreeMap<StepId, (TreeId, Wrote)>,
    /// What came over the network.
    pub(crate) fetched: BTreeSet<Resource>,
}

/// What a step read from `from`.
pub(crate) fn read(graph: &Graph, from: &CopySource, digest: DigestSet) -> Resource {
    Resource { name: Some(source_name(graph, from)), uri: None, digest }
}

/// What a copy took that is not from another stage or image.
pub(crate) fn selected(graph: &Graph, op: &CopyOp, digest: DigestSet) -> Resource {
    let name = match (op.has_paths(), op.remotes().next()) {
        (true, _) => source_name(graph, &op.from),
        (false, Some(_)) => "remote".to_owned(),
        (false, None) => "Dockerfile".to_owned(),
    };
    Resource { name: Some(name), uri: None, digest }
}

fn source_name(graph: &Graph, from: &CopySource) -> String {
    match from {
        CopySource::Context => CONTEXT.to_owned(),
        CopySource::Named(name) => context_name(name),
        CopySource::Stage(number) => format!("stage {}", stage_name(graph, *number)),
        CopySource::Image { reference, .. } => format!("image {reference}"),
    }
}

/// What a context with a name is called.
#[must_use]
pub fn context_name(name: &str) -> String {
    format!("{CONTEXT} {name}")
}

fn stage_name(graph: &Graph, number: usize) -> String {
    let stage = graph.stages.iter().find(|stage| stage.index == number);
    stage.map_or_else(|| number.to_string(), StagePlan::display_name)
}

/// The document about an image.
pub(crate) fn statement(
    graph: &Graph,
    notes: &Notes,
    asked: &Asked,
    manifest: Digest,
    layers: Vec<DiffId>,
) -> Provenance {
    let stages: Vec<Stage> = graph
        .stages
        .iter()
        .enumerate()
        .map(|(place, stage)| self::stage(graph, notes, place, stage))
        .collect();
    let dependencies = dependencies(graph, notes, asked, &stages);
    let work = Work { epoch: graph.epoch, layer_format: LAYER_FORMAT, layers, stages };
    Provenance::new(manifest, asked.parameters.clone(), work, dependencies)
}

fn stage(graph: &Graph, notes: &Notes, place: usize, stage: &StagePlan) -> Stage {
    let (kind, name) = match &stage.base {
        Base::Scratch => ("scratch", None),
        Base::Image { reference, manifest, .. } => ("image", Some(pinned(reference, manifest))),
        Base::Stage(number) => ("stage", Some(stage_name(graph, *number))),
        Base::Context(name) => ("context", Some(name.clone())),
    };
    let tree = notes.bases.get(&place).copied().unwrap_or(TreeId([0; 32]));
    let mut steps = Vec::new();
    for (number, step) in stage.steps.iter().enumerate() {
        let id = StepId { stage: place, step: number };
        if let Some((tree, wrote)) = notes.results.get(&id) {
            let reads = notes.reads.get(&id).cloned().unwrap_or_default();
            steps.push(document::Step { reads, tree: *tree, wrote: *wrote, ..self::step(graph, step) });
        }
    }
    Stage {
        base: document::Base { kind: kind.to_owned(), name, tree },
        name: stage.display_name(),
        platform: stage.platform.to_string(),
        steps,
    }
}

fn pinned(reference: &str, manifest: &Digest) -> String {
    if reference.contains('@') { reference.to_owned() } else { format!("{reference}@{manifest}") }
}

/// A step as the plan has it: what it read and left is not known yet.
fn step(graph: &Graph, step: &Step) -> document::Step {
    let (kind, network) = match &step.op {
        Op::Run(run) => ("run", run.network == RunNetwork::Host),
        Op::Copy(_) => ("copy", false),
        Op::MakeDirectory { .. } => ("directory", false),
        Op::Config => ("config", false),
    };
    document::Step {
        copy: if let Op::Copy(op) = &step.op { Some(copy(op)) } else { None },
        instruction: step.text.clone(),
        kind: kind.to_owned(),
        network,
        reads: Vec::new(),
        run: if let Op::Run(op) = &step.op { Some(run(graph, op)) } else { None },
        tree: TreeId([0; 32]),
        wrote: Wrote::default(),
    }
}

fn copy(op: &CopyOp) -> document::Copy {
    let source = |source: &SourcePath| match source {
        SourcePath::Path(path) => path.clone(),
        SourcePath::Inline { name, .. } => name.clone(),
        SourcePath::Url(url) => url.to_string(),
        SourcePath::Git(git) => git.to_string(),
    };
    let flags = [("link", op.link), ("parents", op.parents), ("unpack", op.unpack)];
    document::Copy {
        destination: op.dest.clone(),
        exclude: op.excludes.clone(),
        flags: flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()).collect(),
        mode: op.chmod.clone(),
        owner: op.chown.clone(),
        sources: op.sources.iter().map(source).collect(),
    }
}

fn run(graph: &Graph, op: &RunOp) -> document::Run {
    let mut limits: Vec<String> = op.limits.shm_size.iter().map(|size| format!("shm-size={size}")).collect();
    for limit in &op.limits.ulimits {
        let value =
            |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string());
        limits.push(format!("{}={}:{}", limit.resource.name(), value(limit.soft), value(limit.hard)));
    }
    document::Run {
        args: op.args.clone(),
        env: op.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        insecure: op.insecure,
        limits,
        mounts: op.mounts.iter().map(|mount| self::mount(graph, mount)).collect(),
        script: op.script.as_ref().map(|script| Digest::of(script.content.as_bytes())),
        user: op.user.clone(),
        working_dir: op.working_dir.clone(),
    }
}

fn mount(graph: &Graph, mount: &RunMount) -> document::Mount {
    let target = mount.target.clone();
    let of = |kind: &str| document::Mount { kind: kind.to_owned(), target, ..document::Mount::default() };
    match &mount.kind {
        RunMountKind::Bind { from, source, .. } => document::Mount {
            from: Some(source_name(graph, from)),
            source: Some(source.clone()),
            ..of("bind")
        },
        RunMountKind::Cache { id, from, .. } => document::Mount {
            from: from.as_ref().map(|(from, _)| source_name(graph, from)),
            source: from.as_ref().map(|(_, source)| source.clone()),
            id: Some(id.clone()),
            ..of("cache")
        },
        RunMountKind::Tmpfs { .. } => of("tmpfs"),
        RunMountKind::Secret { id, env, .. } => {
            document::Mount { id: Some(id.clone()), env: env.clone(), ..of("secret") }
        }
        RunMountKind::Ssh { id, .. } => document::Mount { id: Some(id.clone()), ..of("ssh") },
    }
}

fn dependencies(graph: &Graph, notes: &Notes, asked: &Asked, stages: &[Stage]) -> Vec<Resource> {
    let dockerfile = document::sha256(&asked.dockerfile);
    let mut all = vec![Resource { name: Some("Dockerfile".to_owned()), uri: None, digest: dockerfile }];
    all.extend(contexts(asked, stages));
    let mut images = BTreeSet::new();
    for stage in &graph.stages {
        if let Base::Image { reference, manifest, .. } = &stage.base {
            images.insert(image(reference, manifest, &stage.platform));
        }
        for source in stage.steps.iter().flat_map(|step| step.op.sources()) {
            if let CopySource::Image { reference, manifest } = source {
                images.insert(image(reference, manifest, &graph.platform));
            }
        }
    }
    all.extend(images);
    all.extend(notes.fetched.iter().cloned());
    all
}

/// The contexts by what was read of them, in order: what lies unread in a directory has no influence.
fn contexts(asked: &Asked, stages: &[Stage]) -> Vec<Resource> {
    let mut reads: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for stage in stages {
        if let ("context", Some(name)) = (stage.base.kind.as_str(), &stage.base.name) {
            reads.entry(context_name(name)).or_default().push(stage.base.tree.to_string());
        }
        for read in stage.steps.iter().flat_map(|step| &step.reads) {
            if let Some(name) = read.name.as_ref().filter(|name| is_context(name)) {
                reads.entry(name.clone()).or_default().extend(read.digest.values().cloned());
            }
        }
    }
    let resource = |(name, parts): (String, Vec<String>)| {
        let mut preimage = Preimage::new("context", 1);
        preimage.add_list("read", parts.iter());
        let mut digest = DigestSet::from([(document::SELECTION.to_owned(), preimage.key().to_string())]);
        let origin = asked.origins.iter().find(|origin| origin.name.as_ref() == Some(&name));
        digest.extend(origin.iter().flat_map(|origin| origin.digest.clone()));
        Resource { name: Some(name), uri: origin.and_then(|origin| origin.uri.clone()), digest }
    };
    reads.into_iter().map(resource).collect()
}

fn is_context(name: &str) -> bool {
    name.strip_prefix(CONTEXT).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// An image, by a package URL as BuildKit writes it.
fn image(reference: &str, manifest: &Digest, platform: &BuildPlatform) -> Resource {
    let (name, tag) = match reference.parse::<Reference>() {
        Ok(parsed) => {
            let familiar = parsed.familiar();
            let name = familiar.split('@').next().unwrap_or_default();
            let name = parsed.tag().and_then(|tag| name.strip_suffix(&format!(":{tag}"))).unwrap_or(name);
            (name.to_owned(), parsed.tag().map(|tag| format!("@{}", escaped(tag))).unwrap_or_default())
        }
        Err(_) => (reference.to_owned(), String::new()),
    };
    let path: Vec<String> = name.split('/').map(escaped).collect();
    let uri = format!("pkg:docker/{}{tag}?platform={}", path.join("/"), escaped(&platform.to_string()));
    Resource { name: Some(format!("image {reference}")), uri: Some(uri), digest: document::sha256(manifest) }
}

/// Percent-encodes what stands in a component of a URL.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-12.
    #[test]
    fn images_have_package_urls() {
        let platform = BuildPlatform { os: "linux".into(), architecture: "amd64".into(), variant: None };
        let check = |reference: &str, expected: &str| {
            let found = image(reference, &Digest::of(b""), &platform).uri.unwrap();
            assert_eq!(found, format!("pkg:docker/{expected}?platform=linux%2Famd64"));
        };
        check("docker.io/library/debian:bookworm", "debian@bookworm");
        check("docker.io/library/debian:latest", "debian@latest");
        check("localhost:5000/a/b:1", "localhost%3A5000/a/b@1");
    }
}

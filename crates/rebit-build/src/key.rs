//! Cache keys: what a step's result depends on, field by field.
//!
//! A key is the hash of a [`Preimage`]. It holds exactly what can reach the result: nothing that is not in the layer may cause
//! a miss, and nothing that is in it may be left out. Inputs are identified by content ([`TreeId`]), so a step that is run
//! again and gives the tree that it gave before lets every later step hit.
//!
//! A copy has two keys. The *definition key* names the source tree as a whole and needs no tree to be loaded; the *content
//! key* describes only what is selected, so that a change elsewhere in the source does not matter.

use rebit_oci::encode::Preimage;
use rebit_oci::manifest::Compression;
use rebit_oci::{CacheKey, TreeId};

use crate::fix::Fixers;
use crate::graph::{
    BuildPlatform, CopyOp, MountOwner, RunMount, RunMountKind, RunNetwork, RunOp, SourcePath,
};

/// Raised when what a step does changes, so that old records are not used.
const STEP_VERSION: u32 = 1;
/// Raised with the layer format.
const LAYER_VERSION: u32 = 1;

/// What a `RUN` depends on.
///
/// `sources` identifies the tree of each of [`RunOp::sources`]. What caches and secrets hold is no part of the key.
pub(crate) fn run(
    op: &RunOp,
    lower: TreeId,
    epoch: i64,
    platform: &BuildPlatform,
    hosts: &[String],
    sources: &[TreeId],
    fixers: &Fixers,
) -> Preimage {
    let mut preimage = Preimage::new("step run", STEP_VERSION);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("platform", platform.to_string());
    preimage.add("epoch", epoch.to_string());
    preimage.add_list("argument", op.args.iter());
    let script = op.script.as_ref().map(|script| [script.path.as_str(), script.content.as_str()]);
    preimage.add_list("script", script.iter().flatten().collect::<Vec<_>>().into_iter());
    preimage.add_list("environment", op.env.iter().map(|(name, value)| format!("{name}={value}")));
    preimage.add("working directory", &op.working_dir);
    preimage.add("user", &op.user);
    preimage.add("network", if op.network == RunNetwork::Host { "host" } else { "none" });
    preimage.add_list("host", hosts.iter());
    for mount in &op.mounts {
        preimage.add_list("mount", describe_mount(mount).iter());
    }
    preimage.add_list("mounted tree", sources.iter().map(TreeId::as_bytes));
    // Only where they are set, so that keys without them stay what they were.
    if op.insecure {
        preimage.add("security", "insecure");
    }
    if let Some(size) = op.limits.shm_size {
        preimage.add("shared memory", size.to_string());
    }
    for limit in &op.limits.ulimits {
        let value =
            |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string());
        let limit = [limit.resource.name().to_owned(), value(limit.soft), value(limit.hard)];
        preimage.add_list("limit", limit.iter());
    }
    //
    if !fixers.is_empty() {
        preimage.add_list("fixer", fixers.key().collect::<Vec<_>>().iter());
    }
    preimage
}

/// What a mount says; the trees are identified apart from it.
fn describe_mount(mount: &RunMount) -> Vec<String> {
    let target = mount.target.clone().unwrap_or_default();
    let owned = |owner: &MountOwner| format!("{:o} {} {}", owner.mode, owner.uid, owner.gid);
    match &mount.kind {
        RunMountKind::Bind { source, writable, .. } => {
            vec!["bind".to_owned(), target, source.clone(), writable.to_string()]
        }
        RunMountKind::Cache { id, from, sharing, read_only, owner } => {
            let source = from.as_ref().map_or_else(String::new, |(_, source)| source.clone());
            let flags = format!("{sharing} {read_only} {}", owned(owner));
            vec!["cache".to_owned(), target, id.clone(), source, flags]
        }
        RunMountKind::Tmpfs { size } => vec!["tmpfs".to_owned(), target, format!("{size:?}")],
        RunMountKind::Secret { id, env, required, owner } => {
            let env = env.clone().unwrap_or_default();
            vec!["secret".to_owned(), target, id.clone(), env, format!("{required} {}", owned(owner))]
        }
        RunMountKind::Ssh { id, required, owner } => {
            let mut described = vec!["ssh".to_owned(), target, id.clone(), required.to_string()];
            // Only where it is set, so that keys without it stay what they were.
            described.extend(Some(owned(owner)).filter(|owner| owner != "600 0 0"));
            described
        }
    }
}

/// What a copy depends on, its source being the tree `source`.
pub(crate) fn copy_definition(op: &CopyOp, lower: TreeId, source: Option<TreeId>, epoch: i64) -> Preimage {
    let mut preimage = copy_common("step copy by definition", op, lower, epoch);
    preimage.add_list("source tree", source.iter().map(TreeId::as_bytes).collect::<Vec<_>>().into_iter());
    for source in &op.sources {
        match source {
            SourcePath::Path(path) => preimage.add("path", path),
            SourcePath::Inline { name, content } => {
                preimage.add("inline name", name);
                preimage.add("inline content", content);
            }
            // They come with the build context, which has no identity before it is read: what they give is in the other key.
            SourcePath::Url(url) => preimage.add("url", url.to_string()),
            SourcePath::Git(git) => preimage.add("repository", git.to_string()),
        }
    }
    preimage
}

/// What a copy depends on; the selection adds itself.
pub(crate) fn copy_content(op: &CopyOp, lower: TreeId, epoch: i64) -> Preimage {
    copy_common("step copy by content", op, lower, epoch)
}

fn copy_common(domain: &str, op: &CopyOp, lower: TreeId, epoch: i64) -> Preimage {
    let mut preimage = Preimage::new(domain, STEP_VERSION);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("epoch", epoch.to_string());
    preimage.add("destination", &op.dest);
    preimage.add_list("owner", op.chown.iter().collect::<Vec<_>>().into_iter());
    preimage.add_list("mode", op.chmod.iter().collect::<Vec<_>>().into_iter());
    preimage.add_list("exclude", op.excludes.iter());
    for (flag, set) in [("unpack", op.unpack), ("parents", op.parents), ("link", op.link)] {
        preimage.add(flag, if set { "yes" } else { "no" });
    }
    preimage
}

/// What a made directory depends on.
pub(crate) fn directory(path: &str, user: &str, lower: TreeId, epoch: i64) -> Preimage {
    let mut preimage = Preimage::new("step directory", STEP_VERSION);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("epoch", epoch.to_string());
    preimage.add("path", path);
    preimage.add("user", user);
    preimage
}

/// What a layer's bytes depend on.
pub(crate) fn layer(lower: TreeId, upper: TreeId, epoch: i64, compression: Compression) -> Preimage {
    let mut preimage = Preimage::new("layer", LAYER_VERSION);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("upper tree", upper.as_bytes());
    preimage.add("epoch", epoch.to_string());
    preimage.add("compression", compression.name());
    preimage
}

/// What the summary of a difference of trees is known under.
pub(crate) fn summary(lower: TreeId, upper: TreeId) -> CacheKey {
    let mut preimage = Preimage::new("summary of a difference", 1);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("upper tree", upper.as_bytes());
    preimage.key()
}

/// The name of the directory that holds the difference of two trees.
pub(crate) fn checkout(lower: TreeId, upper: TreeId) -> String {
    let mut preimage = Preimage::new("checkout", 1);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("upper tree", upper.as_bytes());
    preimage.key().to_string()
}

/// The name of the image that holds the difference of two trees.
pub(crate) fn image(lower: TreeId, upper: TreeId) -> String {
    let mut preimage = Preimage::new("image checkout", 1);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("upper tree", upper.as_bytes());
    preimage.key().to_string()
}

/// Which images hold the difference of `lower` to another tree.
pub(crate) fn images_of(lower: TreeId) -> Preimage {
    let mut preimage = Preimage::new("image checkouts", 1);
    preimage.add("lower tree", lower.as_bytes());
    preimage
}

/// Which directories hold the difference of `lower` to another tree.
pub(crate) fn checkouts_of(lower: TreeId) -> Preimage {
    let mut preimage = Preimage::new("checkouts", 1);
    preimage.add("lower tree", lower.as_bytes());
    preimage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{CopySource, RunLimits};
    use rebit_sandbox::{Resource, ResourceLimit};

    fn run_op() -> RunOp {
        RunOp {
            args: vec!["/bin/sh".into(), "-c".into(), "true".into()],
            script: None,
            env: vec![("A".into(), "b".into())],
            proxy_env: Vec::new(),
            working_dir: "/".into(),
            user: String::new(),
            network: RunNetwork::Host,
            insecure: false,
            limits: RunLimits::default(),
            mounts: Vec::new(),
        }
    }

    fn copy_op() -> CopyOp {
        CopyOp {
            from: CopySource::Context,
            sources: vec![SourcePath::Path("a".into())],
            dest: "/b".into(),
            chown: None,
            chmod: None,
            unpack: false,
            excludes: Vec::new(),
            parents: false,
            link: false,
        }
    }

    /// every field that can reach the result changes the key, and the proxies do not.
    #[test]
    fn a_run_is_keyed_by_all_it_depends_on() {
        let platform = BuildPlatform { os: "linux".into(), architecture: "amd64".into(), variant: None };
        let none = Fixers::default();
        let key = |op: &RunOp, lower| run(op, TreeId([lower; 32]), 1, &platform, &[], &[], &none).key();
        let base = key(&run_op(), 0);
        let change = |change: &dyn Fn(&mut RunOp)| {
            let mut op = run_op();
            change(&mut op);
            key(&op, 0)
        };
        assert_ne!(key(&run_op(), 1), base);
        assert_ne!(change(&|op| op.args[2] = "false".into()), base);
        assert_ne!(change(&|op| op.env[0].1 = "c".into()), base);
        assert_ne!(change(&|op| op.working_dir = "/x".into()), base);
        assert_ne!(change(&|op| op.user = "web".into()), base);
        assert_ne!(change(&|op| op.network = RunNetwork::None), base);
        assert_ne!(change(&|op| op.insecure = true), base);
        assert_ne!(change(&|op| op.limits.shm_size = Some(1)), base);
        let limit = ResourceLimit { resource: Resource::OpenFiles, soft: Some(1), hard: None };
        assert_ne!(change(&|op| op.limits.ulimits.push(limit)), base);
        let mount = |kind| RunMount { target: Some("/m".into()), kind };
        let tmpfs = mount(RunMountKind::Tmpfs { size: None });
        assert_ne!(change(&|op| op.mounts.push(tmpfs.clone())), base);
        let sourced = run(&run_op(), TreeId([0; 32]), 1, &platform, &[], &[TreeId([5; 32])], &none).key();
        assert_ne!(sourced, base);
        let script = crate::graph::Script { path: "p".into(), content: "c".into() };
        assert_ne!(change(&|op| op.script = Some(script.clone())), base);
        assert_eq!(change(&|op| op.proxy_env.push(("http_proxy".into(), "x".into()))), base);
        assert_ne!(run(&run_op(), TreeId([0; 32]), 2, &platform, &[], &[], &none).key(), base);
        assert_ne!(run(&run_op(), TreeId([0; 32]), 1, &platform, &["h=1".into()], &[], &none).key(), base);
        let fixed = |names: &[&str]| {
            let fixers = Fixers::named(names.iter().copied()).unwrap();
            run(&run_op(), TreeId([0; 32]), 1, &platform, &[], &[], &fixers).key()
        };
        assert_eq!(fixed(&[]), base);
        assert_ne!(fixed(&["pyc"]), base);
        assert_ne!(fixed(&["pyc"]), fixed(&["apt-logs"]));
        assert_eq!(fixed(&["pyc", "apt-logs"]), fixed(&["apt-logs", "pyc", "apt-logs"]));
        // What builds without fixers are known by does not move.
        assert_eq!(base.to_string(), "c442d06403fa6c952e59aaa6db7d75a9234504591c78c5a4fb658639796ed8a2");
    }

    ///
    #[test]
    fn a_copy_has_two_keys() {
        let lower = TreeId([0; 32]);
        let definition =
            |op: &CopyOp, source| copy_definition(op, lower, Some(TreeId([source; 32])), 1).key();
        assert_ne!(definition(&copy_op(), 1), definition(&copy_op(), 2));
        assert_ne!(definition(&copy_op(), 1), copy_content(&copy_op(), lower, 1).key());
        let change = |change: &dyn Fn(&mut CopyOp)| {
            let mut other = copy_op();
            change(&mut other);
            assert_ne!(definition(&copy_op(), 1), definition(&other, 1));
            assert_ne!(copy_content(&copy_op(), lower, 1).key(), copy_content(&other, lower, 1).key());
        };
        change(&|op| op.chown = Some("1".into()));
        change(&|op| op.chmod = Some("1".into()));
        change(&|op| op.unpack = true);
        change(&|op| op.excludes.push("x".into()));
        change(&|op| op.parents = true);
        change(&|op| op.link = true);
    }

    ///
    #[test]
    fn a_layer_is_keyed_by_its_trees_epoch_and_compression() {
        let key = |lower, upper, epoch, compression| {
            layer(TreeId([lower; 32]), TreeId([upper; 32]), epoch, compression).key()
        };
        let base = key(0, 1, 2, Compression::Gzip);
        for other in [
            key(1, 1, 2, Compression::Gzip),
            key(0, 0, 2, Compression::Gzip),
            key(0, 1, 3, Compression::Gzip),
            key(0, 1, 2, Compression::Zstd),
        ] {
            assert_ne!(other, base);
        }
    }
}

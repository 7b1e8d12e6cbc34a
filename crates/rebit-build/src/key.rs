//! Cache keys: what a step's result depends on, field by field.
//!
//! A key is the hash of a [`Preimage`]. It holds exactly what can reach the result: nothing that is not in the layer may cause
//! a miss, and nothing that is in it may be left out. Inputs are identified by content ([`TreeId`]), so a step that is run
//! again and gives the tree that it gave before lets every later step hit.
//!
//! A copy has two keys. The *definition key* names the source tree as a whole and needs no tree to be loaded; the *content
//! key* describes only what is selected, so that a change elsewhere in the source does not matter.

use rebit_oci::TreeId;
use rebit_oci::encode::Preimage;
use rebit_oci::manifest::Compression;

use crate::graph::{BuildPlatform, CopyOp, RunNetwork, RunOp, SourcePath};

/// Raised when what a step does changes, so that old records are not used.
const STEP_VERSION: u32 = 1;
/// Raised with the layer format.
const LAYER_VERSION: u32 = 1;

/// What a `RUN` depends on.
pub(crate) fn run(
    op: &RunOp,
    lower: TreeId,
    epoch: i64,
    platform: &BuildPlatform,
    hosts: &[String],
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
    preimage
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
    preimage.add("unpack", if op.unpack { "yes" } else { "no" });
    preimage
}

/// What a made directory depends on.
pub(crate) fn directory(path: &str, lower: TreeId, epoch: i64) -> Preimage {
    let mut preimage = Preimage::new("step directory", STEP_VERSION);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("epoch", epoch.to_string());
    preimage.add("path", path);
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

/// The name of the directory that holds the difference of two trees.
pub(crate) fn checkout(lower: TreeId, upper: TreeId) -> String {
    let mut preimage = Preimage::new("checkout", 1);
    preimage.add("lower tree", lower.as_bytes());
    preimage.add("upper tree", upper.as_bytes());
    preimage.key().to_string()
}

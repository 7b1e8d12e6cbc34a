//! Which step made a file.

use rebit_layer::{Kind, Node, Tree, TreePath};
use rebit_oci::{ObjectId, TreeId};
use rebit_store::Session;
use serde::Serialize;

use crate::diff::tree::{TreeSide, node_at};
use crate::provenance::{Step, TREE, Work};
use crate::{ImageError, Provenance, StoredImage, history};

/// Most stages that a file is followed through.
const MAX_HOPS: usize = 16;

/// A step, as people find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepName {
    /// The stage; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The instruction.
    pub instruction: String,
}

/// What made the files of one image.
pub(super) struct Origins<'a> {
    session: &'a Session,
    image: &'a StoredImage,
    work: Option<&'a Work>,
}

/// A step with the trees before and after it.
struct Link<'a> {
    stage: &'a str,
    step: &'a Step,
    before: TreeId,
}

impl<'a> Origins<'a> {
    pub(super) fn new(session: &'a Session, image: &'a StoredImage, made: Option<&'a Provenance>) -> Self {
        Self { session, image, work: made.map(Provenance::work) }
    }

    /// The step that put `path` where it is, then those that it was copied from.
    pub(super) fn of(&self, path: &TreePath) -> Result<Vec<StepName>, ImageError> {
        let Some(work) = self.work else { return self.of_layers(path) };
        let mut steps = Vec::new();
        let mut stage = work.stages.last().map(|stage| stage.name.as_str());
        let mut path = path.clone();
        while let Some(name) = stage.take().filter(|_| steps.len() < MAX_HOPS) {
            let (chain, base) = chain(work, name);
            let Some(link) = self.last_change(&chain, &path)? else {
                steps.extend(base.map(|base| StepName {
                    stage: Some(name.to_owned()),
                    instruction: format!("FROM {base}"),
                }));
                break;
            };
            steps.push(StepName {
                stage: Some(link.stage.to_owned()),
                instruction: link.step.instruction.clone(),
            });
            if let Some((source, tree)) = copied_from(link.step)
                && let Some(at) = self.same_file(link.step.tree, &path, tree)?
            {
                (stage, path) = (Some(source), at);
            }
        }
        Ok(steps)
    }

    /// By the layers of the image and its history, where no more is known.
    fn of_layers(&self, path: &TreePath) -> Result<Vec<StepName>, ImageError> {
        let rows: Vec<String> =
            history(self.image).into_iter().filter(|row| !row.empty).map(|row| row.created_by).collect();
        let trees = self.image.trees()?;
        for (at, tree) in trees.iter().enumerate().rev() {
            let below = at.checked_sub(1).and_then(|below| trees.get(below));
            let before = match below {
                Some(below) => self.node(*below, path)?,
                None => None,
            };
            if differs(before.as_ref(), self.node(*tree, path)?.as_ref()) {
                let instruction = rows.get(at).filter(|text| !text.is_empty()).cloned();
                let instruction = instruction.unwrap_or_else(|| format!("layer {}", at + 1));
                return Ok(vec![StepName { stage: None, instruction }]);
            }
        }
        Ok(Vec::new())
    }

    fn last_change<'c, 'w>(
        &self,
        chain: &'c [Link<'w>],
        path: &TreePath,
    ) -> Result<Option<&'c Link<'w>>, ImageError> {
        for link in chain.iter().rev().filter(|link| link.before != link.step.tree) {
            let (before, after) = (self.node(link.before, path)?, self.node(link.step.tree, path)?);
            if differs(before.as_ref(), after.as_ref()) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    fn node(&self, tree: TreeId, path: &TreePath) -> Result<Option<Node>, ImageError> {
        // Trees of stages go with the build cache: what is not there any more cannot be asked.
        if self.session.store().object_length(&tree.object())?.is_none() {
            return Ok(None);
        }
        Ok(node_at(&TreeSide { objects: self.session, tree }, path)?)
    }

    /// Where `source` has the file that is at `path` in `tree`; of several the one with the same name.
    fn same_file(
        &self,
        tree: TreeId,
        path: &TreePath,
        source: TreeId,
    ) -> Result<Option<TreePath>, ImageError> {
        let content = |node: &Node| -> Option<ObjectId> {
            if let Kind::File { object, .. } = &node.kind { Some(*object) } else { None }
        };
        let Some(wanted) = self.node(tree, path)?.as_ref().and_then(content) else { return Ok(None) };
        if self.session.store().object_length(&source.object())?.is_none() {
            return Ok(None);
        }
        let source = Tree::load(&source, self.session)?;
        let mut found: Vec<&TreePath> =
            source.iter().filter(|(_, node)| content(node) == Some(wanted)).map(|(path, _)| path).collect();
        found.sort_by_key(|other| other.file_name() != path.file_name());
        Ok(found.first().map(|path| (*path).clone()))
    }
}

fn differs(before: Option<&Node>, after: Option<&Node>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            !(before.kind.same_but_link(&after.kind) && before.metadata.same_but_mtime(&after.metadata))
        }
        (None, None) => false,
        _ => true,
    }
}

/// The stage and the tree that a copy reads.
fn copied_from(step: &Step) -> Option<(&str, TreeId)> {
    let read = step.copy.as_ref().and_then(|_| step.reads.first())?;
    let stage = read.name.as_ref()?.strip_prefix("stage ")?;
    Some((stage, read.digest.get(TREE)?.parse().ok()?))
}

/// The steps of a stage and of those that it starts from, and the image or context at the bottom.
fn chain<'w>(work: &'w Work, name: &str) -> (Vec<Link<'w>>, Option<String>) {
    let mut stages = Vec::new();
    let mut next = Some(name);
    let mut base = None;
    while let Some(stage) = next.take().and_then(|name| work.stages.iter().find(|stage| stage.name == name)) {
        stages.push(stage);
        match (stage.base.kind.as_str(), &stage.base.name) {
            // A stage can only start from an earlier one; a document that says otherwise is not followed for ever.
            ("stage", Some(name)) if stages.len() <= work.stages.len() => next = Some(name.as_str()),
            ("scratch" | "stage", _) => {}
            (_, name) => base.clone_from(name),
        }
    }
    let mut links = Vec::new();
    for stage in stages.into_iter().rev() {
        let mut before = stage.base.tree;
        for step in &stage.steps {
            links.push(Link { stage: &stage.name, step, before });
            before = step.tree;
        }
    }
    (links, base)
}

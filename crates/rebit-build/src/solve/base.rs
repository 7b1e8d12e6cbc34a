//! What a stage starts from, and how layers are put on it.

use rebit_oci::TreeId;
use rebit_oci::config::{History, ImageConfig};

use super::{LayerSource, Solver, StageState, lock};
use crate::error::BuildError;
use crate::graph::{Base, StagePlan};
use crate::time::rfc3339;

impl Solver<'_> {
    /// What a stage starts from.
    pub(super) fn base(&self, stage: &StagePlan) -> Result<StageState, BuildError> {
        match &stage.base {
            Base::Scratch => Ok(self.nothing(stage)),
            Base::Stage(number) => match lock(&self.done).get(number) {
                Some(state) => Ok(state.clone()),
                None => unreachable!("a plan lists a stage after what it starts from"),
            },
            Base::Context(name) => self.base_of_context(stage, name),
            Base::Image { manifest, .. } => {
                let missing = BuildError::BaseMissing { manifest: *manifest };
                let image = self.inputs.images.image(manifest).ok_or(missing)?;
                let base = image.config.value().clone();
                let chain = image.trees()?.to_vec();
                let tree = chain.last().copied().unwrap_or(self.empty);
                Ok(StageState {
                    history: base.history.clone(),
                    base,
                    layers: image.layers.into_iter().map(LayerSource::Published).collect(),
                    chain,
                    tree,
                })
            }
        }
    }

    /// A stage that starts from nothing.
    fn nothing(&self, stage: &StagePlan) -> StageState {
        StageState {
            base: ImageConfig {
                variant: stage.platform.variant.clone(),
                ..ImageConfig::scratch(&stage.platform.architecture, &stage.platform.os)
            },
            layers: Vec::new(),
            chain: Vec::new(),
            tree: self.empty,
            history: Vec::new(),
        }
    }

    /// A stage that starts from the files of a context: one layer of them, and an empty config.
    fn base_of_context(&self, stage: &StagePlan, name: &str) -> Result<StageState, BuildError> {
        let tree = self.context_of(Some(name)).and_then(|tree| {
            let empty = self.trees.load(&self.empty)?;
            self.settle(self.empty, &empty, &tree)
        });
        let tree = tree.map_err(|problem| BuildError::BaseContext { name: name.to_owned(), problem })?;
        let mut state = self.nothing(stage);
        self.add_layer(&mut state, tree, format!("FROM {name}"));
        Ok(state)
    }

    /// Puts the tree after a step on top of a stage, if it is another one, and tells the history.
    pub(super) fn add_layer(&self, state: &mut StageState, after: TreeId, created_by: String) {
        let changed = after != state.tree;
        if changed {
            state.layers.push(LayerSource::Made { lower: state.tree, upper: after });
            state.chain.push(after);
            state.tree = after;
        }
        state.history.push(History {
            created: Some(rfc3339(self.graph.epoch)),
            created_by: Some(created_by),
            empty_layer: !changed,
            ..History::default()
        });
    }
}

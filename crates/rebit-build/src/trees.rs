//! Trees in memory, loaded when a step needs one and kept for the next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rebit_layer::Tree;
use rebit_layer::tree::{LoadError, StoreError};
use rebit_oci::TreeId;
use rebit_oci::object::{ObjectSink, ObjectSource};
use rebit_store::Session;

/// How many trees are kept; a tree of 60,000 entries takes about 20 MiB.
const KEPT: usize = 4;

/// Loads and stores trees of one session.
pub(crate) struct Trees<'a> {
    session: &'a Session,
    recent: Mutex<VecDeque<(TreeId, Arc<Tree>)>>,
}

impl<'a> Trees<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, recent: Mutex::default() }
    }

    pub(crate) fn load(&self, id: &TreeId) -> Result<Arc<Tree>, LoadError> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tree)) = recent.iter().find(|(known, _)| known == id) {
            return Ok(Arc::clone(tree));
        }
        drop(recent);
        let source: &dyn ObjectSource = self.session;
        let tree = Arc::new(Tree::load(id, source)?);
        self.remember(*id, &tree);
        Ok(tree)
    }

    pub(crate) fn store(&self, tree: Tree) -> Result<(TreeId, Arc<Tree>), StoreError> {
        let sink: &dyn ObjectSink = self.session;
        let id = tree.store(sink)?;
        let tree = Arc::new(tree);
        self.remember(id, &tree);
        Ok((id, tree))
    }

    fn remember(&self, id: TreeId, tree: &Arc<Tree>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.iter().any(|(known, _)| *known == id) {
            return;
        }
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back((id, Arc::clone(tree)));
    }
}

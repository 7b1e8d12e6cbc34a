//! Trees in memory, loaded when a step needs one and kept for the next.

use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use rebit_layer::Tree;
use rebit_layer::tree::{LoadError, StoreError};
use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};
use rebit_oci::{ObjectId, TreeId};
use rebit_store::Session;

/// How many trees are kept; a tree of 60,000 entries takes about 20 MiB.
const KEPT: usize = 4;

/// Loads and stores trees of one session.
pub(crate) struct Trees<'a> {
    keeper: Keeper<'a>,
    recent: Mutex<VecDeque<(TreeId, Arc<Tree>)>>,
}

/// The session, and which directory objects it is known to hold: a step changes few directories of many, and the others need
/// not be looked up again. What was read or put under a session stays for it, so the knowledge does not go stale.
struct Keeper<'a> {
    session: &'a Session,
    known: Mutex<BTreeSet<ObjectId>>,
}

impl Keeper<'_> {
    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<ObjectId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectSource for Keeper<'_> {
    fn read(&self, object: &ObjectId) -> Result<Arc<[u8]>, ObjectError> {
        let content = self.session.read(object)?;
        self.known().insert(*object);
        Ok(content)
    }

    fn open(&self, object: &ObjectId) -> Result<Box<dyn Read + Send + '_>, ObjectError> {
        self.session.open(object)
    }
}

impl ObjectSink for Keeper<'_> {
    fn put(&self, content: &[u8], edges: &[ObjectId]) -> Result<ObjectId, ObjectError> {
        let object = ObjectId::of(content);
        if self.known().contains(&object) {
            return Ok(object);
        }
        let object = self.session.put(content, edges)?;
        self.known().insert(object);
        Ok(object)
    }

    fn put_reader(&self, reader: &mut dyn Read) -> Result<(ObjectId, u64), ObjectError> {
        self.session.put_reader(reader)
    }
}

impl<'a> Trees<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { keeper: Keeper { session, known: Mutex::default() }, recent: Mutex::default() }
    }

    pub(crate) fn load(&self, id: &TreeId) -> Result<Arc<Tree>, LoadError> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tree)) = recent.iter().find(|(known, _)| known == id) {
            return Ok(Arc::clone(tree));
        }
        drop(recent);
        let tree = Arc::new(Tree::load(id, &self.keeper)?);
        self.remember(*id, &tree);
        Ok(tree)
    }

    pub(crate) fn store(&self, tree: Tree) -> Result<(TreeId, Arc<Tree>), StoreError> {
        let id = tree.store(&self.keeper)?;
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

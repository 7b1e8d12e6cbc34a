//! Random histories against a model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rebit_oci::object::{ObjectSink, ObjectSource};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Puts content of this seed and length, referring to some of what was put before.
    Put(u64, usize, Vec<prop::sample::Index>),
    Commit,
    /// Names one of the objects put.
    Name(u8, prop::sample::Index),
    Unname(u8),
    /// Ends the session, opens the store anew.
    Reopen,
    Collect,
    Rebuild,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let length = prop_oneof![6 => 0..2000_usize, 2 => 60_000..140_000_usize, 1 => 2_000_000..2_400_000_usize];
    prop_oneof![
        8 => (0..40_u64, length, prop::collection::vec(index(), 0..3)).prop_map(|(s, l, e)| Step::Put(s, l, e)),
        2 => Just(Step::Commit),
        3 => (0..4_u8, index()).prop_map(|(name, object)| Step::Name(name, object)),
        1 => (0..4_u8).prop_map(Step::Unname),
        1 => Just(Step::Reopen),
        2 => Just(Step::Collect),
        1 => Just(Step::Rebuild),
    ]
}

/// What the store must hold.
#[derive(Default)]
struct Model {
    contents: BTreeMap<ObjectId, Vec<u8>>,
    edges: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    refs: BTreeMap<u8, ObjectId>,
    /// Put or found in this session.
    session: Vec<ObjectId>,
}

impl Model {
    fn reached(&self) -> BTreeSet<ObjectId> {
        let mut reached = BTreeSet::new();
        let mut stack: Vec<ObjectId> = self.refs.values().copied().collect();
        while let Some(id) = stack.pop() {
            if reached.insert(id) {
                stack.extend(self.edges[&id].iter().copied());
            }
        }
        reached
    }

    fn check(&self, source: &dyn ObjectSource, ids: impl IntoIterator<Item = ObjectId>) {
        for id in ids {
            assert!(read(source, &id) == self.contents[&id]);
        }
    }
}

fn run(steps: Vec<Step>) {
    let root = tempfile::tempdir().unwrap();
    let open = || Store::open(root.path(), &StoreOptions::default()).unwrap();
    let (mut store, mut model) = (open(), Model::default());
    let mut session = store.session().unwrap();
    for step in steps {
        match step {
            Step::Put(seed, length, edges) => {
                let content = if seed % 2 == 0 { noise(seed, length) } else { text(seed, length) };
                let edges: BTreeSet<ObjectId> = edges
                    .iter()
                    .filter(|_| !model.session.is_empty())
                    .map(|index| *index.get(&model.session))
                    .filter(|edge| *edge != ObjectId::of(&content))
                    .collect();
                let list: Vec<ObjectId> = edges.iter().copied().collect();
                let id = session.put(&content, &list).unwrap();
                model.contents.insert(id, content);
                model.edges.entry(id).or_default().extend(edges);
                model.session.push(id);
            }
            Step::Commit => session.commit().unwrap(),
            Step::Name(number, object) if !model.session.is_empty() => {
                let object = *object.get(&model.session);
                let (digest, root) = session.put_blob(object.to_string().as_bytes(), &[object]).unwrap();
                session.set_ref(&number.to_string(), &digest, &root, at(1)).unwrap();
                model.contents.insert(root, object.to_string().into_bytes());
                model.edges.entry(root).or_default().insert(object);
                model.session.push(root);
                model.refs.insert(number, root);
            }
            Step::Name(..) => {}
            Step::Unname(number) => {
                let there = model.refs.remove(&number).is_some();
                assert_eq!(store.delete_ref(&number.to_string()).unwrap(), there);
            }
            Step::Reopen => {
                drop(session);
                store = open();
                session = store.session().unwrap();
                model.session.clear();
            }
            Step::Collect => drop(collect(&store)),
            Step::Rebuild => {
                // Only what refs reach is sure to be there afterwards: a rebuild is for a store at rest.
                drop(session);
                store.rebuild_index().unwrap();
                session = store.session().unwrap();
                model.session.clear();
            }
        }
        model.check(&session, model.session.iter().copied());
        model.check(&session, model.reached());
    }
    drop(session);
    collect(&store);
    assert_clean(&store);
    model.check(&store, model.reached());
    let kept: BTreeSet<ObjectId> = model.reached();
    let lost = model.contents.keys().filter(|id| !kept.contains(id));
    for id in lost {
        // Content may be a chunk of something larger that is kept; else it is gone.
        let chunk = kept.iter().any(|id_kept| store.edges(id_kept).unwrap().contains(id));
        assert!(chunk || store.read(id).is_err(), "{id} was not collected");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_what_it_must(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}

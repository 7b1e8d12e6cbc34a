//! Fixers applied to what a step changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read as _;

use rebit_layer::{Change, Changeset, Kind, Node, Tree, TreePath};
use rebit_oci::ObjectId;
use rebit_oci::object::{ObjectError, ObjectSink, ObjectSource};

use super::{Deed, File, Fixed, FixedFile, Fixer, Fixers, MAX_FILE, Unfit};

/// What is left of a step's changes.
pub(crate) struct Applied {
    pub(crate) changes: Changeset,
    /// What was done, in order of path.
    pub(crate) files: Vec<FixedFile>,
    /// What a fixer is for and does not know how to fix, in words.
    pub(crate) notices: Vec<String>,
}

/// Fixes the files among `changes`, which were made to `before`.
///
/// # Errors
/// When a content cannot be read or kept.
pub(crate) fn apply_to_step<Objects: ObjectSource + ObjectSink>(
    fixers: &Fixers,
    changes: &Changeset,
    before: &Tree,
    objects: &Objects,
    epoch: i64,
) -> Result<Applied, ObjectError> {
    let mut work = Work { changes, before, objects, epoch, files: Vec::new(), unfit: BTreeMap::new() };
    // All names of a file have its content.
    let mut linked: BTreeMap<u32, (ObjectId, u64)> = BTreeMap::new();
    let mut kept = Vec::new();
    for (path, change) in changes.iter() {
        let Change::Upsert(node) = change else {
            kept.push((path.clone(), change.clone()));
            continue;
        };
        let mut node = node.clone();
        let link = node.link();
        set_content(&mut node, linked.get(&link));
        let before = content_of(&node);
        if !work.fix(fixers, path, &mut node)? {
            continue;
        }
        if let Some(content) =
            content_of(&node).filter(|content| Some(*content) != before && node.link() != 0)
        {
            linked.insert(node.link(), content);
        }
        kept.push((path.clone(), Change::Upsert(node)));
    }
    let mut fixed = Changeset::new();
    for (path, mut change) in kept {
        if let Change::Upsert(node) = &mut change {
            let link = node.link();
            set_content(node, linked.get(&link));
        }
        fixed.insert(path, change);
    }
    let notices = work.unfit.into_iter().map(|((fixer, why), paths)| describe(fixer, why, &paths)).collect();
    Ok(Applied { changes: fixed, files: work.files, notices })
}

fn describe(fixer: &str, why: &str, paths: &(TreePath, usize)) -> String {
    let more = match paths.1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{fixer} leaves {}{more} as it is: {why}", paths.0)
}

fn content_of(node: &Node) -> Option<(ObjectId, u64)> {
    if let Kind::File { object, size, .. } = node.kind { Some((object, size)) } else { None }
}

fn set_content(node: &mut Node, content: Option<&(ObjectId, u64)>) {
    if let (Kind::File { object, size, link }, Some((new, length))) = (&mut node.kind, content)
        && *link != 0
    {
        (*object, *size) = (*new, *length);
    }
}

struct Work<'a, Objects> {
    changes: &'a Changeset,
    before: &'a Tree,
    objects: &'a Objects,
    epoch: i64,
    files: Vec<FixedFile>,
    /// By fixer and reason: the first file, and how many more.
    unfit: BTreeMap<(&'static str, &'static str), (TreePath, usize)>,
}

impl<Objects: ObjectSource + ObjectSink> Work<'_, Objects> {
    /// Applies each fixer that is for the file; false when the file is taken back.
    fn fix(&mut self, fixers: &Fixers, path: &TreePath, node: &mut Node) -> Result<bool, ObjectError> {
        for fixer in fixers.iter().filter(|fixer| fixer.is_for(path.as_bytes())) {
            let Kind::File { object, size, .. } = &node.kind else { return Ok(true) };
            if fixer.reads() && *size > MAX_FILE {
                self.note_unfit(fixer, path, Unfit("it is larger than 64 MiB"));
                continue;
            }
            let bytes = if fixer.reads() { self.content(object)? } else { Vec::new() };
            match self.fixed(fixer, path, &bytes)? {
                Ok(Fixed::Keep) => {}
                Ok(Fixed::TakeBack) => {
                    let there = self.before.contains(path);
                    self.did(fixer, if there { Deed::Restored } else { Deed::Removed }, path);
                    return Ok(false);
                }
                Ok(Fixed::Replace(bytes)) => {
                    let (id, length) = self.objects.put_reader(&mut bytes.as_slice())?;
                    if let Kind::File { object, size, .. } = &mut node.kind {
                        (*object, *size) = (id, length);
                    }
                    self.did(fixer, Deed::Rewritten, path);
                }
                Err(unfit) => self.note_unfit(fixer, path, unfit),
            }
        }
        Ok(true)
    }

    fn fixed(
        &self,
        fixer: &Fixer,
        path: &TreePath,
        bytes: &[u8],
    ) -> Result<Result<Fixed, Unfit>, ObjectError> {
        let below = match self.before.get(path).and_then(content_of) {
            Some((object, size)) if fixer.reads() && size <= MAX_FILE => Some(object),
            _ => None,
        };
        let failure = RefCell::new(None);
        let before = || {
            let read = |object| self.content(&object).map_err(|error| failure.replace(Some(error))).ok();
            below.and_then(read)
        };
        let file = File {
            path: path.as_bytes(),
            bytes,
            before: &before,
            mtime_of: &|path| self.mtime_of(path),
            epoch: self.epoch,
        };
        let fixed = fixer.fix(&file);
        failure.into_inner().map_or(Ok(fixed), Err)
    }

    /// When a file of the tree after the step was changed.
    fn mtime_of(&self, path: &[u8]) -> Option<i64> {
        let path = TreePath::parse(path).ok()?;
        match self.changes.get(&path) {
            Some(Change::Upsert(node)) => Some(node.metadata.mtime),
            Some(Change::Remove) => None,
            None => self.before.get(&path).map(|node| node.metadata.mtime),
        }
    }

    fn content(&self, object: &ObjectId) -> Result<Vec<u8>, ObjectError> {
        let mut bytes = Vec::new();
        let read = self.objects.open(object)?.read_to_end(&mut bytes);
        read.map_err(|source| ObjectError::Storage {
            what: format!("reading {object}"),
            source: source.into(),
        })?;
        Ok(bytes)
    }

    fn did(&mut self, fixer: &Fixer, did: Deed, path: &TreePath) {
        self.files.push(FixedFile { fixer: fixer.name.to_owned(), did, path: path.to_string() });
    }

    fn note_unfit(&mut self, fixer: &Fixer, path: &TreePath, why: Unfit) {
        let more = self.unfit.entry((fixer.name, why.0));
        more.and_modify(|(_, more)| *more += 1).or_insert_with(|| (path.clone(), 0));
    }
}

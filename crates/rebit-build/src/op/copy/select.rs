//! Finding the sources of a copy.

use std::collections::BTreeSet;
use std::sync::Arc;

use rebit_dockerfile::glob;
use rebit_dockerfile::ignore::Ignore;
use rebit_layer::{Kind, Metadata, Node, Tree, TreePath};
use rebit_oci::encode::Preimage;
use rebit_oci::object::Objects;

use crate::error::StepProblem;
use crate::graph::{CopyOp, SourcePath};

/// The sources of a copy, found.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(super) items: Vec<Item>,
}

#[derive(Debug)]
pub(super) struct Item {
    /// What holds the source; where a part of it is left out, a tree of what is copied.
    pub(super) tree: Arc<Tree>,
    /// Where it is in `tree`, symbolic links followed.
    pub(super) path: TreePath,
    /// The name that it has at the destination, when that is a directory.
    pub(super) name: Vec<u8>,
    /// Directories, relative to `path`, that are there only for what is below them.
    pub(super) passages: BTreeSet<TreePath>,
    /// Whether an archive is unpacked, where that is not as the operation says.
    pub(super) unpack: Option<bool>,
}

/// A source that came over the network.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// What holds it.
    pub(crate) tree: Arc<Tree>,
    /// Where it is in `tree`.
    pub(crate) path: TreePath,
    /// The name that it has in a directory.
    pub(crate) name: Vec<u8>,
    /// Whether it is unpacked when it is an archive.
    pub(crate) unpack: bool,
}

/// Finds the sources of `op`; `source` is the tree they are in, but for those in `fetched`, which are taken in their order.
pub(crate) fn select(
    op: &CopyOp,
    source: &Arc<Tree>,
    fetched: &[Fetched],
    objects: &dyn Objects,
    epoch: i64,
    place: &str,
) -> Result<Selection, StepProblem> {
    let mut fetched = fetched.iter();
    let excludes = patterns(op.excludes.iter().map(String::as_str))?;
    let mut search = Search { source, place, excludes, items: Vec::new() };
    for word in &op.sources {
        match word {
            SourcePath::Path(path) if op.parents => search.with_parents(path)?,
            SourcePath::Path(path) => search.path(path)?,
            SourcePath::Inline { name, content } => {
                search.items.push(inline(name, content, objects, epoch)?);
            }
            SourcePath::Url(_) | SourcePath::Git(_) => {
                let Some(one) = fetched.next() else { unreachable!("every remote source is fetched before") };
                search.take(&one.tree, one.path.clone(), one.name.clone(), Some(one.unpack))?;
            }
        }
    }
    Ok(Selection { items: search.items })
}

fn inline(name: &str, content: &str, objects: &dyn Objects, epoch: i64) -> Result<Item, StepProblem> {
    let object = objects.put(content.as_bytes(), &[])?;
    let mut tree = Tree::new();
    let path = TreePath::parse(name).map_err(|source| StepProblem::Path { source })?;
    let node = Node::file(Metadata::new(0o644, epoch), object, content.len() as u64);
    tree.insert(path.clone(), node, &Metadata::default()).map_err(|source| StepProblem::Insert { source })?;
    let name = name.as_bytes().to_vec();
    Ok(Item { tree: Arc::new(tree), path, name, passages: BTreeSet::new(), unpack: None })
}

fn patterns<'a>(patterns: impl IntoIterator<Item = &'a str> + Clone) -> Result<Ignore, StepProblem> {
    Ignore::from_patterns(patterns.clone())
        .map_err(|_| StepProblem::BadPattern { pattern: patterns.into_iter().collect::<Vec<_>>().join(" ") })
}

struct Search<'a> {
    source: &'a Arc<Tree>,
    /// What `source` is, in words.
    place: &'a str,
    excludes: Ignore,
    items: Vec<Item>,
}

impl Search<'_> {
    /// A source without `--parents`: what the path or wildcard names.
    fn path(&mut self, written: &str) -> Result<(), StepProblem> {
        for found in self.find(written)? {
            let path = self.resolve(written, &found)?;
            let name = found.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            self.take(self.source, path, name, None)?;
        }
        Ok(())
    }

    /// Takes what is at `path`, less what is excluded.
    fn take(
        &mut self,
        tree: &Arc<Tree>,
        path: TreePath,
        name: Vec<u8>,
        unpack: Option<bool>,
    ) -> Result<(), StepProblem> {
        if !self.excludes.is_empty() && tree.is_directory(&path) {
            let (tree, passages) = prune(tree, &path, |below| !self.excludes.matches(below))?;
            let (tree, path) = (Arc::new(tree), TreePath::root());
            self.items.push(Item { tree, path, name, passages, unpack });
        } else if self.excludes.is_empty() || !self.excludes.matches(&String::from_utf8_lossy(&name)) {
            // A file counts as lying in its directory, as the reference has it.
            let tree = Arc::clone(tree);
            self.items.push(Item { tree, path, name, passages: BTreeSet::new(), unpack });
        }
        Ok(())
    }

    /// A source with `--parents`: what is before `/./` is where the directories that are kept begin, and what is after it is
    /// a pattern for what lies below.
    fn with_parents(&mut self, written: &str) -> Result<(), StepProblem> {
        let (base, pattern) = written.split_once("/./").unwrap_or(("/", written));
        let pattern = crate::plan::absolute("/", pattern);
        let pattern = pattern.trim_start_matches('/');
        let includes = patterns([pattern])?;
        let literal = !glob::has_wildcard(base.as_bytes());
        for found in self.find(base)? {
            let path = self.resolve(base, &found)?;
            if !self.source.is_directory(&path) {
                if literal {
                    return Err(StepProblem::NotDirectory { path: base.to_owned() });
                }
                continue;
            }
            if literal && !glob::has_wildcard(pattern.as_bytes()) {
                let named = TreePath::normalise(pattern).map_err(|source| StepProblem::Path { source })?;
                let named = path.append(&named).map_err(|source| StepProblem::Path { source })?;
                if !self.source.contains(&named) {
                    return Err(self.missing(written));
                }
            }
            let taken = |below: &str| {
                (pattern.is_empty() || includes.matches(below)) && !self.excludes.matches(below)
            };
            let (tree, passages) = prune(self.source, &path, taken)?;
            let (tree, path) = (Arc::new(tree), TreePath::root());
            self.items.push(Item { tree, path, name: Vec::new(), passages, unpack: None });
        }
        Ok(())
    }

    /// The paths that a source names: itself, or what its wildcards match.
    fn find(&self, written: &str) -> Result<Vec<Vec<u8>>, StepProblem> {
        let clean = crate::plan::absolute("/", written);
        let pattern = clean.trim_start_matches('/').as_bytes();
        if !glob::has_wildcard(pattern) {
            return Ok(vec![pattern.to_vec()]);
        }
        glob::validate(pattern).map_err(|_| StepProblem::BadPattern { pattern: written.to_owned() })?;
        let parts: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').collect();
        let literal = parts.iter().take_while(|part| !glob::has_wildcard(part)).count();
        let (literal, wild) = parts.split_at(literal);
        let top = self.source.resolve(literal.join(&b'/'), true);
        let top = top.map_err(|source| StepProblem::Resolve { source })?;
        let (depth, pattern) = (wild.len(), wild.join(&b'/'));
        let matches = |path: &TreePath| {
            path.relative_to(&top).is_some_and(|below| {
                below.depth() == depth && glob::matches(&pattern, below.as_bytes()).unwrap_or(false)
            })
        };
        let below = self.source.below(&top).map(|(path, _)| path);
        Ok(below.filter(|path| matches(path)).map(|path| path.as_bytes().to_vec()).collect())
    }

    /// Follows symbolic links to something that exists.
    fn resolve(&self, written: &str, path: &[u8]) -> Result<TreePath, StepProblem> {
        let resolved = self.source.resolve(path, true).map_err(|source| StepProblem::Resolve { source })?;
        if self.source.contains(&resolved) { Ok(resolved) } else { Err(self.missing(written)) }
    }

    fn missing(&self, written: &str) -> StepProblem {
        StepProblem::SourceMissing { path: written.to_owned(), place: self.place.to_owned() }
    }
}

/// The directory `from` of `source` as a tree of its own that holds what `taken` says, asked with paths relative to `from`; and
/// the directories in it that were not taken themselves.
pub(crate) fn prune(
    source: &Tree,
    from: &TreePath,
    taken: impl Fn(&str) -> bool,
) -> Result<(Tree, BTreeSet<TreePath>), StepProblem> {
    let root = source.get(from).map(|node| node.metadata.clone()).unwrap_or_default();
    let mut tree = Tree::with_root(root);
    let mut passages = BTreeSet::new();
    for (path, node) in source.below(from) {
        let Some(below) = path.relative_to(from) else { continue };
        if !taken(&String::from_utf8_lossy(below.as_bytes())) {
            continue;
        }
        let missing: Vec<TreePath> = below.ancestors().take_while(|parent| !tree.contains(parent)).collect();
        for parent in missing.into_iter().rev() {
            let at = from.append(&parent).map_err(|source| StepProblem::Path { source })?;
            let metadata = source.get(&at).map(|node| node.metadata.clone()).unwrap_or_default();
            insert(&mut tree, parent.clone(), Node::directory(metadata))?;
            passages.insert(parent);
        }
        insert(&mut tree, below, node.clone())?;
    }
    // What is left out must not show in the numbers of what stays.
    tree.renumber_links();
    Ok((tree, passages))
}

fn insert(tree: &mut Tree, path: TreePath, node: Node) -> Result<(), StepProblem> {
    tree.insert(path, node, &Metadata::default()).map_err(|source| StepProblem::Insert { source })
}

impl Selection {
    /// Adds everything that is copied to a preimage: names, kinds, modes, owners, attributes, contents.
    pub(crate) fn describe(&self, preimage: &mut Preimage) {
        preimage.add("sources", self.items.len().to_string());
        for item in &self.items {
            preimage.add("name", &item.name);
            if let Some(unpack) = item.unpack {
                preimage.add("unpack source", if unpack { "yes" } else { "no" });
            }
            let top = item.tree.get(&item.path).map(|node| (TreePath::root(), node));
            let below = item.tree.below(&item.path);
            let below = below.filter_map(|(path, node)| Some((path.relative_to(&item.path)?, node)));
            for (path, node) in top.into_iter().chain(below) {
                describe_node(preimage, &path, node, item.passages.contains(&path));
            }
        }
    }
}

fn describe_node(preimage: &mut Preimage, path: &TreePath, node: &Node, passage: bool) {
    preimage.add("path", path.as_bytes());
    let metadata = &node.metadata;
    preimage.add("metadata", format!("{:o} {} {}", metadata.mode, metadata.uid, metadata.gid));
    for (name, value) in &metadata.xattrs {
        preimage.add("xattr name", name);
        preimage.add("xattr value", value);
    }
    match &node.kind {
        Kind::Directory => preimage.add("kind", if passage { "passage" } else { "directory" }),
        Kind::File { object, size, link } => {
            preimage.add("kind", format!("file {size} {link}"));
            preimage.add("content", object.as_bytes());
        }
        Kind::Symlink { target } => {
            preimage.add("kind", "symlink");
            preimage.add("target", target);
        }
        Kind::CharDevice { major, minor } => preimage.add("kind", format!("char {major} {minor}")),
        Kind::BlockDevice { major, minor } => preimage.add("kind", format!("block {major} {minor}")),
        Kind::Fifo => preimage.add("kind", "fifo"),
    }
}

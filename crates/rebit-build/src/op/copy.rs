//! `COPY` and `ADD` as tree operations: nothing is read or written but metadata, unless an archive is unpacked.
//!
//! It goes in two parts. [`select`] finds the sources in their tree; the [`Selection`] has a digest over exactly what
//! would be copied, which is what the step's cache key holds. [`place`] puts it into the lower tree.
//!
//! The rules are BuildKit's: a directory's content is copied, not the directory; a destination that exists keeps its
//! metadata; directories merge; symbolic links are followed at a source and on the way to the destination, never below.

use std::sync::Arc;

use rebit_dockerfile::glob;
use rebit_dockerfile::mode::ChmodMode;
use rebit_layer::codec::decode::{self, DecodeLimits};
use rebit_layer::tar::read::ReadOptions;
use rebit_layer::{Conflict, Kind, Metadata, Node, Tree, TreePath, read_layer};
use rebit_oci::ObjectId;
use rebit_oci::encode::Preimage;
use rebit_oci::object::Objects;

use crate::error::StepProblem;
use crate::graph::{CopyOp, SourcePath};
use crate::user;

/// The sources of a copy, found.
#[derive(Debug)]
pub(crate) struct Selection {
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    tree: Arc<Tree>,
    /// Where it is in `tree`, symbolic links followed.
    path: TreePath,
    /// The name that it has at the destination, when that is a directory.
    name: Vec<u8>,
}

/// Finds the sources of `op`; `source` is the tree they are in.
pub(crate) fn select(
    op: &CopyOp,
    source: &Arc<Tree>,
    objects: &dyn Objects,
    epoch: i64,
    place: &str,
) -> Result<Selection, StepProblem> {
    let mut items = Vec::new();
    for word in &op.sources {
        match word {
            SourcePath::Path(path) => select_path(path, source, place, &mut items)?,
            SourcePath::Inline { name, content } => items.push(inline(name, content, objects, epoch)?),
        }
    }
    Ok(Selection { items })
}

fn inline(name: &str, content: &str, objects: &dyn Objects, epoch: i64) -> Result<Item, StepProblem> {
    let object = objects.put(content.as_bytes(), &[])?;
    let mut tree = Tree::new();
    let path = TreePath::parse(name).map_err(|source| StepProblem::Path { source })?;
    let node = Node::file(Metadata::new(0o644, epoch), object, content.len() as u64);
    tree.insert(path.clone(), node, &Metadata::default()).map_err(|source| StepProblem::Insert { source })?;
    Ok(Item { tree: Arc::new(tree), path, name: name.as_bytes().to_vec() })
}

fn select_path(
    path: &str,
    source: &Arc<Tree>,
    place: &str,
    items: &mut Vec<Item>,
) -> Result<(), StepProblem> {
    let clean = crate::plan::absolute("/", path);
    let pattern = clean.trim_start_matches('/').as_bytes();
    if !glob::has_wildcard(pattern) {
        return items_of(path, pattern, source, place, items);
    }
    glob::validate(pattern).map_err(|_| StepProblem::BadPattern { pattern: path.to_owned() })?;
    let depth = pattern.split(|byte| *byte == b'/').count();
    for (found, _) in source.below(&TreePath::root()) {
        if found.depth() == depth && glob::matches(pattern, found.as_bytes()).unwrap_or(false) {
            items_of(path, found.as_bytes(), source, place, items)?;
        }
    }
    Ok(())
}

fn items_of(
    written: &str,
    path: &[u8],
    source: &Arc<Tree>,
    place: &str,
    items: &mut Vec<Item>,
) -> Result<(), StepProblem> {
    let resolved = source.resolve(path, true).map_err(|source| StepProblem::Resolve { source })?;
    let Some(node) = source.get(&resolved) else {
        return Err(StepProblem::SourceMissing { path: written.to_owned(), place: place.to_owned() });
    };
    if written.ends_with('/') && !node.is_directory() {
        return Err(StepProblem::NotDirectory { path: written.to_owned() });
    }
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    items.push(Item { tree: Arc::clone(source), path: resolved, name });
    Ok(())
}

impl Selection {
    /// Adds everything that is copied to a preimage: names, kinds, modes, owners, attributes, contents.
    pub(crate) fn describe(&self, preimage: &mut Preimage) {
        preimage.add("sources", self.items.len().to_string());
        for item in &self.items {
            preimage.add("name", &item.name);
            let top = item.tree.get(&item.path).map(|node| (TreePath::root(), node));
            let below = item.tree.below(&item.path);
            let below = below.filter_map(|(path, node)| Some((path.relative_to(&item.path)?, node)));
            for (path, node) in top.into_iter().chain(below) {
                describe_node(preimage, &path, node);
            }
        }
    }
}

fn describe_node(preimage: &mut Preimage, path: &TreePath, node: &Node) {
    preimage.add("path", path.as_bytes());
    let metadata = &node.metadata;
    preimage.add("metadata", format!("{:o} {} {}", metadata.mode, metadata.uid, metadata.gid));
    for (name, value) in &metadata.xattrs {
        preimage.add("xattr name", name);
        preimage.add("xattr value", value);
    }
    match &node.kind {
        Kind::Directory => preimage.add("kind", "directory"),
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

/// What all copies of one step get.
struct Policy {
    owner: Option<(u32, u32)>,
    mode: Option<ChmodMode>,
    epoch: i64,
    parents: Metadata,
}

impl Policy {
    fn new(op: &CopyOp, lower: &Tree, objects: &dyn Objects, epoch: i64) -> Result<Self, StepProblem> {
        let owner = match &op.chown {
            Some(spec) => Some(user::owner(spec, lower, objects)?),
            None => None,
        };
        let mode = match &op.chmod {
            Some(text) => {
                Some(ChmodMode::parse(text).map_err(|_| StepProblem::BadMode { mode: text.clone() })?)
            }
            None => None,
        };
        let mut parents = Metadata::directory(epoch);
        (parents.uid, parents.gid) = owner.unwrap_or((0, 0));
        Ok(Self { owner, mode, epoch, parents })
    }

    fn apply(&self, node: &mut Node) {
        let directory = node.is_directory();
        node.metadata.mtime = self.epoch;
        if let Some((uid, gid)) = self.owner {
            (node.metadata.uid, node.metadata.gid) = (uid, gid);
        }
        if let Some(mode) = &self.mode {
            node.metadata.mode = mode.apply(node.metadata.mode, directory);
        }
    }
}

/// Copies a selection into `lower`.
pub(crate) fn place(
    op: &CopyOp,
    selection: &Selection,
    lower: &Tree,
    objects: &dyn Objects,
    epoch: i64,
) -> Result<Tree, StepProblem> {
    let policy = Policy::new(op, lower, objects, epoch)?;
    let mut tree = lower.clone();
    let count = selection.items.len();
    if count > 1 && !op.dest.ends_with('/') && !tree.is_directory(&resolve(&tree, op.dest.as_bytes())?) {
        return Err(StepProblem::ManySources { count, dest: op.dest.clone() });
    }
    for item in &selection.items {
        let Some(node) = item.tree.get(&item.path) else { continue };
        if node.is_directory() {
            let target = resolve(&tree, op.dest.as_bytes())?;
            graft(&mut tree, &item.tree, &item.path, &target, &policy)?;
            continue;
        }
        if op.unpack
            && let Kind::File { object, .. } = &node.kind
            && let Some(archive) = unpack(object, objects, epoch)?
        {
            let target = resolve(&tree, op.dest.as_bytes())?;
            graft(&mut tree, &archive, &TreePath::root(), &target, &policy)?;
            continue;
        }
        let target = file_target(&tree, &op.dest, &item.name)?;
        graft(&mut tree, &item.tree, &item.path, &target, &policy)?;
    }
    Ok(tree)
}

fn resolve(tree: &Tree, path: &[u8]) -> Result<TreePath, StepProblem> {
    tree.resolve(path, true).map_err(|source| StepProblem::Resolve { source })
}

/// Where a file goes: into the destination when that is a directory, else to its name.
fn file_target(tree: &Tree, dest: &str, name: &[u8]) -> Result<TreePath, StepProblem> {
    let target = resolve(tree, dest.as_bytes())?;
    if !dest.ends_with('/') && !tree.is_directory(&target) {
        return Ok(target);
    }
    let mut path = target.as_bytes().to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    resolve(tree, &path)
}

fn graft(
    tree: &mut Tree,
    source: &Tree,
    from: &TreePath,
    target: &TreePath,
    policy: &Policy,
) -> Result<(), StepProblem> {
    if let Some(blocked) =
        target.ancestors().find(|parent| tree.get(parent).is_some_and(|node| !node.is_directory()))
    {
        return Err(StepProblem::NotDirectory { path: blocked.to_string() });
    }
    let keeps_target = tree.is_directory(target);
    tree.graft(source, from, target, &policy.parents, Conflict::Refuse, |path, node| {
        policy.apply(node);
        !(keeps_target && path == target && node.is_directory())
    })
    .map_err(|source| StepProblem::Graft { source })
}

/// The tree in an archive, or `None` when the file is none.
fn unpack(object: &ObjectId, objects: &dyn Objects, epoch: i64) -> Result<Option<Tree>, StepProblem> {
    let mut content = decode::open(objects.open(object)?, DecodeLimits::default())
        .map_err(|source| StepProblem::Archive { source: Box::new(source) })?;
    let mut start = vec![0; 512];
    let mut filled = 0;
    while filled < start.len() {
        match std::io::Read::read(&mut content, &mut start[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            // What cannot be decompressed is no archive: it is copied as it is.
            Err(_) => return Ok(None),
        }
    }
    start.truncate(filled);
    if !is_tar_header(&start) {
        return Ok(None);
    }
    let reader = std::io::Read::chain(std::io::Cursor::new(start), content);
    let options = ReadOptions::archive();
    let mut reader = reader;
    let read = read_layer(&mut reader, &Tree::with_root(Metadata::directory(epoch)), objects, &options)
        .map_err(|source| StepProblem::Archive { source: Box::new(source) })?;
    Ok(Some(read.tree))
}

/// Whether a block is a tar header: its checksum field holds the sum of its bytes, the field itself taken as blanks.
fn is_tar_header(block: &[u8]) -> bool {
    let Some(field) = block.get(148..156).filter(|_| block.len() == 512) else { return false };
    let digits: String = field.iter().map(|byte| char::from(*byte)).collect();
    let digits = digits.trim_matches([' ', '\0']);
    let blanks = field.len() as u32 * u32::from(b' ');
    let sum = block.iter().map(|byte| u32::from(*byte)).sum::<u32>()
        - field.iter().map(|b| u32::from(*b)).sum::<u32>();
    u32::from_str_radix(digits, 8).is_ok_and(|stated| stated == sum + blanks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::CopySource;
    use rebit_oci::object::{MemoryObjects, ObjectSink as _};

    const EPOCH: i64 = 7;

    /// A tree from lines: `dir/` is a directory, `link -> target` a link, anything else a file holding its own path.
    fn tree(objects: &MemoryObjects, lines: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for line in lines {
            let metadata = Metadata::new(if line.ends_with('/') { 0o700 } else { 0o640 }, 1);
            let (path, node) = match line.split_once(" -> ") {
                Some((path, target)) => (path, Node::symlink(metadata, target)),
                None if line.ends_with('/') => (line.trim_end_matches('/'), Node::directory(metadata)),
                None => {
                    let object = objects.put(line.as_bytes(), &[]).unwrap();
                    (*line, Node::file(metadata, object, line.len() as u64))
                }
            };
            tree.insert(TreePath::parse(path).unwrap(), node, &Metadata::directory(1)).unwrap();
        }
        tree
    }

    fn op(sources: &[&str], dest: &str) -> CopyOp {
        CopyOp {
            from: CopySource::Context,
            sources: sources.iter().map(|path| SourcePath::Path((*path).to_owned())).collect(),
            dest: dest.to_owned(),
            chown: None,
            chmod: None,
            unpack: false,
        }
    }

    fn copy(op: &CopyOp, source: &[&str], lower: &[&str]) -> Result<Tree, StepProblem> {
        let objects = MemoryObjects::new();
        let (source, lower) = (Arc::new(tree(&objects, source)), tree(&objects, lower));
        let selection = select(op, &source, &objects, EPOCH, "the build context")?;
        place(op, &selection, &lower, &objects, EPOCH)
    }

    fn names(tree: &Tree) -> Vec<String> {
        let shown = |(path, node): (&TreePath, &Node)| {
            let suffix = if node.is_directory() { "/" } else { "" };
            format!("{}{suffix}", String::from_utf8_lossy(path.as_bytes()))
        };
        tree.below(&TreePath::root()).map(shown).collect()
    }

    #[test]
    fn sources_land_where_the_reference_says() {
        let source = ["a", "b.txt", "c.txt", "d/", "d/x", "d/s/", "d/s/y", "l -> d", "up -> /../a"];
        let check = |sources: &[&str], dest: &str, lower: &[&str], expected: &[&str]| {
            let tree = copy(&op(sources, dest), &source, lower).unwrap();
            assert_eq!(names(&tree), expected, "{sources:?} to {dest}");
        };
        check(&["a"], "/f", &[], &["f"]);
        check(&["a"], "/f/", &[], &["f/", "f/a"]);
        check(&["a"], "/f", &["f/"], &["f/", "f/a"]);
        check(&["a"], "/f", &["g/", "f -> g"], &["f", "g/", "g/a"]);
        check(&["a"], "/n/m/f", &[], &["n/", "n/m/", "n/m/f"]);
        check(&["d"], "/e", &[], &["e/", "e/s/", "e/s/y", "e/x"]);
        check(&["d", "a"], "/e/", &["e/z"], &["e/", "e/a", "e/s/", "e/s/y", "e/x", "e/z"]);
        check(&["l"], "/e", &[], &["e/", "e/s/", "e/s/y", "e/x"]);
        check(&["up"], "/e/", &[], &["e/", "e/up"]);
        check(&["*.txt"], "/e/", &[], &["e/", "e/b.txt", "e/c.txt"]);
        check(&["d/?"], "/e/", &[], &["e/", "e/x", "e/y"]);
        check(&["none*"], "/e/", &[], &[]);
        check(&["/../../a"], "/f", &[], &["f"]);
        check(&["."], "/", &[], &["a", "b.txt", "c.txt", "d/", "d/s/", "d/s/y", "d/x", "l", "up"]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let check = |sources: &[&str], dest: &str, lower: &[&str], expected: &str| {
            let error = copy(&op(sources, dest), &["a", "d/", "d/x/", "loop -> loop"], lower)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{sources:?}: {error}");
        };
        check(&["none"], "/f", &[], "`none` does not exist in the build context");
        check(&["a/"], "/f", &[], "`a/` is not a directory");
        check(&["d"], "/f", &["f"], "f");
        check(&["d"], "/", &["x"], "`/x` cannot be replaced");
        check(&["a"], "/f/g", &["f"], "`/f` is not a directory");
        check(&["loop"], "/f", &[], "too many symbolic links");
        check(&["[a"], "/f", &[], "`[a` is not a valid pattern");
        check(&["[ad]"], "/f", &[], "the wildcards match 2 sources");
    }

    #[test]
    fn metadata_is_of_the_source_unless_told_otherwise() {
        let source = ["d/", "d/x"];
        let metadata = |op: &CopyOp, lower: &[&str], path: &str| {
            let tree = copy(op, &source, lower).unwrap();
            let metadata = &tree.get(&TreePath::parse(path).unwrap()).unwrap().metadata;
            (metadata.mode, metadata.uid, metadata.gid, metadata.mtime)
        };
        assert_eq!(metadata(&op(&["d"], "/n/e"), &[], "n/e/x"), (0o640, 0, 0, EPOCH));
        assert_eq!(metadata(&op(&["d"], "/n/e"), &[], "n/e"), (0o700, 0, 0, EPOCH));
        assert_eq!(metadata(&op(&["d"], "/n/e"), &[], "n"), (0o755, 0, 0, EPOCH));
        assert_eq!(
            metadata(&op(&["d"], "/e"), &["e/"], "e"),
            (0o700, 0, 0, 1),
            "a destination keeps its own"
        );
        let mut changed = op(&["d"], "/n/e");
        (changed.chown, changed.chmod) = (Some("3:4".into()), Some("0505".into()));
        assert_eq!(metadata(&changed, &[], "n/e/x"), (0o505, 3, 4, EPOCH));
        assert_eq!(metadata(&changed, &[], "n"), (0o755, 3, 4, EPOCH));
    }

    #[test]
    fn a_selection_is_described_by_what_is_copied() {
        let describe = |source: &[&str], path: &str| {
            let objects = MemoryObjects::new();
            let source = Arc::new(tree(&objects, source));
            let mut preimage = Preimage::new("test", 1);
            select(&op(&[path], "/"), &source, &objects, EPOCH, "").unwrap().describe(&mut preimage);
            preimage.key()
        };
        assert_eq!(describe(&["d/x", "other"], "d"), describe(&["d/x", "changed"], "d"));
        assert_ne!(describe(&["d/x"], "d"), describe(&["d/y"], "d"));
        assert_ne!(describe(&["d/x"], "d"), describe(&["d/x", "d/l -> x"], "d"));
        assert_ne!(describe(&["a", "b"], "a"), describe(&["a", "b"], "b"));
    }

    #[test]
    fn headers_are_told_from_other_blocks() {
        assert!(!is_tar_header(&[0; 512]) && !is_tar_header(&[0; 100]) && !is_tar_header(&[b'7'; 512]));
        let mut block = [0; 512];
        block[0] = b'a';
        let sum = u32::from(b'a') + 8 * u32::from(b' ');
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(is_tar_header(&block));
        block[1] = b'b';
        assert!(!is_tar_header(&block));
    }
}

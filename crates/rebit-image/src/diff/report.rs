//! Two images, or file trees, compared as a whole.

use std::collections::BTreeMap;
use std::io::Read;

use rebit_layer::{Kind, Tree, TreePath};
use rebit_oci::object::{MemoryObjects, ObjectSource};
use rebit_oci::{Digest, ObjectId, TreeId};
use serde::Serialize;

use super::content::explain_into;
use super::tree::{self, TreeChange, TreeSide};
use super::{Budget, Finding, Ignored, MAX_CONTENT, document, explain_streams, layers, node};
use crate::{ImageError, StoredImage, history};

/// What looking into the files that differ may still cost; beyond it they are only said to differ.
struct Left {
    /// Bytes of files, both sides together.
    read: u64,
    /// Bytes that come out of compressed members.
    unpack: u64,
    /// Findings about contents.
    findings: u64,
}

impl Left {
    fn new() -> Self {
        Self { read: 4 << 30, unpack: 4 << 30, findings: 20_000 }
    }
}

/// One of the two things that are compared.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// What it is called.
    pub place: &'a str,
    /// Who has its trees and files.
    pub objects: &'a dyn ObjectSource,
    /// What it is.
    pub subject: Subject<'a>,
}

impl std::fmt::Debug for Side<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// An image.
    Image(&'a StoredImage),
    /// A tree of files without documents, owners as they are on disk and without times.
    Directory(TreeId),
}

impl Subject<'_> {
    fn tree(&self) -> Result<Option<TreeId>, ImageError> {
        match self {
            Self::Image(image) => image.tree(),
            Self::Directory(tree) => Ok(Some(*tree)),
        }
    }
}

/// A side in a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// What it is called.
    pub place: String,
    /// The digest of an image's manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeId>,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// Only the first has it.
    Removed,
    /// Only the second has it.
    Added,
    /// Both have it, and it differs.
    Changed,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// The path, from `/`; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// What became of it.
    pub state: FileState,
    /// What it is, in the second if that has it.
    pub kind: &'static str,
    /// Bytes of the file, or of all files below a directory that only one has; the larger of both.
    pub size: u64,
    /// Entries below a directory that only one has.
    pub entries: u64,
    /// How a path that both have differs.
    pub findings: Vec<Finding>,
}

/// The first layer whose files differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirstLayer {
    /// Counted from 1, lowest first.
    pub number: usize,
    /// The instruction that made it in the first image; empty when the config does not say.
    pub created_by: String,
}

/// How two images differ. Its JSON form is stable: fields are added, not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of the form of this report: 1.
    pub version: u32,
    /// Whether nothing was found that counts.
    pub same: bool,
    /// Whether what [`Ignored`] names does not count.
    pub semantic: bool,
    /// The first.
    pub a: Compared,
    /// The second.
    pub b: Compared,
    /// Fields of manifest and config.
    pub documents: Vec<Finding>,
    /// Layers: how many, which, and how they are packed.
    pub layers: Vec<Finding>,
    /// Where the files begin to differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_layer: Option<FirstLayer>,
    /// Paths that differ, in order.
    pub files: Vec<FileChange>,
    /// How many further paths differ, beyond what is kept.
    pub more_files: u64,
    /// What was found and does not count, and how often.
    pub ignored: BTreeMap<Ignored, u64>,
}

/// Compares two images, two directories, or one of each: documents, layers, trees, and the files that differ.
///
/// Strict, everything counts, and two images are the same when their manifests have one digest. With `semantic`, findings
/// that are [`Ignored`] are only counted. Of a directory neither documents nor times are compared. Memory is bounded by
/// two files of [`MAX_CONTENT`] and what [`Budget`] allows, besides the findings.
///
/// # Errors
/// [`ImageError`] when a tree or a file cannot be read.
pub fn compare(a: &Side<'_>, b: &Side<'_>, semantic: bool) -> Result<Report, ImageError> {
    let mut report = Report {
        version: 1,
        same: true,
        semantic,
        a: compared(a)?,
        b: compared(b)?,
        documents: Vec::new(),
        layers: Vec::new(),
        first_layer: None,
        files: Vec::new(),
        more_files: 0,
        ignored: BTreeMap::new(),
    };
    let mut times = false;
    if let (Subject::Image(x), Subject::Image(y)) = (&a.subject, &b.subject) {
        if x.digest() == y.digest() {
            return Ok(report);
        }
        times = true;
        report.documents = documents(x, y);
        let same = same_trees(a, b, x, y)?;
        report.layers = layers::compare(x, y, &same);
        report.first_layer = first_layer(x, y, &same);
    }
    files(a, b, times, &mut report)?;
    if semantic {
        leave_aside(&mut report);
    }
    let found = report.documents.is_empty() && report.layers.is_empty() && report.files.is_empty();
    report.same = found && report.more_files == 0;
    Ok(report)
}

fn compared(side: &Side<'_>) -> Result<Compared, ImageError> {
    let digest = match side.subject {
        Subject::Image(image) => Some(image.digest()),
        Subject::Directory(_) => None,
    };
    Ok(Compared { place: side.place.to_owned(), digest, tree: side.subject.tree()? })
}

fn documents(a: &StoredImage, b: &StoredImage) -> Vec<Finding> {
    let (x, y) = (&a.manifest, &b.manifest);
    let mut out = document::compare("manifest", x.bytes(), y.bytes(), &["config", "layers"]);
    out.extend(document::compare("config", a.config.bytes(), b.config.bytes(), &["rootfs"]));
    // A manifest that differs in nothing that is compared here differs in what a descriptor says besides.
    if out.is_empty() && a.config == b.config && a.layers == b.layers {
        let finding = Finding::new("manifest", "descriptors of config and layers");
        out.push(finding.ignorable(Ignored::Descriptor));
    }
    out
}

/// Whether the trees of two images are the same, layer by layer.
fn same_trees(a: &Side<'_>, b: &Side<'_>, x: &StoredImage, y: &StoredImage) -> Result<Vec<bool>, ImageError> {
    let mut same = Vec::new();
    let (x, y) = (x.trees()?, y.trees()?);
    for at in 0..x.len().max(y.len()) {
        same.push(match (x.get(at), y.get(at)) {
            (Some(x), Some(y)) => tree::same(
                &TreeSide { objects: a.objects, tree: *x },
                &TreeSide { objects: b.objects, tree: *y },
            )?,
            _ => false,
        });
    }
    Ok(same)
}

fn first_layer(a: &StoredImage, b: &StoredImage, same: &[bool]) -> Option<FirstLayer> {
    let at = same.iter().position(|same| !same)?;
    let image = if at < a.layers.len() { a } else { b };
    let row = history(image).into_iter().filter(|row| !row.empty).nth(at);
    Some(FirstLayer { number: at + 1, created_by: row.map(|row| row.created_by).unwrap_or_default() })
}

fn files(a: &Side<'_>, b: &Side<'_>, times: bool, report: &mut Report) -> Result<(), ImageError> {
    // An image without layers has the tree that holds nothing.
    let nothing = MemoryObjects::new();
    let empty = Tree::new().store(&nothing)?;
    let of_a = a.subject.tree()?.map(|tree| TreeSide { objects: a.objects, tree });
    let of_b = b.subject.tree()?.map(|tree| TreeSide { objects: b.objects, tree });
    let none = TreeSide { objects: &nothing, tree: empty };
    let found = tree::changes(&of_a.unwrap_or(none), &of_b.unwrap_or(none), times)?;
    report.more_files = found.more;
    let mut left = Left::new();
    for change in &found.changes {
        report.files.push(file(a, b, change, times, &mut left)?);
    }
    let at: BTreeMap<String, usize> =
        report.files.iter().enumerate().map(|(at, file)| (file.path.clone(), at)).collect();
    for links in &found.links {
        let names = |paths: &[TreePath]| match paths {
            [] => "none".to_owned(),
            paths => paths.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(" = "),
        };
        let path = links.path.to_string();
        let finding = Finding::new(&path, "hard links").values(&names(&links.a), &names(&links.b));
        match at.get(&path).and_then(|at| report.files.get_mut(*at)) {
            Some(file) => file.findings.push(finding),
            None => report.files.push(FileChange {
                path,
                state: FileState::Changed,
                kind: "file",
                size: 0,
                entries: 0,
                findings: vec![finding],
            }),
        }
    }
    Ok(())
}

fn file(
    a: &Side<'_>,
    b: &Side<'_>,
    change: &TreeChange,
    times: bool,
    left: &mut Left,
) -> Result<FileChange, ImageError> {
    let path = change.path.to_string();
    let (state, node) = match (&change.a, &change.b) {
        (Some(node), None) => (FileState::Removed, Some(node)),
        (None, node) => (FileState::Added, node.as_ref()),
        (Some(_), node) => (FileState::Changed, node.as_ref()),
    };
    let size = |node: &Option<rebit_layer::Node>| node.as_ref().map_or(0, tree::size);
    let mut file = FileChange {
        kind: node.map_or("", node::kind),
        size: size(&change.a).max(size(&change.b)).max(change.below.1),
        entries: change.below.0,
        findings: Vec::new(),
        path,
        state,
    };
    if let (Some(x), Some(y)) = (&change.a, &change.b) {
        file.findings = node::compare(&file.path, x, y, times);
        if let (Kind::File { object: x, size: n, .. }, Kind::File { object: y, size: m, .. }) =
            (&x.kind, &y.kind)
            && x != y
        {
            let found = content(&file.path, a, b, (x, *n), (y, *m), left)?;
            file.findings.extend(found);
            sizes_follow(&mut file.findings);
        }
    }
    Ok(file)
}

/// A length that differs counts as little as all that makes it differ.
fn sizes_follow(findings: &mut [Finding]) {
    let content = |finding: &&Finding| finding.what != "size" && finding.ignorable != Some(Ignored::FileTime);
    let all = findings.iter().filter(content).map(|finding| finding.ignorable);
    let first = all.clone().next().flatten();
    if all.clone().all(|ignorable| ignorable.is_some()) {
        for finding in findings.iter_mut().filter(|finding| finding.what == "size") {
            finding.ignorable = first;
        }
    }
}

fn content(
    path: &str,
    a: &Side<'_>,
    b: &Side<'_>,
    (x, n): (&ObjectId, u64),
    (y, m): (&ObjectId, u64),
    left: &mut Left,
) -> Result<Vec<Finding>, ImageError> {
    let Some(rest) = left.read.checked_sub(n.saturating_add(m)).filter(|_| left.findings > 0) else {
        return Ok(vec![Finding::new(path, "content, not looked into: too much differs")]);
    };
    left.read = rest;
    let mut found = Vec::new();
    if n.max(m) <= MAX_CONTENT {
        let mut budget = Budget::default();
        let granted = budget.bytes.min(left.unpack);
        budget.bytes = granted;
        explain_into(path, &a.objects.read(x)?, &b.objects.read(y)?, &mut budget, &mut found);
        left.unpack -= granted - budget.bytes.min(granted);
    } else {
        let (mut in_a, mut in_b): (Box<dyn Read>, Box<dyn Read>) = (a.objects.open(x)?, b.objects.open(y)?);
        let streamed = explain_streams(path, &mut in_a, &mut in_b);
        found.extend(streamed.map_err(|source| ImageError::Input { source })?);
    }
    left.findings = left.findings.saturating_sub(found.len() as u64);
    Ok(found)
}

/// Takes what does not count out of the lists, and counts it.
fn leave_aside(report: &mut Report) {
    let ignored = &mut report.ignored;
    let mut counts = |finding: &Finding| match finding.ignorable {
        Some(what) => {
            *ignored.entry(what).or_default() += 1;
            false
        }
        None => true,
    };
    report.documents.retain(&mut counts);
    report.layers.retain(&mut counts);
    for file in &mut report.files {
        file.findings.retain(&mut counts);
    }
    report.files.retain(|file| file.state != FileState::Changed || !file.findings.is_empty());
}

#[cfg(test)]
mod tests;

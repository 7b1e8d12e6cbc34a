//! What is not the same in two trees, file by file.

use rebit_layer::{Change, Compare, Kind, Metadata, Node, Tree, TreePath, diff};
use rebit_oci::TreeId;

use super::builds::{Bench, Ran};
use super::content::{self, Contents};
use super::fixing;
use crate::error::{CommandError, printable};

/// A path at which two trees differ.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) path: String,
    /// What differs, in words.
    pub(super) what: String,
    /// Where two files of one name differ.
    pub(super) contents: Option<Contents>,
    /// Whether only one of the trees has the name.
    pub(super) one_sided: bool,
    /// Fixers that take it away; empty when there are none.
    pub(super) fixers: Vec<&'static str>,
}

/// How two trees differ; contents are compared for the first `looked_at` paths.
pub(super) fn between(
    bench: &Bench<'_>,
    first: &TreeId,
    second: &TreeId,
    looked_at: usize,
) -> Result<Vec<Difference>, CommandError> {
    let (first, second) = (Tree::load(first, bench.session)?, Tree::load(second, bench.session)?);
    let changes = diff(&first, &second, Compare::IgnoreMtime);
    let mut found = Vec::new();
    for (path, change) in changes.iter() {
        let shown = printable(&path.to_string());
        let (what, one_sided, contents) = match (first.get(path), change) {
            (_, Change::Remove) => ("only the first build left it".to_owned(), true, None),
            (None, Change::Upsert(_)) => ("only the second build left it".to_owned(), true, None),
            (Some(before), Change::Upsert(after)) => {
                let contents = match (&before.kind, &after.kind) {
                    (Kind::File { object: a, .. }, Kind::File { object: b, .. })
                        if a != b && found.len() < looked_at =>
                    {
                        Some(content::compare(bench.session, &shown, a, b)?).map(|contents| {
                            let public = is_public(before) && is_public(after);
                            if public { contents } else { contents.without_text() }
                        })
                    }
                    _ => None,
                };
                (what(before, after), false, contents)
            }
        };
        let fixers =
            fixing::covering(bench, path, first.get(path), second.get(path), found.len() >= looked_at)?;
        found.push(Difference { path: shown, what, contents, one_sided, fixers });
    }
    Ok(found)
}

/// Whether everyone may read a file: passwords and keys do not belong into the log of a build.
fn is_public(node: &Node) -> bool {
    node.metadata.mode & 0o004 != 0
}

fn what(before: &Node, after: &Node) -> String {
    let mut what = Vec::new();
    match (&before.kind, &after.kind) {
        (Kind::File { object: a, size: m, .. }, Kind::File { object: b, size: n, .. }) if a != b => {
            let sizes = if m == n { format!("{m} bytes") } else { format!("{m} and {n} bytes") };
            what.push(format!("content ({sizes})"));
        }
        (Kind::Symlink { target: a }, Kind::Symlink { target: b }) if a != b => {
            let text = |target: &[u8]| printable(&String::from_utf8_lossy(target));
            what.push(format!("target of the link (`{}`, `{}`)", text(a), text(b)));
        }
        (a, b) if !a.same_but_link(b) => what.push("kind of file".to_owned()),
        _ => {}
    }
    what.extend(metadata(&before.metadata, &after.metadata));
    if what.is_empty() { "hard links".to_owned() } else { what.join(", ") }
}

fn metadata(before: &Metadata, after: &Metadata) -> Vec<String> {
    let mut what = Vec::new();
    if before.mode != after.mode {
        what.push(format!("mode ({:04o}, {:04o})", before.mode, after.mode));
    }
    let owner = |metadata: &Metadata| format!("{}:{}", metadata.uid, metadata.gid);
    if owner(before) != owner(after) {
        what.push(format!("owner ({}, {})", owner(before), owner(after)));
    }
    let names = before.xattrs.keys().chain(after.xattrs.keys());
    let mut moved: Vec<String> = names
        .filter(|name| before.xattrs.get(*name) != after.xattrs.get(*name))
        .map(|name| printable(&String::from_utf8_lossy(name)))
        .collect();
    moved.sort();
    moved.dedup();
    what.extend(moved.iter().map(|name| format!("extended attribute {name}")));
    what
}

/// What moved in the contexts between two builds, in words.
pub(super) fn contexts(bench: &Bench<'_>, first: &Ran, second: &Ran) -> Result<Vec<String>, CommandError> {
    /// More are counted.
    const SHOWN: usize = 10;
    let mut moved = Vec::new();
    for (name, before) in &first.contexts {
        let Some(after) = second.contexts.get(name).filter(|after| *after != before) else { continue };
        let (before, after) = (Tree::load(before, bench.session)?, Tree::load(after, bench.session)?);
        let changes = diff(&before, &after, Compare::Exact);
        let context =
            name.as_ref().map_or_else(|| "the context".to_owned(), |name| format!("the context `{name}`"));
        let word = |path: &TreePath, change: &Change| match change {
            Change::Remove => "was removed",
            Change::Upsert(_) if before.contains(path) => "was changed",
            Change::Upsert(_) => "was added",
        };
        moved.extend(changes.iter().take(SHOWN).map(|(path, change)| {
            format!(
                "`{}` in {context} {}",
                printable(path.to_string().trim_start_matches('/')),
                word(path, change)
            )
        }));
        if changes.len() > SHOWN {
            moved.push(format!("{} more files in {context} moved", changes.len() - SHOWN));
        }
    }
    Ok(moved)
}

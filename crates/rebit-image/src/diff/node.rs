//! How two nodes at one path differ, their contents aside.

use std::collections::BTreeSet;

use rebit_layer::{Kind, Node};

use super::lines::shown;
use super::{Cause, Finding, Ignored};

/// Compares type, mode, owner, time, attributes, and what only a kind has; not the content of files.
///
/// Modification times count when `times` says so.
#[must_use]
pub fn compare(path: &str, a: &Node, b: &Node, times: bool) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut field = |what: &str, x: String, y: String, cause: Option<Cause>| {
        if x != y {
            out.push(Finding::new(path, what).values(&x, &y).because(cause));
        }
    };
    field("type", kind(a).to_owned(), kind(b).to_owned(), None);
    let (x, y) = (&a.metadata, &b.metadata);
    let links = matches!((&a.kind, &b.kind), (Kind::Symlink { .. }, _) | (_, Kind::Symlink { .. }));
    if !links {
        field("mode", format!("{:04o}", x.mode), format!("{:04o}", y.mode), Some(Cause::Owner));
    }
    let owner = |node: &Node| format!("{}:{}", node.metadata.uid, node.metadata.gid);
    field("owner", owner(a), owner(b), Some(Cause::Owner));
    match (&a.kind, &b.kind) {
        (Kind::Symlink { target: x }, Kind::Symlink { target: y }) => {
            field("link target", shown(x), shown(y), None);
        }
        (Kind::CharDevice { .. }, Kind::CharDevice { .. })
        | (Kind::BlockDevice { .. }, Kind::BlockDevice { .. }) => {
            field("device number", format!("{:?}", a.kind), format!("{:?}", b.kind), None);
        }
        (Kind::File { size: x, .. }, Kind::File { size: y, .. }) => {
            field("size", x.to_string(), y.to_string(), None);
        }
        _ => {}
    }
    let names: BTreeSet<&Vec<u8>> = x.xattrs.keys().chain(y.xattrs.keys()).collect();
    for name in names {
        let value = |node: &Node| {
            let value = node.metadata.xattrs.get(name);
            value.map_or("none".to_owned(), |value| shown(value.escape_ascii().to_string().as_bytes()))
        };
        field(&format!("attribute {}", shown(name)), value(a), value(b), None);
    }
    if times && x.mtime != y.mtime {
        let time = |seconds: i64| {
            if seconds.unsigned_abs() < 1 << 40 { crate::time::rfc3339(seconds) } else { seconds.to_string() }
        };
        let finding = Finding::new(path, "modification time").values(&time(x.mtime), &time(y.mtime));
        out.push(finding.because([Cause::Time]).ignorable(Ignored::FileTime));
    }
    out
}

/// A kind in a word or two.
pub(super) fn kind(node: &Node) -> &'static str {
    match node.kind {
        Kind::Directory => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink { .. } => "symbolic link",
        Kind::CharDevice { .. } => "character device",
        Kind::BlockDevice { .. } => "block device",
        Kind::Fifo => "pipe",
    }
}

#[cfg(test)]
mod tests {
    use rebit_layer::Metadata;
    use rebit_oci::ObjectId;

    use super::*;

    #[test]
    fn nodes_are_compared_by_field() {
        let file = |mode, time, size| Node::file(Metadata::new(mode, time), ObjectId([0; 32]), size);
        let link = |target: &str| Node::symlink(Metadata::new(0o777, 0), target);
        let mut owned = file(0o644, 0, 1);
        owned.metadata.uid = 5;
        owned.metadata.xattrs.insert(b"user.x".to_vec(), vec![0, b'a']);
        let check = |a: &Node, b: &Node, expected: &[&str]| {
            let said = |finding: &Finding| {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                format!("{} {}|{}", finding.what, text(&finding.a), text(&finding.b))
            };
            assert_eq!(compare("f", a, b, true).iter().map(said).collect::<Vec<_>>(), expected);
        };
        check(&file(0o644, 0, 1), &file(0o644, 0, 1), &[]);
        check(&file(0o644, 0, 1), &file(0o600, 0, 2), &["mode 0644|0600", "size 1|2"]);
        check(
            &file(0o644, 0, 1),
            &file(0o644, 9, 1),
            &["modification time 1970-01-01T00:00:00Z|1970-01-01T00:00:09Z"],
        );
        check(&link("a"), &link("b"), &["link target a|b"]);
        check(&link("a"), &file(0o644, 0, 1), &["type symbolic link|file"]);
        check(&file(0o644, 0, 1), &owned, &["owner 0:0|5:0", "attribute user.x none|\\x00a"]);
        assert_eq!(compare("f", &file(0, 0, 1), &file(0, 9, 1), false), []);
    }
}

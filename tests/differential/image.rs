//! What an image is, as one line for each path and for each entry of its config.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use super::tar::{self, Entry};

/// Paths such as `/etc/passwd` and entries such as `config.Env`, with what is there.
pub(crate) type Listing = BTreeMap<String, String>;

/// The entries of a config that a Dockerfile determines.
const CONFIG: [&str; 12] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

/// A path of the flattened root file system.
#[derive(Clone)]
struct Node {
    shown: String,
    /// Paths with the same number are hard links to one file.
    file: usize,
    directory: bool,
}

/// Reads an archive of `docker save` or of `rebit export`.
pub(crate) fn list(archive: &Path) -> Listing {
    let bytes = fs::read(archive).unwrap();
    let members: BTreeMap<String, Entry<'_>> =
        tar::entries(&bytes).into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    let json = |name: &str| -> serde_json::Value { serde_json::from_slice(members[name].content).unwrap() };
    let manifest = &json("manifest.json")[0];
    let mut tree = BTreeMap::new();
    let mut files = 0;
    for layer in manifest["Layers"].as_array().unwrap() {
        let mut member = &members[layer.as_str().unwrap()];
        // A layer that is there twice is a link to the first, relative to its own directory.
        while member.kind == b'2' {
            member = &members[member.link.trim_start_matches("../")];
        }
        apply(&mut tree, &tar::entries(member.content), &mut files);
    }
    let mut listing = show(&tree);
    list_config(&json(manifest["Config"].as_str().unwrap()), &mut listing);
    listing
}

fn list_config(document: &serde_json::Value, listing: &mut Listing) {
    for name in ["architecture", "os", "author"] {
        if let Some(value) = document[name].as_str().filter(|value| !value.is_empty()) {
            listing.insert(format!("config.{name}"), value.to_owned());
        }
    }
    for name in CONFIG {
        let value = document["config"][name].to_string();
        if !matches!(value.as_str(), "null" | "\"\"" | "[]" | "{}") {
            listing.insert(format!("config.{name}"), value);
        }
    }
}

fn parent_and_name(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Changes `tree` by a layer: first what it removes, then what it adds.
fn apply(tree: &mut BTreeMap<String, Node>, layer: &[Entry<'_>], files: &mut usize) {
    let cleaned = |path: &str| {
        let path = path.trim_start_matches("./").trim_matches('/');
        if matches!(path, "" | ".") { String::new() } else { format!("/{path}") }
    };
    for entry in layer {
        let path = cleaned(&entry.path);
        let (parent, name) = parent_and_name(&path);
        if name == ".wh..wh..opq" {
            remove_below(tree, parent);
        } else if let Some(removed) = name.strip_prefix(".wh.") {
            remove(tree, &format!("{parent}/{removed}"));
        }
    }
    for entry in layer {
        let path = cleaned(&entry.path);
        if path.is_empty() || parent_and_name(&path).1.starts_with(".wh.") {
            continue;
        }
        let node = match entry.kind {
            b'1' => {
                let target = cleaned(&entry.link);
                tree.get(&target).unwrap_or_else(|| panic!("{path} is a hard link to nothing")).clone()
            }
            _ => {
                *files += 1;
                Node { shown: describe(entry), file: *files, directory: entry.kind == b'5' }
            }
        };
        if !node.directory {
            remove_below(tree, &path);
        }
        tree.insert(path, node);
    }
}

fn remove(tree: &mut BTreeMap<String, Node>, path: &str) {
    tree.remove(path);
    remove_below(tree, path);
}

fn remove_below(tree: &mut BTreeMap<String, Node>, path: &str) {
    let below = format!("{path}/");
    tree.retain(|path, _| !path.starts_with(&below));
}

fn describe(entry: &Entry<'_>) -> String {
    let owner = format!("{}:{}", entry.uid, entry.gid);
    let mode = format!("{:04o}", entry.mode & 0o7777);
    let mut shown = match entry.kind {
        b'0' | b'7' => format!("file {mode} {owner} {}", content(entry.content)),
        b'2' => format!("link {owner} -> {}", entry.link),
        b'3' => format!("char {mode} {owner} {:?}", entry.device),
        b'4' => format!("block {mode} {owner} {:?}", entry.device),
        b'5' => format!("dir {mode} {owner}"),
        b'6' => format!("fifo {mode} {owner}"),
        other => panic!("{} is of the unknown kind {other}", entry.path),
    };
    for (name, value) in &entry.xattrs {
        shown.push_str(&format!(" {name}={}", value.escape_ascii()));
    }
    shown
}

/// Short text as it is; anything else as its length and a hash.
fn content(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= 160 => format!("{text:?}"),
        _ => {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            format!("({} bytes, {:016x})", bytes.len(), hasher.finish())
        }
    }
}

fn show(tree: &BTreeMap<String, Node>) -> Listing {
    let mut links: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (path, node) in tree {
        links.entry(node.file).or_default().push(path);
    }
    let shown = |(path, node): (&String, &Node)| {
        let others: String = links[&node.file]
            .iter()
            .filter(|other| *other != path)
            .map(|other| format!(" = {other}"))
            .collect();
        (path.clone(), format!("{}{others}", node.shown))
    };
    tree.iter().map(shown).collect()
}

#[test]
fn layers_are_laid_over_each_other() {
    fn entry<'a>(path: &'a str, kind: u8, link: &str) -> Entry<'a> {
        let (path, content, link) = (path.to_owned(), path.as_bytes(), link.to_owned());
        let (mode, uid, gid, device, xattrs) = (0o644, 1, 2, (0, 0), BTreeMap::new());
        Entry { path, kind, mode, uid, gid, device, link, xattrs, content }
    }
    let file = |path: &'static str| entry(path, b'0', "");
    let directory = |path: &'static str| entry(path, b'5', "");
    let layers = [
        vec![
            directory("./"),
            directory("d/"),
            file("d/a"),
            file("d/b"),
            entry("h", b'1', "d/a"),
            directory("e"),
            file("e/x"),
        ],
        vec![file("d/.wh.b"), directory("e"), file("e/y"), file("e/.wh..wh..opq"), file("new")],
        vec![entry("d", b'2', "e")],
    ];
    let (mut tree, mut files) = (BTreeMap::new(), 0);
    let mut after = |layer: &[Entry<'_>]| {
        apply(&mut tree, layer, &mut files);
        show(&tree)
    };
    let first = after(&layers[0]);
    assert_eq!(first["/h"], "file 0644 1:2 \"d/a\" = /d/a");
    let second = after(&layers[1]);
    assert_eq!(second.keys().collect::<Vec<_>>(), ["/d", "/d/a", "/e", "/e/y", "/h", "/new"]);
    let third = after(&layers[2]);
    assert_eq!(third.keys().collect::<Vec<_>>(), ["/d", "/e", "/e/y", "/h", "/new"]);
    assert_eq!((third["/d"].as_str(), third["/h"].as_str()), ("link 1:2 -> e", "file 0644 1:2 \"d/a\""));
}

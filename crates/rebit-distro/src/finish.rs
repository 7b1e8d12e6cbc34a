//! What every image gets that no package has: users, files of the recipe, and for an image without scripts what scripts would do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rebit_layer::{Kind, Metadata, Node, TreePath};

use crate::DistroError;
use crate::assemble::Unpacked;
use crate::edit::Editor;
use crate::recipe::{Recipe, User};

/// Where the certificates of authorities are, and the one file that programs read.
const CERTIFICATES: &str = "usr/share/ca-certificates";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// What the database of packages is for an image that has no dpkg: one file for each package. Scanners know it.
const STATUS: &str = "var/lib/dpkg/status.d";

/// The users of an image without scripts: name, number, group, home, mode of the home.
const USERS: [(&str, u32, &str, u32); 3] = [
    ("root", 0, "/root", 0o700),
    ("nobody", 65_534, "/nonexistent", 0),
    ("nonroot", 65_532, "/home/nonroot", 0o700),
];
/// The groups of an image without scripts.
const GROUPS: [(&str, u32); 5] =
    [("root", 0), ("nobody", 65_534), ("tty", 5), ("staff", 50), ("nonroot", 65_532)];
const NO_SHELL: &str = "/sbin/nologin";

/// Whether an image of files only has an entry: manuals, and documentation other than licences, are left out.
pub(crate) fn is_kept(path: &TreePath, node: &Node) -> bool {
    let parts: Vec<&[u8]> = path.components().collect();
    match parts.as_slice() {
        [b"usr", b"share", b"man" | b"info" | b"lintian" | b"bug" | b"menu" | b"doc-base" | b"linda", ..] => {
            false
        }
        [b"usr", b"share", b"doc", _] => true,
        [b"usr", b"share", b"doc", _, b"copyright"] => true,
        // A directory that other packages' links lead to.
        [b"usr", b"share", b"doc", ..] => matches!(node.kind, Kind::Symlink { .. }) && parts.len() == 4,
        _ => true,
    }
}

/// Completes an image of files only.
pub(crate) fn distroless(
    editor: &mut Editor<'_>,
    packages: &[Unpacked],
    recipe: &Recipe,
) -> Result<(), DistroError> {
    for unpacked in packages {
        let name = &unpacked.package.name;
        editor.write(&format!("{STATUS}/{name}"), &unpacked.control_text)?;
        if let Some(sums) = unpacked.deb.control_file("md5sums", editor.session)? {
            editor.write(&format!("{STATUS}/{name}.md5sums"), &sums)?;
        }
    }
    certificates(editor)?;
    let (mut passwd, mut group) = (String::new(), String::new());
    for (name, number, home, mode) in USERS {
        let _ = writeln!(passwd, "{name}:x:{number}:{number}:{name}:{home}:{NO_SHELL}");
        if mode != 0 {
            let metadata = Metadata { uid: number, gid: number, ..Metadata::new(mode, editor.epoch) };
            editor.directory(home, metadata)?;
        }
    }
    for (name, number) in GROUPS {
        let _ = writeln!(group, "{name}:x:{number}:");
    }
    editor.write("etc/passwd", passwd.as_bytes())?;
    editor.write("etc/group", group.as_bytes())?;
    editor.directory("tmp", Metadata::new(0o1777, editor.epoch))?;
    if !editor.exists("etc/nsswitch.conf") {
        let text = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n";
        editor.write("etc/nsswitch.conf", text.as_bytes())?;
    }
    if editor.exists("usr/lib/os-release") && !editor.exists("etc/os-release") {
        editor.link("etc/os-release", "../usr/lib/os-release")?;
    }
    users(editor, recipe)
}

/// Makes the one file of all certificates, as `update-ca-certificates` does: one after the other, by name.
fn certificates(editor: &mut Editor<'_>) -> Result<(), DistroError> {
    let directory = editor.resolve(CERTIFICATES)?;
    let is_one = |path: &TreePath| path.file_name().is_some_and(|name| name.ends_with(b".crt"));
    let paths: Vec<String> = editor
        .tree
        .below(&directory)
        .filter(|(path, node)| is_one(path) && matches!(node.kind, Kind::File { .. }))
        .map(|(path, _)| path.to_string())
        .collect();
    if paths.is_empty() {
        return Ok(());
    }
    let mut bundle = Vec::new();
    for path in paths {
        bundle.extend(editor.read(&path)?.unwrap_or_default());
        if bundle.last() != Some(&b'\n') {
            bundle.push(b'\n');
        }
    }
    editor.write(BUNDLE, &bundle)
}

/// Adds the recipe's users and groups to those that are there.
pub(crate) fn users(editor: &mut Editor<'_>, recipe: &Recipe) -> Result<(), DistroError> {
    let mut groups: BTreeMap<&str, u32> =
        recipe.groups.iter().map(|(name, gid)| (name.as_str(), *gid)).collect();
    for (name, user) in &recipe.users {
        if user.gid.is_none() {
            groups.entry(name).or_insert(user.uid);
        }
    }
    let mut text = editor.text("etc/group")?;
    for (name, gid) in &groups {
        set_line(&mut text, name, &format!("{name}:x:{gid}:"));
    }
    if !groups.is_empty() {
        editor.write("etc/group", text.as_bytes())?;
    }
    if recipe.users.is_empty() {
        return Ok(());
    }
    let mut text = editor.text("etc/passwd")?;
    let has_shadow = editor.exists("etc/shadow");
    let mut shadow = editor.text("etc/shadow")?;
    for (name, user) in &recipe.users {
        let User { uid, gid, home, shell } = user;
        let gid = gid.unwrap_or(*uid);
        let (home, shell) = (home.as_deref().unwrap_or("/nonexistent"), shell.as_deref().unwrap_or(NO_SHELL));
        set_line(&mut text, name, &format!("{name}:x:{uid}:{gid}:{name}:{home}:{shell}"));
        if has_shadow {
            set_line(&mut shadow, name, &format!("{name}:*:{}::::::", editor.epoch / 86_400));
        }
        if user.home.is_some() && !editor.exists(home) {
            let metadata = Metadata { uid: *uid, gid, ..Metadata::new(0o700, editor.epoch) };
            editor.directory(home, metadata)?;
        }
    }
    editor.write("etc/passwd", text.as_bytes())?;
    if has_shadow { editor.write("etc/shadow", shadow.as_bytes()) } else { Ok(()) }
}

/// Puts a line in place of the one that begins with the same name, or at the end.
fn set_line(text: &mut String, name: &str, line: &str) {
    let is_its = |old: &&str| old.split(':').next() == Some(name);
    let mut lines: Vec<&str> = text.lines().filter(|old| !is_its(old)).collect();
    lines.push(line);
    *text = format!("{}\n", lines.join("\n"));
}

/// Puts the recipe's files in. `contents` are those of the files that are neither links nor directories.
pub(crate) fn files(
    editor: &mut Editor<'_>,
    recipe: &Recipe,
    contents: &BTreeMap<String, Vec<u8>>,
) -> Result<(), DistroError> {
    for (path, spec) in &recipe.files {
        let wrong = |reason: String| DistroError::place(path, editor.of, reason);
        let (uid, gid) = spec.owner().map_err(wrong)?;
        let mode = spec.mode().map_err(wrong)?;
        let metadata = Metadata { uid, gid, ..Metadata::new(mode, editor.epoch) };
        match (&spec.link, contents.get(path)) {
            (Some(target), _) => editor.link(path, target)?,
            (None, Some(content)) => editor.put_file(path, content, metadata)?,
            (None, None) => editor.directory(path, metadata)?,
        }
    }
    Ok(())
}

/// The numbers of a user that is a name in the image; Kubernetes and others believe in numbers only.
pub(crate) fn numeric_user(editor: &Editor<'_>, user: &str) -> Result<String, DistroError> {
    let passwd = editor.text("etc/passwd")?;
    let known = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, uid, ..] if *name == user => Some((*uid).to_owned()),
            _ => None,
        }
    });
    let is_number = user.split(':').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    match known {
        Some(uid) => Ok(uid),
        None if is_number => Ok(user.to_owned()),
        None => Err(DistroError::place("/etc/passwd", editor.of, format!("it has no user `{user}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::assemble;
    use crate::assemble::tests::unpacked;
    use crate::deb::tests::lab;
    use crate::recipe::Recipes;

    fn recipe(keys: &str) -> Recipe {
        let text = format!("[image.x]\ndebian = {{ suite = \"s\", variant = \"distroless\", {keys} }}\n");
        Recipes::parse(&text, "f").unwrap().iter().next().unwrap().1.clone()
    }

    #[test]
    fn an_image_of_files_only_gets_what_scripts_would_make() {
        // D-23, D-24, D-25, D-26
        let (_directory, session) = lab();
        let data: [(&str, &[u8]); 6] = [
            ("usr/share/ca-certificates/mozilla/B.crt", b"b"),
            ("usr/share/ca-certificates/mozilla/A.crt", b"a\n"),
            ("usr/share/doc/a/copyright", b"c"),
            ("usr/share/doc/a/changelog.gz", b"c"),
            ("usr/share/man/man1/a.1.gz", b"m"),
            ("usr/lib/os-release", b"ID=debian\n"),
        ];
        let packages = [unpacked(&session, "a", "Description: x\n", &data)];
        let place = |_: &Unpacked, path: &TreePath, node: &Node| is_kept(path, node).then(|| path.clone());
        let tree = assemble(&packages, "amd64", 0, &place).unwrap();
        let mut editor = Editor { tree, session: &session, epoch: 0, of: "x" };
        let recipe = recipe(
            r#"users = { app = { uid = 7, home = "/app" } }, groups = { extra = 9 }, files = { "/etc/x" = { content = "y", mode = "0600" }, "/sh" = { link = "bin/x" }, "/d" = { mode = "0700" } }"#,
        );
        distroless(&mut editor, &packages, &recipe).unwrap();
        let contents = recipe.read_sources(std::path::Path::new("/nonexistent")).unwrap();
        files(&mut editor, &recipe, &contents).unwrap();
        assert_eq!(editor.text(BUNDLE).unwrap(), "a\nb\n");
        assert!(editor.text("var/lib/dpkg/status.d/a").unwrap().contains("Description: x\n"));
        assert!(editor.text("etc/passwd").unwrap().ends_with(
            "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\napp:x:7:7:app:/app:/sbin/nologin\n"
        ));
        assert!(editor.text("etc/group").unwrap().ends_with("nonroot:x:65532:\napp:x:7:\nextra:x:9:\n"));
        assert_eq!(editor.text("etc/os-release").unwrap(), "ID=debian\n");
        assert!(editor.text("etc/nsswitch.conf").unwrap().contains("hosts: files dns\n"));
        for gone in ["usr/share/doc/a/changelog.gz", "usr/share/man/man1/a.1.gz", "usr/share/man"] {
            assert!(!editor.exists(gone), "{gone}");
        }
        assert!(editor.exists("usr/share/doc/a/copyright"));
        let mode = |path: &str| editor.tree.get(&TreePath::parse(path).unwrap()).unwrap().metadata.clone();
        assert_eq!((mode("home/nonroot").mode, mode("home/nonroot").uid), (0o700, 65_532));
        assert_eq!(
            (mode("app").uid, mode("tmp").mode, mode("etc/x").mode, mode("d").mode),
            (7, 0o1777, 0o600, 0o700)
        );
        assert_eq!(numeric_user(&editor, "nonroot").unwrap(), "65532");
        assert_eq!(numeric_user(&editor, "1:2").unwrap(), "1:2");
        assert!(numeric_user(&editor, "nobody else").is_err());
    }
}

//! A system: packages set up by their maintainers' scripts, and what these leave behind brought into shape.
//!
//! The files are put together as [`dpkg --unpack`] would leave them: in place, configuration files under a name of their own,
//! and a database that says `unpacked`. Then the image's own dpkg configures them, in a sandbox without a network. Which order it
//! takes is its affair and depends on the database alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rebit_layer::{Metadata, Node, TreePath};
use rebit_oci::TreeId;

use crate::assemble::Unpacked;
use crate::edit::Editor;
use crate::lock::LockedImage;
use crate::recipe::Recipe;
use crate::{DistroError, HostError};

const DPKG: &str = "var/lib/dpkg";
/// What a new configuration file is called until its package is configured.
const NEW: &[u8] = b".dpkg-new";

/// Runs programs in a tree.
pub trait Scripts {
    /// Runs a program whose root file system is `tree`, as root, without a network; returns the tree that it leaves.
    ///
    /// # Errors
    /// When the program could not be run, or ended with something else than 0.
    fn run(&self, tree: &TreeId, command: &Command) -> Result<TreeId, HostError>;
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
}

/// Where an entry of a package goes before the package is configured.
pub(crate) fn place(unpacked: &Unpacked, path: &TreePath, node: &Node) -> Option<TreePath> {
    if !unpacked.conffiles.contains(path) || node.is_directory() {
        return Some(path.clone());
    }
    let name = [path.file_name().unwrap_or_default(), NEW].concat();
    path.parent().and_then(|parent| parent.join(name).ok())
}

/// Writes the database of dpkg: every package is unpacked, and none is configured.
pub(crate) fn database(editor: &mut Editor<'_>, packages: &[Unpacked]) -> Result<(), DistroError> {
    let directory = Metadata::directory(editor.epoch);
    for name in ["info", "updates", "triggers", "alternatives", "parts"] {
        editor.directory(&format!("{DPKG}/{name}"), directory.clone())?;
    }
    let mut status = String::new();
    let mut triggers = Triggers::default();
    for unpacked in packages {
        let stem = stem(unpacked);
        editor.write(&format!("{DPKG}/info/{stem}.list"), &listing(unpacked))?;
        let names: Vec<(String, u32)> = unpacked
            .deb
            .control
            .children(&TreePath::root())
            .filter_map(|(path, node)| {
                Some((String::from_utf8(path.file_name()?.to_vec()).ok()?, node.metadata.mode))
            })
            .filter(|(name, _)| name != "control")
            .collect();
        for (name, mode) in names {
            let Some(content) = unpacked.deb.control_file(&name, editor.session)? else { continue };
            if name == "triggers" {
                triggers.read(unpacked, &String::from_utf8_lossy(&content));
            }
            let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
            let metadata = Metadata::new(mode, editor.epoch);
            editor.put_file(&format!("{DPKG}/info/{stem}.{name}"), &content, metadata)?;
        }
        entry(unpacked, &mut status);
    }
    editor.write(&format!("{DPKG}/info/format"), b"1\n")?;
    editor.write(&format!("{DPKG}/status"), status.as_bytes())?;
    for name in ["available", "diversions", "statoverride"] {
        if !editor.exists(&format!("{DPKG}/{name}")) {
            editor.write(&format!("{DPKG}/{name}"), b"")?;
        }
    }
    for (name, text) in triggers.files {
        editor.write(&format!("{DPKG}/triggers/{name}"), text.as_bytes())?;
    }
    Ok(())
}

/// What the files about a package are called by.
fn stem(unpacked: &Unpacked) -> String {
    let name = &unpacked.package.name;
    if unpacked.control.text("Multi-Arch") == "same" {
        format!("{name}:{}", unpacked.package.architecture)
    } else {
        name.clone()
    }
}

/// Every path of the package, as dpkg lists them.
fn listing(unpacked: &Unpacked) -> Vec<u8> {
    let mut list = b"/.\n".to_vec();
    for (path, _) in unpacked.deb.data.iter().filter(|(path, _)| !path.is_root()) {
        list.push(b'/');
        list.extend_from_slice(path.as_bytes());
        list.push(b'\n');
    }
    list
}

/// The package's paragraph in the database.
fn entry(unpacked: &Unpacked, status: &mut String) {
    let text = String::from_utf8_lossy(&unpacked.control_text);
    for (number, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        status.push_str(line);
        status.push('\n');
        // `Package` is the first field of every control file that dpkg made; where is no matter to dpkg.
        if number == 0 {
            status.push_str("Status: install ok unpacked\n");
        }
    }
    if !unpacked.conffiles.is_empty() {
        status.push_str("Conffiles:\n");
        for path in &unpacked.conffiles {
            let _ = writeln!(status, " {path} newconffile");
        }
    }
    status.push('\n');
}

/// Who is interested in which trigger (deb-triggers(5)), as dpkg notes it when it unpacks.
#[derive(Default)]
struct Triggers {
    files: BTreeMap<String, String>,
}

impl Triggers {
    fn read(&mut self, unpacked: &Unpacked, text: &str) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(word), Some(name)) = (words.next(), words.next()) else { continue };
            let suffix = match word {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            let package = &unpacked.package.name;
            if name.starts_with('/') {
                let _ =
                    writeln!(self.files.entry("File".to_owned()).or_default(), "{name} {package}{suffix}");
            } else if crate::relation::is_name(name) {
                let _ = writeln!(self.files.entry(name.to_owned()).or_default(), "{package}{suffix}");
            }
        }
    }
}

/// The commands that set the packages up.
pub(crate) fn command(packages: &[Unpacked], epoch: i64) -> Command {
    // What only a script before unpacking does, and what all others rely on: base-passwd makes the users.
    let order = |unpacked: &&Unpacked| unpacked.package.name != "base-passwd";
    let mut scripts: Vec<&Unpacked> =
        packages.iter().filter(|p| p.deb.control.contains(&control_path("preinst"))).collect();
    scripts.sort_by_key(order);
    let mut text = String::from("set -e\n");
    for unpacked in scripts {
        let (name, stem) = (&unpacked.package.name, stem(unpacked));
        let _ = writeln!(
            text,
            "DPKG_MAINTSCRIPT_PACKAGE='{name}' DPKG_MAINTSCRIPT_ARCH='{}' DPKG_MAINTSCRIPT_NAME=preinst DPKG_ROOT= DPKG_ADMINDIR=/{DPKG} '/{DPKG}/info/{stem}.preinst' install",
            unpacked.package.architecture
        );
    }
    // The two that make users and directories come first, as in every installation of Debian.
    let known = |name: &str| packages.iter().any(|unpacked| unpacked.package.name == name);
    let first: Vec<&str> = ["base-passwd", "base-files"].into_iter().filter(|name| known(name)).collect();
    if !first.is_empty() {
        let _ = writeln!(text, "dpkg --force-depends --configure {}", first.join(" "));
    }
    text.push_str("dpkg --configure -a\n");
    let env = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DPKG_RUNNING_VERSION", ""),
        // The order of what is kept in tables.
        ("PERL_HASH_SEED", "0"),
        ("PYTHONHASHSEED", "0"),
        ("SOURCE_DATE_EPOCH", &epoch.to_string()),
    ];
    let env = env.into_iter().filter(|(_, value)| !value.is_empty());
    Command {
        args: ["/bin/sh", "-c", &text].map(str::to_owned).into(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn control_path(name: &str) -> TreePath {
    TreePath::parse(name).unwrap_or_else(|_| unreachable!("a plain name is a path"))
}

/// What scripts are known to leave behind, by path, and what becomes of it. `docs/distro.md` has the same list.
const REMOVED: [&str; 13] = [
    "var/cache/ldconfig/aux-cache",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/fontconfig.log",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/debconf/passwords.dat-old",
];
/// Copies that programs make of what they change.
const BACKUPS: [(&str, &str); 2] = [("etc", "-"), ("var/lib/dpkg", "-old")];
/// Directories whose content is gone when a system starts, or can be made again.
const EMPTIED: [&str; 5] = ["run", "tmp", "var/tmp", "var/cache/apt", "var/log/apt"];

/// Brings what the scripts left behind into shape; returns what was found, for people.
pub(crate) fn normalise(editor: &mut Editor<'_>) -> Result<Vec<String>, DistroError> {
    let mut found = Vec::new();
    for path in REMOVED {
        if editor.remove(path)? {
            found.push(format!("removed /{path}"));
        }
    }
    for (directory, end) in BACKUPS {
        for name in editor.names(directory)? {
            let base = name.strip_suffix(end).filter(|base| !base.is_empty());
            if base.is_some_and(|base| editor.exists(&format!("{directory}/{base}"))) {
                editor.remove(&format!("{directory}/{name}"))?;
                found.push(format!("removed /{directory}/{name}"));
            }
        }
    }
    for directory in EMPTIED {
        // `/var/lock` leads to `/run/lock`.
        if editor.exists(directory) && editor.empty(directory, |name| name == b"lock")? > 0 {
            found.push(format!("emptied /{directory}"));
        }
    }
    if editor.read("etc/machine-id")?.is_some_and(|content| !content.is_empty()) {
        // An empty file is what a system makes its identity in when it starts.
        editor.write("etc/machine-id", b"")?;
        found.push("emptied /etc/machine-id".to_owned());
    }
    if let Some(shadow) = editor.read("etc/shadow")? {
        let day = (editor.epoch / 86_400).to_string();
        let set = set_days(&String::from_utf8_lossy(&shadow), &day);
        if set.as_bytes() != shadow {
            editor.write("etc/shadow", set.as_bytes())?;
            found.push("set the days in /etc/shadow".to_owned());
        }
    }
    Ok(found)
}

/// Sets the day on which each password was changed last.
fn set_days(shadow: &str, day: &str) -> String {
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(field) = fields.get_mut(2).filter(|field| !field.is_empty()) {
            *field = day;
        }
        format!("{}\n", fields.join(":"))
    };
    shadow.lines().map(line).collect()
}

/// Tells the system's own apt where its packages came from.
pub(crate) fn sources(
    editor: &mut Editor<'_>,
    image: &LockedImage,
    recipe: &Recipe,
) -> Result<(), DistroError> {
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let signed = recipe.keyrings.is_empty() && editor.exists(keyring.trim_start_matches('/'));
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for archive in &image.archives {
        if !seen.insert((&archive.uri, &archive.suite)) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let components = archive.components.join(" ");
        let _ = write!(
            text,
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {components}\n",
            archive.uri, archive.suite
        );
        if signed {
            let _ = writeln!(text, "Signed-By: {keyring}");
        }
    }
    editor.write("etc/apt/sources.list.d/debian.sources", text.as_bytes())
}

#[cfg(test)]
mod tests {
    use rebit_layer::Tree;

    use super::*;
    use crate::assemble::assemble;
    use crate::assemble::tests::unpacked;
    use crate::deb::tests::lab;

    #[test]
    fn the_database_says_what_unpacking_leaves() {
        // D-30, D-31
        let (_directory, session) = lab();
        let same = unpacked(&session, "b", "Multi-Arch: same\n", &[("usr/b", b"")]);
        let packages = [unpacked(&session, "a", "", &[("etc/", b""), ("etc/conf", b"x")]), same];
        let tree = assemble(&packages, "amd64", 0, &place).unwrap();
        let mut editor = Editor { tree, session: &session, epoch: 0, of: "x" };
        database(&mut editor, &packages).unwrap();
        assert!(editor.exists("etc/conf.dpkg-new") && !editor.exists("etc/conf"));
        let status = editor.text("var/lib/dpkg/status").unwrap();
        assert!(status.starts_with("Package: a\nStatus: install ok unpacked\nVersion: 1\nArchitecture: all\nConffiles:\n /etc/conf newconffile\n\nPackage: b\n"), "{status}");
        assert_eq!(editor.text("var/lib/dpkg/info/a.list").unwrap(), "/.\n/etc\n/etc/conf\n");
        assert!(editor.exists("var/lib/dpkg/info/b:all.list"));
        assert_eq!(editor.text("var/lib/dpkg/info/a.conffiles").unwrap(), "/etc/conf\n");
        let command = command(&packages, 86_400);
        assert_eq!(command.args[2], "set -e\ndpkg --configure -a\n");
        assert!(command.env.contains(&("SOURCE_DATE_EPOCH".to_owned(), "86400".to_owned())));
    }

    #[test]
    fn triggers_are_noted_as_dpkg_does() {
        let (_directory, session) = lab();
        let package = unpacked(&session, "a", "", &[("x", b"")]);
        let mut triggers = Triggers::default();
        triggers.read(&package, "# c\ninterest /usr/lib # x\ninterest-noawait ldconfig\nactivate other\n");
        assert_eq!(triggers.files["File"], "/usr/lib a\n");
        assert_eq!(triggers.files["ldconfig"], "a/noawait\n");
        assert_eq!(triggers.files.len(), 2);
    }

    #[test]
    fn what_scripts_leave_is_brought_into_shape_and_listed() {
        // D-32
        let (_directory, session) = lab();
        let mut editor = Editor { tree: Tree::new(), session: &session, epoch: 864_000, of: "x" };
        for path in [
            "var/log/dpkg.log",
            "etc/passwd",
            "etc/passwd-",
            "etc/a-",
            "tmp/x",
            "var/lib/dpkg/status",
            "var/lib/dpkg/status-old",
        ] {
            editor.write(path, b"x").unwrap();
        }
        editor.write("etc/machine-id", b"0123\n").unwrap();
        editor.write("etc/shadow", b"root:*:20000:0:99999:7:::\nx:!::\n").unwrap();
        let found = normalise(&mut editor).unwrap();
        assert_eq!(
            found,
            [
                "removed /var/log/dpkg.log",
                "removed /etc/passwd-",
                "removed /var/lib/dpkg/status-old",
                "emptied /tmp",
                "emptied /etc/machine-id",
                "set the days in /etc/shadow"
            ]
        );
        assert_eq!(editor.text("etc/shadow").unwrap(), "root:*:10:0:99999:7:::\nx:!::\n");
        assert!(editor.exists("etc/a-") && editor.exists("etc/passwd") && editor.exists("tmp"));
        assert!(normalise(&mut editor).unwrap().is_empty());
    }
}

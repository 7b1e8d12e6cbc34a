//! The files of packages, put together.
//!
//! `/usr` is merged first, as Debian has it: `/bin`, `/sbin` and `/lib` lead into it, and a package's files are put where these links lead.
//! Packages come by name, `base-files` before all others: the first that has a directory says whose it is. A file that two packages
//! have is the one's that says it replaces the other, and otherwise an error.

use std::collections::{BTreeMap, BTreeSet};

use rebit_layer::{Kind, Metadata, Node, Tree, TreePath};
use rebit_store::Session;

use crate::DistroError;
use crate::deb::Deb;
use crate::deb822::{self, Paragraph};
use crate::error::InTree as _;
use crate::lock::LockedPackage;
use crate::relation;
use crate::version::Version;

/// A package and what its file holds.
#[derive(Debug)]
pub struct Unpacked {
    /// Its pin.
    pub package: LockedPackage,
    /// What it holds.
    pub deb: Deb,
    /// Its control file.
    pub control: Paragraph,
    /// The text of that.
    pub control_text: Vec<u8>,
    /// The paths of its configuration files.
    pub conffiles: BTreeSet<TreePath>,
}

impl Unpacked {
    /// Reads what is needed of a package's control files.
    ///
    /// # Errors
    /// [`DistroError::Index`] when they are not what the pin says.
    pub fn new(package: &LockedPackage, deb: Deb, session: &Session) -> Result<Self, DistroError> {
        let wrong = |reason: &str| DistroError::Index {
            index: package.file.clone(),
            package: package.name.clone(),
            reason: reason.to_owned(),
        };
        let control_text =
            deb.control_file("control", session)?.ok_or_else(|| wrong("it has no control file"))?;
        let control = deb822::paragraph(&control_text).map_err(|error| wrong(&error.to_string()))?;
        let version = control.text("Version").parse::<Version>().ok();
        if control.text("Package") != package.name || version != package.version.parse().ok() {
            return Err(wrong("its control file is that of another package"));
        }
        let conffiles = deb.control_file("conffiles", session)?.unwrap_or_default();
        let conffiles = String::from_utf8_lossy(&conffiles)
            .lines()
            .filter(|line| line.starts_with('/'))
            .filter_map(|line| TreePath::normalise(line.trim_end()).ok())
            .collect();
        Ok(Self { package: package.clone(), deb, control, control_text, conffiles })
    }

    fn replaces(&self, other: &Self) -> Result<bool, DistroError> {
        let field = self.control.text("Replaces");
        let groups = relation::parse(field).map_err(|source| DistroError::Relation {
            package: self.package.name.clone(),
            field: "Replaces",
            source,
        })?;
        let version = other.package.version.parse::<Version>();
        Ok(groups.iter().flatten().any(|relation| {
            relation.name == other.package.name
                && version.as_ref().is_ok_and(|version| relation.takes(version))
        }))
    }
}

/// The links of a merged `/usr`.
fn merged(architecture: &str) -> Vec<&'static str> {
    let mut names = vec!["bin", "lib", "sbin"];
    if matches!(architecture, "amd64" | "ppc64el" | "loong64" | "mips64el") {
        names.push("lib64");
    }
    names
}

/// Puts the files of packages together. `place` may give an entry another path, or leave it out.
///
/// # Errors
/// [`DistroError::FileConflict`], [`DistroError::Place`].
pub fn assemble(
    packages: &[Unpacked],
    architecture: &str,
    epoch: i64,
    place: &dyn Fn(&Unpacked, &TreePath, &Node) -> Option<TreePath>,
) -> Result<Tree, DistroError> {
    let mut tree = Tree::with_root(Metadata::directory(epoch));
    let directory = Metadata::directory(epoch);
    for name in merged(architecture) {
        let of = "the merged /usr";
        let (link, target) = (TreePath::parse(name).at(name, of)?, format!("usr/{name}"));
        let path = TreePath::parse(&target).at(&target, of)?;
        tree.insert(path, Node::directory(directory.clone()), &directory).at(&target, of)?;
        tree.insert(link, Node::symlink(directory.clone(), target), &directory).at(name, of)?;
    }
    let mut merge = Merge { tree, packages, owners: BTreeMap::new(), epoch };
    let first = packages.iter().position(|unpacked| unpacked.package.name == "base-files");
    let rest = (0..packages.len()).filter(|number| Some(*number) != first);
    for number in first.into_iter().chain(rest) {
        merge.add(number, place)?;
    }
    merge.tree.set_mtimes(epoch);
    Ok(merge.tree)
}

struct Merge<'a> {
    tree: Tree,
    packages: &'a [Unpacked],
    /// Which package a file came with.
    owners: BTreeMap<TreePath, usize>,
    epoch: i64,
}

impl Merge<'_> {
    fn add(
        &mut self,
        number: usize,
        place: &dyn Fn(&Unpacked, &TreePath, &Node) -> Option<TreePath>,
    ) -> Result<(), DistroError> {
        let Some(unpacked) = self.packages.get(number) else { return Ok(()) };
        let of = unpacked.package.name.as_str();
        let mut links: BTreeMap<u32, u32> = BTreeMap::new();
        // Files of a directory come together.
        let mut last: Option<(TreePath, TreePath)> = None;
        for (path, node) in unpacked.deb.data.iter().filter(|(path, _)| !path.is_root()) {
            let Some(placed) = place(unpacked, path, node) else { continue };
            let parent = placed.parent().unwrap_or_else(TreePath::root);
            let resolved = match &last {
                Some((written, resolved)) if *written == parent => resolved.clone(),
                _ => self.tree.resolve(&parent, true).at(&placed, of)?,
            };
            last = Some((parent, resolved.clone()));
            let target = resolved.join(placed.file_name().unwrap_or_default()).at(&placed, of)?;
            let mut node = node.clone();
            node.metadata.mtime = self.epoch;
            if node.link() != 0 {
                let link = *links.entry(node.link()).or_insert_with(|| self.tree.fresh_link());
                node.set_link(link);
            }
            self.put(number, target, node)?;
        }
        Ok(())
    }

    fn put(&mut self, number: usize, target: TreePath, node: Node) -> Result<(), DistroError> {
        let Some(unpacked) = self.packages.get(number) else { return Ok(()) };
        let of = unpacked.package.name.as_str();
        if let Some(there) = self.tree.get(&target) {
            let leads_to_directory =
                self.tree.resolve(&target, true).is_ok_and(|path| self.tree.is_directory(&path));
            if node.is_directory() && leads_to_directory {
                return Ok(());
            }
            let same = there.kind.same_but_link(&node.kind) && there.metadata.same_but_mtime(&node.metadata);
            if same {
                return Ok(());
            }
            let owner = self.owners.get(&target).and_then(|owner| self.packages.get(*owner));
            match owner {
                Some(owner) if owner.replaces(unpacked)? => return Ok(()),
                Some(owner) if unpacked.replaces(owner)? && !there.is_directory() => {}
                _ => {
                    let other = owner.map_or("the merged /usr", |owner| &owner.package.name).to_owned();
                    let (path, package) = (target.to_string(), of.to_owned());
                    return Err(DistroError::FileConflict { path, package, other });
                }
            }
        }
        if !matches!(node.kind, Kind::Directory) {
            self.owners.insert(target.clone(), number);
        }
        self.tree.insert(target.clone(), node, &Metadata::directory(self.epoch)).at(&target, of)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::deb::tests::{deb, lab};
    use crate::deb::unpack;
    use crate::lock::tests::package;

    /// A package with these files; `fields` are further lines of its control file.
    pub(crate) fn unpacked(session: &Session, name: &str, fields: &str, data: &[(&str, &[u8])]) -> Unpacked {
        let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\n{fields}");
        let conffiles = b"/etc/conf\n";
        let file = deb(&[("control", control.as_bytes()), ("conffiles", conffiles)], data);
        let (digest, _) = session.put_blob(&file, &[]).unwrap();
        let deb = unpack(session, &digest, name, SystemTime::UNIX_EPOCH).unwrap();
        Unpacked::new(&package(name, "1"), deb, session).unwrap()
    }

    fn list(packages: &[Unpacked]) -> Result<Vec<String>, DistroError> {
        let tree = assemble(packages, "amd64", 9, &|_, path, _| Some(path.clone()))?;
        assert!(tree.iter().all(|(_, node)| node.metadata.mtime == 9));
        let shown = |(path, node): (&TreePath, &Node)| match &node.kind {
            Kind::Directory => format!("{path}/"),
            Kind::Symlink { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
            _ => path.to_string(),
        };
        Ok(tree.iter().skip(1).map(shown).collect())
    }

    #[test]
    fn files_land_in_the_merged_usr() {
        // D-20, D-21
        let (_directory, session) = lab();
        let a = unpacked(&session, "a", "", &[("./bin/", b""), ("./bin/sh", b"x"), ("./lib64/ld", b"y")]);
        assert_eq!(
            list(&[a]).unwrap(),
            [
                "/bin -> usr/bin",
                "/lib -> usr/lib",
                "/lib64 -> usr/lib64",
                "/sbin -> usr/sbin",
                "/usr/",
                "/usr/bin/",
                "/usr/bin/sh",
                "/usr/lib/",
                "/usr/lib64/",
                "/usr/lib64/ld",
                "/usr/sbin/",
            ]
        );
    }

    #[test]
    fn a_file_of_two_packages_needs_one_that_replaces_the_other() {
        // D-22
        let (_directory, session) = lab();
        let a = |fields: &str| unpacked(&session, "a", fields, &[("x/f", b"a")]);
        let b = |fields: &str| unpacked(&session, "b", fields, &[("x/f", b"b")]);
        let error = list(&[a(""), b("")]).unwrap_err().to_string();
        assert_eq!(error, "`/x/f` is in b and in a, and neither replaces the other");
        assert!(list(&[a(""), b("Replaces: a (>> 1)\n")]).is_err());
        let content = |packages: &[Unpacked]| {
            let tree = assemble(packages, "amd64", 0, &|_, path, _| Some(path.clone())).unwrap();
            crate::deb::read_file(&tree, "x/f", &session).unwrap().unwrap()
        };
        assert_eq!(content(&[a(""), b("Replaces: a\n")]), b"b");
        assert_eq!(content(&[a("Replaces: b\n"), b("")]), b"a");
        // The same file is no conflict.
        let same = unpacked(&session, "c", "", &[("x/f", b"a")]);
        assert_eq!(content(&[a(""), same]), b"a");
        // A file in the place of a link of the merged /usr is one.
        let bin = unpacked(&session, "d", "", &[("bin", b"x")]);
        assert!(list(&[bin]).unwrap_err().to_string().contains("the merged /usr"));
    }

    #[test]
    fn a_control_file_of_another_package_is_refused() {
        let (_directory, session) = lab();
        let found = unpacked(&session, "a", "", &[("x", b"")]);
        assert!(found.conffiles.contains(&TreePath::parse("etc/conf").unwrap()));
        let error = Unpacked::new(&package("b", "1"), found.deb.clone(), &session).unwrap_err().to_string();
        assert!(error.contains("another package"), "{error}");
        assert!(Unpacked::new(&package("a", "2"), found.deb, &session).is_err());
    }
}

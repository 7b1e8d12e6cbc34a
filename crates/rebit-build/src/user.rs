//! Users and groups by the `/etc/passwd` and `/etc/group` of a tree.
//!
//! The rules are those of Docker: `USER` as the OCI runtimes read it, `--chown` as the Dockerfile reference says.

use rebit_layer::{Kind, Tree};
use rebit_oci::object::ObjectSource;

/// The largest passwd or group file that is read.
const MAX_FILE: u64 = 4 << 20;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecUser {
    /// Numeric user.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    /// The home directory; `/` when the user has none.
    pub home: String,
}

/// Why a user or group was not found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such name in the tree's file.
    #[error("there is no {what} `{name}` in the image's {file}")]
    Unknown {
        /// "user" or "group".
        what: &'static str,
        /// The name.
        name: String,
        /// The file that was read.
        file: &'static str,
    },
    /// The file is too large or cannot be read.
    #[error("the image's {file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: &'static str,
        /// Why.
        reason: String,
    },
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Reads `user[:group]` of a `USER` instruction; empty means root.
///
/// A number need not be known. Without a group, the user's own and those that list the user apply.
///
/// # Errors
/// A name that the tree does not know.
pub fn exec_user(spec: &str, tree: &Tree, objects: &dyn ObjectSource) -> Result<ExecUser, UserError> {
    let (user, group) = split(spec);
    let users = users(tree, objects)?;
    let user = if user.is_empty() { "0" } else { user };
    let known = users.iter().find(|u| u.name == user);
    let known = known.or_else(|| users.iter().find(|u| Some(u.uid) == user.parse().ok()));
    let (uid, mut gid, home) = match (known, user.parse::<u32>()) {
        (Some(known), _) => (known.uid, known.gid, known.home.as_str()),
        (None, Ok(uid)) => (uid, 0, "/"),
        (None, Err(_)) => return Err(unknown("user", user, PASSWD)),
    };
    let mut supplementary = Vec::new();
    match group {
        Some(group) => gid = group_id(group, tree, objects)?,
        None => {
            if let Some(known) = known {
                let groups = groups(tree, objects)?;
                let lists = |group: &&Group| group.members.contains(&known.name) && group.gid != gid;
                supplementary = groups.iter().filter(lists).map(|group| group.gid).collect();
            }
        }
    }
    supplementary.sort_unstable();
    supplementary.dedup();
    let home = if home.is_empty() { "/" } else { home };
    Ok(ExecUser { uid, gid, groups: supplementary, home: home.to_owned() })
}

/// Reads `user[:group]` of `--chown`: a name brings its group along, a number is its own group.
///
/// # Errors
/// A name that the tree does not know.
pub fn owner(spec: &str, tree: &Tree, objects: &dyn ObjectSource) -> Result<(u32, u32), UserError> {
    let (user, group) = split(spec);
    let (uid, own_gid) = match user.parse::<u32>() {
        Ok(uid) => (uid, uid),
        Err(_) if user.is_empty() => (0, 0),
        Err(_) => {
            let users = users(tree, objects)?;
            let known = users.iter().find(|u| u.name == user).ok_or_else(|| unknown("user", user, PASSWD))?;
            (known.uid, known.gid)
        }
    };
    match group {
        Some(group) => Ok((uid, group_id(group, tree, objects)?)),
        None => Ok((uid, own_gid)),
    }
}

fn split(spec: &str) -> (&str, Option<&str>) {
    match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    }
}

fn group_id(name: &str, tree: &Tree, objects: &dyn ObjectSource) -> Result<u32, UserError> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    let groups = groups(tree, objects)?;
    groups.iter().find(|g| g.name == name).map(|g| g.gid).ok_or_else(|| unknown("group", name, GROUP))
}

fn unknown(what: &'static str, name: &str, file: &'static str) -> UserError {
    UserError::Unknown { what, name: name.to_owned(), file }
}

fn users(tree: &Tree, objects: &dyn ObjectSource) -> Result<Vec<User>, UserError> {
    let text = read(PASSWD, tree, objects)?;
    let parse = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or_default().to_owned();
        Some(User { name, uid, gid, home })
    };
    Ok(text.lines().filter_map(|line| parse(line.trim())).collect())
}

fn groups(tree: &Tree, objects: &dyn ObjectSource) -> Result<Vec<Group>, UserError> {
    let text = read(GROUP, tree, objects)?;
    let parse = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or_default().split(',').map(|m| m.trim().to_owned()).collect();
        Some(Group { name, gid, members })
    };
    Ok(text.lines().filter_map(|line| parse(line.trim())).collect())
}

/// The file's text, empty when there is none: an image need not have users.
fn read(file: &'static str, tree: &Tree, objects: &dyn ObjectSource) -> Result<String, UserError> {
    let unreadable = |reason: String| UserError::Unreadable { file, reason };
    let path = tree.resolve(file, true).map_err(|error| unreadable(error.to_string()))?;
    let Some(node) = tree.get(&path) else { return Ok(String::new()) };
    let Kind::File { object, size, .. } = &node.kind else { return Ok(String::new()) };
    if *size > MAX_FILE {
        return Err(unreadable(format!("it has {size} bytes, more than {MAX_FILE}")));
    }
    let content = objects.read(object).map_err(|error| unreadable(error.to_string()))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rebit_layer::{Metadata, Node, TreePath};
    use rebit_oci::object::{MemoryObjects, ObjectSink};

    fn fixture() -> (Tree, MemoryObjects) {
        let objects = MemoryObjects::new();
        let mut tree = Tree::new();
        let mut file = |path: &str, text: &str| {
            let object = objects.put(text.as_bytes(), &[]).unwrap();
            let node = Node::file(Metadata::new(0o644, 0), object, text.len() as u64);
            tree.insert(TreePath::parse(path).unwrap(), node, &Metadata::default()).unwrap();
        };
        file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:Web:/var/www:/bin/sh\n");
        file("etc/group", "root:x:0:\nweb:x:34:\nlog:x:4:web,root\nadm:x:3:web\n");
        (tree, objects)
    }

    #[test]
    fn users_run_with_their_groups() {
        let (tree, objects) = fixture();
        let check = |spec: &str, uid, gid, groups: &[u32], home: &str| {
            let expected = ExecUser { uid, gid, groups: groups.to_vec(), home: home.into() };
            assert_eq!(exec_user(spec, &tree, &objects).unwrap(), expected, "{spec}");
        };
        check("", 0, 0, &[4], "/root");
        check("web", 33, 34, &[3, 4], "/var/www");
        check("33", 33, 34, &[3, 4], "/var/www");
        check("web:log", 33, 4, &[], "/var/www");
        check("5:6", 5, 6, &[], "/");
        check("5", 5, 0, &[], "/");
        assert!(exec_user("nobody", &tree, &objects).unwrap_err().to_string().contains("`nobody`"));
        assert!(exec_user("web:none", &tree, &objects).is_err());
    }

    #[test]
    fn owners_follow_the_reference() {
        let (tree, objects) = fixture();
        let check =
            |spec: &str, expected| assert_eq!(owner(spec, &tree, &objects).unwrap(), expected, "{spec}");
        check("web", (33, 34));
        check("web:adm", (33, 3));
        check("7", (7, 7));
        check("7:8", (7, 8));
        check("7:adm", (7, 3));
        assert!(owner("nobody", &Tree::new(), &objects).is_err());
    }
}

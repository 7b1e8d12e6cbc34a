//! Paths inside a tree: relative, validated, bytes.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest component of a path, in bytes (`NAME_MAX`).
pub const MAX_COMPONENT: usize = 255;
/// Longest path, in bytes (`PATH_MAX`).
pub const MAX_PATH: usize = 4096;

/// A validated path relative to the root of a tree.
///
/// The root itself is the empty path. Components are separated by one `/`, are not empty, not `.` and
/// not `..`, hold no NUL and at most [`MAX_COMPONENT`] bytes; the whole is at most [`MAX_PATH`] bytes.
/// The bytes need not be UTF-8. The order is bytewise, the order in which a layer lists its entries.
/// Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Arc<[u8]>);

/// Why bytes are not a path inside a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component is `..`, which could lead out of the tree.
    #[error("path `{path}` has a `..` component")]
    ParentComponent {
        /// The path as given, cut to 200 bytes.
        path: String,
    },
    /// A component is empty or `.`, or the path starts or ends with `/`.
    #[error("path `{path}` is not in its plain form")]
    NotPlain {
        /// The path as given, cut to 200 bytes.
        path: String,
    },
    /// The path holds a NUL byte.
    #[error("path `{path}` holds a NUL byte")]
    Nul {
        /// The path as given, cut to 200 bytes.
        path: String,
    },
    /// A component or the whole is too long.
    #[error("{what} of `{path}` is longer than {limit} bytes")]
    TooLong {
        /// `path` or `component`.
        what: &'static str,
        /// The path as given, cut to 200 bytes.
        path: String,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Bytes of a path as text for a message: lossy and cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned()
}

impl TreePath {
    /// The root of the tree.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from(&[][..]))
    }

    /// Takes a path that is already in its plain form: `usr/bin/env`.
    ///
    /// # Errors
    /// [`PathError`] naming what is wrong with it.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let path = path.as_ref();
        if path.is_empty() {
            return Ok(Self::root());
        }
        for component in path.split(|byte| *byte == b'/') {
            check_component(component, path)?;
        }
        Self::checked_length(path)
    }

    /// Brings a path into its plain form: a leading `/`, `.` components, repeated and trailing slashes go.
    ///
    /// # Errors
    /// [`PathError`] for a `..` component, a NUL byte, or a length above the limits.
    pub fn normalise(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let path = path.as_ref();
        let mut plain = Vec::with_capacity(path.len().min(MAX_PATH));
        for component in path.split(|byte| *byte == b'/') {
            if component.is_empty() || component == b"." {
                continue;
            }
            check_component(component, path)?;
            if !plain.is_empty() {
                plain.push(b'/');
            }
            plain.extend_from_slice(component);
        }
        Self::checked_length(&plain)
    }

    fn checked_length(path: &[u8]) -> Result<Self, PathError> {
        if path.len() > MAX_PATH {
            return Err(PathError::TooLong { what: "path", path: shown(path), limit: MAX_PATH });
        }
        Ok(Self(Arc::from(path)))
    }

    /// The bytes of the path, without a leading or trailing `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        (!self.is_root()).then(|| Self(Arc::from(self.parent_bytes())))
    }

    /// The bytes of the parent; empty for a top-level name and for the root.
    pub(crate) fn parent_bytes(&self) -> &[u8] {
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.0.get(..end).unwrap_or_default()
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&[u8]> {
        self.0.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// How many components there are.
    #[must_use]
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { 1 + self.0.iter().filter(|byte| **byte == b'/').count() }
    }

    /// The entry called `name` in this directory.
    ///
    /// # Errors
    /// [`PathError`] when `name` is not one valid component or the result is too long.
    pub fn join(&self, name: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let name = name.as_ref();
        check_component(name, name)?;
        if name.contains(&b'/') {
            return Err(PathError::NotPlain { path: shown(name) });
        }
        Self::checked_length(&self.joined(name))
    }

    /// `below` taken as a path below this one.
    ///
    /// # Errors
    /// [`PathError::TooLong`] when the result is too long.
    pub fn append(&self, below: &Self) -> Result<Self, PathError> {
        if below.is_root() { Ok(self.clone()) } else { Self::checked_length(&self.joined(&below.0)) }
    }

    fn joined(&self, below: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.0.len() + 1 + below.len());
        if !self.is_root() {
            path.extend_from_slice(&self.0);
            path.push(b'/');
        }
        path.extend_from_slice(below);
        path
    }

    /// Whether this path lies strictly below `ancestor`.
    #[must_use]
    pub fn is_below(&self, ancestor: &Self) -> bool {
        match self.0.strip_prefix(ancestor.as_bytes()) {
            Some(rest) if ancestor.is_root() => !rest.is_empty(),
            Some(rest) => rest.first() == Some(&b'/'),
            None => false,
        }
    }

    /// What remains of this path below `ancestor`: the root when they are the same, `None` when it is not
    /// below.
    #[must_use]
    pub fn relative_to(&self, ancestor: &Self) -> Option<Self> {
        if self == ancestor {
            return Some(Self::root());
        }
        if !self.is_below(ancestor) {
            return None;
        }
        let start = if ancestor.is_root() { 0 } else { ancestor.0.len() + 1 };
        Some(Self(Arc::from(self.0.get(start..)?)))
    }

    /// The directories above this path, nearest first, the root last and included.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + use<> {
        std::iter::successors(self.parent(), Self::parent)
    }
}

fn check_component(component: &[u8], path: &[u8]) -> Result<(), PathError> {
    match component {
        b"" | b"." => Err(PathError::NotPlain { path: shown(path) }),
        b".." => Err(PathError::ParentComponent { path: shown(path) }),
        _ if component.len() > MAX_COMPONENT => {
            Err(PathError::TooLong { what: "component", path: shown(path), limit: MAX_COMPONENT })
        }
        _ if component.contains(&0) => Err(PathError::Nul { path: shown(path) }),
        _ => Ok(()),
    }
}

/// The bytes order as the path does, so a map of paths can be asked with bytes.
impl Borrow<[u8]> for TreePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for TreePath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The path with a leading `/`; bytes that are not UTF-8 are replaced.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_taken_and_others_are_not() {
        for good in ["", "a", "a/b", "...", "a b/\u{e9}", &"n".repeat(255)] {
            assert_eq!(TreePath::parse(good).unwrap().as_bytes(), good.as_bytes());
        }
        for bad in [
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "a/./b",
            "..",
            "a/..",
            "a\0b",
            &"n".repeat(256),
            &"n/".repeat(4000),
        ] {
            assert!(TreePath::parse(bad).is_err(), "`{bad}` was taken");
        }
        assert!(TreePath::parse(vec![&"n".repeat(200)[..]; 21].join("/")).is_err());
    }

    #[test]
    fn other_spellings_are_brought_into_the_plain_form() {
        fn check(input: &str, expected: Option<&str>) {
            let found = TreePath::normalise(input).ok();
            assert_eq!(found.as_ref().map(TreePath::as_bytes), expected.map(str::as_bytes), "{input}");
        }
        check("", Some(""));
        check("/", Some(""));
        check("./", Some(""));
        check("./a//b/.", Some("a/b"));
        check("//a/", Some("a"));
        check("a/../b", None);
        check("..", None);
        check("a\0", None);
    }

    #[test]
    fn parts_and_relations() {
        let path = |text: &str| TreePath::parse(text).unwrap();
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(path("")));
        assert_eq!(path("").parent(), None);
        assert_eq!(path("a/b").file_name(), Some(&b"b"[..]));
        assert_eq!(path("").file_name(), None);
        assert_eq!(path("").components().count(), 0);
        assert_eq!((path("").depth(), path("a/b/c").depth()), (0, 3));
        assert_eq!(path("a").join("b"), Ok(path("a/b")));
        assert_eq!(path("").join("b"), Ok(path("b")));
        assert!(
            path("a").join("b/c").is_err() && path("a").join("..").is_err() && path("a").join("").is_err()
        );
        assert!(path("a/b").is_below(&path("a")) && path("a").is_below(&path("")));
        assert!(!path("ab").is_below(&path("a")) && !path("a").is_below(&path("a")));
        assert!(!path("").is_below(&path("")));
        assert_eq!(path("a/b/c").relative_to(&path("a")), Some(path("b/c")));
        assert_eq!(path("a/b").relative_to(&path("")), Some(path("a/b")));
        assert_eq!(path("ab").relative_to(&path("a")), None);
        assert_eq!(path("a/b/c").ancestors().collect::<Vec<_>>(), [path("a/b"), path("a"), path("")]);
        assert_eq!(path("").append(&path("x/y")), Ok(path("x/y")));
        assert_eq!(path("x").append(&path("")), Ok(path("x")));
    }
}

//! What was left out or brought into shape on the way, for the user to see.

use std::collections::BTreeMap;

use crate::TreePath;

/// Something that a tree or a layer does not carry over from its source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// A socket was skipped: no archive can hold one.
    Socket,
    /// An extended attribute of this name was dropped: it is not on the list of allowed ones.
    Xattr(Vec<u8>),
    /// A tar entry of this type flag was ignored.
    EntryType(u8),
    /// A name reserved by another union file system (`.wh..wh.…`) was ignored.
    ReservedName,
    /// A device node could not be made for lack of privilege and was left out.
    Device,
    /// An owner could not be set for lack of privilege.
    Owner,
    /// An extended attribute of this name could not be set for lack of privilege or support.
    XattrNotSet(Vec<u8>),
}

/// How often something happened and where first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The first path it happened to, in the order of the work.
    pub first: TreePath,
    /// How many paths it happened to.
    pub count: u64,
}

/// A tally of each [`Notice`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Every kind of thing that happened.
    pub notices: BTreeMap<Notice, Tally>,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `notice` at `path`.
    pub fn add(&mut self, notice: Notice, path: &TreePath) {
        let tally = self.notices.entry(notice).or_insert_with(|| Tally { first: path.clone(), count: 0 });
        tally.count += 1;
    }

    /// Adds everything that `other` counted; the first path is kept where both have one.
    pub fn merge(&mut self, other: Self) {
        for (notice, tally) in other.notices {
            let first = tally.first;
            self.notices.entry(notice).or_insert_with(|| Tally { first, count: 0 }).count += tally.count;
        }
    }

    /// How often `notice` was counted.
    #[must_use]
    pub fn count(&self, notice: &Notice) -> u64 {
        self.notices.get(notice).map_or(0, |tally| tally.count)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty()
    }
}

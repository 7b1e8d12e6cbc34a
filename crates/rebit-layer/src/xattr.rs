//! Which extended attributes an image carries.

use std::collections::BTreeMap;

use crate::TreePath;
use crate::report::{Notice, Report};

/// Most attributes a node may have.
pub const MAX_COUNT: usize = 256;
/// Most bytes that the names and values of a node's attributes may have together (what Linux's
/// `listxattr` and `getxattr` can return for one attribute).
pub const MAX_BYTES: usize = 128 * 1024;

/// Whether an attribute is carried: `security.capability` and `user.*`, but not `user.overlay.*`, which
/// is how overlayfs talks to itself.
#[must_use]
pub fn is_allowed(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Removes what is not allowed and reports each name.
pub(crate) fn keep_allowed(xattrs: &mut BTreeMap<Vec<u8>, Vec<u8>>, path: &TreePath, report: &mut Report) {
    xattrs.retain(|name, _| {
        let keep = is_allowed(name);
        if !keep {
            report.add(Notice::Xattr(name.clone()), path);
        }
        keep
    });
}

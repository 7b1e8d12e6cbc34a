//! Errors as people read them: what, where, why, a hint, and the exit code.

use std::error::Error;
use std::fmt::Write as _;

/// How a command ends when it did not do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// The work failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A comparison could not be made: 1 means there that something differs.
    Trouble,
    /// A verification did not hold.
    NotVerified,
    /// The user stopped it.
    Interrupted,
    /// The program that was run ended with this code.
    Program(u8),
}

impl ExitKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage | Self::Trouble => 2,
            Self::NotVerified => 3,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) exit: ExitKind,
    /// The whole text for the user, `error:` included; empty to say nothing.
    pub(crate) text: String,
}

impl CommandError {
    /// An error with the causes it has.
    pub(crate) fn new(error: &dyn Error) -> Self {
        Self { exit: ExitKind::Failed, text: with_causes(error) }
    }

    /// An error in words.
    pub(crate) fn message(message: impl AsRef<str>) -> Self {
        Self { exit: ExitKind::Failed, text: format!("error: {}", message.as_ref()) }
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl AsRef<str>) -> Self {
        Self { exit: ExitKind::Usage, ..Self::message(message) }
    }

    /// An end without words.
    pub(crate) fn silent(exit: ExitKind) -> Self {
        Self { exit, text: String::new() }
    }

    pub(crate) fn with_exit(mut self, exit: ExitKind) -> Self {
        self.exit = exit;
        self
    }

    /// Adds a next step.
    pub(crate) fn hint(mut self, hint: impl AsRef<str>) -> Self {
        let _ = write!(self.text, "\nhint: {}", hint.as_ref());
        self
    }
}

/// A text without control characters: names in errors may come from anywhere, and the terminal obeys what it is sent.
pub(crate) fn printable(text: &str) -> String {
    let shown =
        |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// `error: what`, then a line for each cause that says something new.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut said = printable(&error.to_string());
    let mut text = format!("error: {said}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = printable(&error.to_string());
        // A transparent error repeats its source.
        if !said.ends_with(&next) {
            let _ = write!(text, "\n  because: {next}");
            said = next;
        }
        cause = error.source();
    }
    text
}

macro_rules! from_error {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                Self::new(&error)
            }
        })*
    };
}

from_error!(
    rebit_oci::reference::ParseReferenceError,
    rebit_oci::digest::ParseDigestError,
    rebit_oci::object::ObjectError,
    rebit_layer::LoadError,
    rebit_layer::DiskError,
    rebit_sandbox::SandboxError,
    serde_json::Error,
);

impl From<rebit_distro::DistroError> for CommandError {
    fn from(error: rebit_distro::DistroError) -> Self {
        let hint = hint_of(&error);
        let text = Self::new(&error);
        match hint {
            Some(hint) => text.hint(hint),
            None => text,
        }
    }
}

impl From<rebit_store::StoreError> for CommandError {
    fn from(error: rebit_store::StoreError) -> Self {
        let hint = store_hint(&error);
        let text = Self::new(&error);
        match hint {
            Some(hint) => text.hint(hint),
            None => text,
        }
    }
}

const DISK_FULL: &str = "free some space, or let `rebit gc` remove what no image needs";

/// The first trouble of the store, its disk or the network among an error and its causes, and what to do about it.
pub(crate) fn hint_of(error: &(dyn Error + 'static)) -> Option<std::borrow::Cow<'static, str>> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let hint = error.downcast_ref::<rebit_store::StoreError>().and_then(store_hint);
        let hint = hint.or_else(|| error.downcast_ref::<rebit_build::RemoteError>().and_then(remote_hint));
        let hint = hint.or_else(|| error.downcast_ref().and_then(crate::network::http_hint));
        let hint = hint.or_else(|| error.downcast_ref().and_then(crate::network::git_hint));
        let hint = hint.or_else(|| error.downcast_ref().and_then(crate::assembly::hint));
        if let Some(hint) = hint {
            return Some(hint.into());
        }
        if let Some(hint) = error.downcast_ref().and_then(crate::registry::hint) {
            return Some(hint.into());
        }
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::StorageFull) {
            return Some(DISK_FULL.into());
        }
        next = error.source();
    }
    None
}

/// Whether the disk or the store's limit is what stood in the way.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    use rebit_store::StoreError as E;
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(E::DiskFull { .. } | E::Full { .. })) {
            return true;
        }
        next = error.source();
    }
    false
}

fn remote_hint(error: &rebit_build::RemoteError) -> Option<&'static str> {
    use rebit_build::RemoteError as E;
    match error {
        E::Offline { .. } => Some("a build with a network brings it into the store"),
        E::Unpinned { .. } => Some(
            "what has a checksum, or is a commit in full, is taken from the store when it is known there",
        ),
        _ => None,
    }
}

fn store_hint(error: &rebit_store::StoreError) -> Option<&'static str> {
    use rebit_store::StoreError as E;
    match error {
        E::DiskFull { .. } => Some(DISK_FULL),
        E::Full { .. } => Some("raise --store-limit, or let `rebit gc` remove what no image needs"),
        E::CorruptObject { .. } | E::CorruptBlob { .. } => {
            Some("`rebit fsck` names everything that is damaged")
        }
        E::NoStore { .. } => {
            Some("`rebit import` or `rebit build` makes one; --store or REBIT_STORE says where")
        }
        E::CorruptIndex { .. } => Some("`rebit fsck --repair` makes it anew from the packs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer {
        source: Inner,
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Inner {
        source: std::io::Error,
    }

    #[test]
    fn causes_are_said_once() {
        let error = Outer { source: Inner { source: std::io::Error::other("root") } };
        assert_eq!(with_causes(&error), "error: outer\n  because: root");
        assert_eq!(with_causes(&std::io::Error::other("a\x1b[31m\u{7}b")), "error: a\\u{1b}[31m\\u{7}b");
        assert_eq!(CommandError::message("x").hint("y").text, "error: x\nhint: y");
    }
}

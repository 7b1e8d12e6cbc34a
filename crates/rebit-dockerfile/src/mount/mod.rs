//! `RUN --mount=…`: comma-separated fields, typed once variables are replaced.
//!
//! Fields are read when the file is parsed; values may hold variables, so the typed [`Mount`] comes from [`MountSpec::resolve`]. Keys are
//! case-insensitive and the last of a repeated key wins. The order of fields matters in one way, as in BuildKit: `required`,
//! `size` and `env` are checked against the type given *before* them.

mod draft;
mod fields;

use thiserror::Error;

pub(crate) use fields::{parse_bool, split_fields};

use crate::span::Span;
use crate::suggest;
use draft::Draft;

/// A `--mount` flag as written, variables unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// The flag, `--mount=` included.
    pub span: Span,
    /// The flag's value.
    pub raw: String,
    /// `from=`: a stage, an image or a named context. Known before expansion because a variable in it is an error.
    pub from: Option<String>,
    /// The fields: a key in lower case and, if there was a `=`, the value.
    pub fields: Vec<(String, Option<String>)>,
}

/// A typed mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where the mount appears; relative to the working directory. `None` if not given: secrets and agents have defaults, anything
    /// else is at the working directory itself.
    pub target: Option<String>,
    /// What is mounted.
    pub kind: MountKind,
}

/// What a mount gives the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image. Writes, if allowed, are thrown away.
    Bind {
        /// Where the files come from; the build context if `None`.
        from: Option<String>,
        /// Path inside it; its root if `None`.
        source: Option<String>,
        /// `rw`.
        writable: bool,
    },
    /// A directory that stays between builds.
    Cache {
        /// Name of the cache; the target if `None`.
        id: Option<String>,
        /// What a new cache starts with; empty if `None`.
        from: Option<String>,
        /// Path inside `from`.
        source: Option<String>,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// `ro`.
        read_only: bool,
        /// Owner and mode of a new cache directory (0755 by default).
        owner: MountOwner,
    },
    /// Memory.
    Tmpfs {
        /// Upper limit in bytes.
        size: Option<u64>,
        /// `ro`.
        read_only: bool,
    },
    /// A secret as a file, a variable, or both.
    Secret {
        /// Name of the secret: `id` (or `source`), else the base name of the target.
        id: String,
        /// Variable that holds the secret.
        env: Option<String>,
        /// Whether the step fails without the secret.
        required: bool,
        /// Owner and mode of the file (0400 by default).
        owner: MountOwner,
    },
    /// An SSH agent's socket.
    Ssh {
        /// Name of the agent; `default` if not given.
        id: String,
        /// Whether the step fails without the agent.
        required: bool,
        /// Owner and mode of the socket (0600 by default).
        owner: MountOwner,
    },
}

/// `mode`, `uid` and `gid` of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOwner {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Numeric user.
    pub uid: Option<u32>,
    /// Numeric group.
    pub gid: Option<u32>,
}

/// `sharing` of a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// Any number of steps at once.
    #[default]
    Shared,
    /// A second step at the same time gets a cache of its own.
    Private,
    /// A second step waits.
    Locked,
}

/// Why a `--mount` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MountError {
    /// Quotes do not pair up.
    #[error("quotes in `{field}` do not pair up")]
    Quotes {
        /// The rest of the value from the quote on.
        field: String,
    },
    /// A key no mount has.
    #[error("unknown mount option `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// A key of almost that name.
        closest: Option<&'static str>,
    },
    /// A key that needs a value has none.
    #[error("mount option `{key}` needs a value")]
    MissingValue {
        /// The key.
        key: String,
    },
    /// A value that cannot be read.
    #[error("invalid value `{value}` for mount option `{key}`")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A key that this type of mount does not have.
    #[error("mount option `{key}` is not allowed for type `{kind}`")]
    NotAllowed {
        /// The key.
        key: String,
        /// The type.
        kind: &'static str,
    },
    /// A secret without a name.
    #[error("a secret mount needs `id` or `target`")]
    SecretWithoutName,
    /// A variable in `from`.
    #[error("mount option `from` cannot hold a variable")]
    VariableInFrom,
    /// A variable could not be replaced.
    #[error("cannot expand mount option `{key}`: {message}")]
    Expand {
        /// The key.
        key: String,
        /// What the expansion said.
        message: String,
    },
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

impl MountSpec {
    /// Splits a flag's value into fields and checks what can be checked before expansion.
    ///
    /// # Errors
    /// [`MountError`] for unpaired quotes, an unknown key, or a variable in `from`.
    pub fn parse(raw: &str, span: Span) -> Result<Self, MountError> {
        let mut fields = Vec::new();
        let mut from = None;
        for field in split_fields(raw)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (field.as_str(), None),
            };
            let key = key.to_lowercase();
            if !KEYS.contains(&key.as_str()) {
                let closest = suggest::closest(&key, KEYS.iter().copied());
                return Err(MountError::UnknownKey { key, closest });
            }
            if key == "from" {
                let value = value.clone().unwrap_or_default();
                if value.find('$').is_some_and(|at| at + 1 < value.len()) {
                    return Err(MountError::VariableInFrom);
                }
                from = Some(value).filter(|value| !value.is_empty());
            }
            fields.push((key, value));
        }
        Ok(Self { span, raw: raw.to_owned(), from, fields })
    }

    /// Whether a value holds a variable, so that errors can only be found by [`resolve`](Self::resolve).
    pub fn has_variables(&self) -> bool {
        self.raw.contains('$')
    }

    /// Expands the values and gives them types.
    ///
    /// # Errors
    /// [`MountError`]; the message of a failed expansion is in [`MountError::Expand`].
    pub fn resolve<E: std::fmt::Display>(
        &self,
        mut expand: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Mount, MountError> {
        let mut draft = Draft::default();
        for (key, value) in &self.fields {
            let value =
                match value {
                    None => None,
                    Some(value) if key == "from" => Some(value.clone()),
                    Some(value) => Some(expand(value).map_err(|error| MountError::Expand {
                        key: key.clone(),
                        message: error.to_string(),
                    })?),
                };
            draft.set(key, value)?;
        }
        draft.finish()
    }
}

#[cfg(test)]
mod tests;

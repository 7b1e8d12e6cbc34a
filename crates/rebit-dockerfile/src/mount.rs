//! `RUN --mount=…`: comma-separated fields, typed once variables are replaced.
//!
//! Fields are read when the file is parsed; values may hold variables, so the typed [`Mount`] comes from [`MountSpec::resolve`]. Keys are
//! case-insensitive and the last of a repeated key wins. The order of fields matters in one way, as in BuildKit: `required`,
//! `size` and `env` are checked against the type given *before* them.

use thiserror::Error;

use crate::span::Span;
use crate::suggest;

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
        /// Name of the secret: `id`, else the base name of the target, else the variable.
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
    #[error("a secret mount needs `id`, `target` or `env`")]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Bind, Self::Cache, Self::Tmpfs, Self::Secret, Self::Ssh];

    fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// The fields seen so far.
#[derive(Default)]
struct Draft {
    kind: Kind,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    id: Option<String>,
    env: Option<String>,
    read_only: Option<bool>,
    required: bool,
    size: Option<u64>,
    sharing: Option<Sharing>,
    owner: MountOwner,
}

impl Draft {
    fn set(&mut self, key: &str, value: Option<String>) -> Result<(), MountError> {
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => self.read_only = Some(true),
                "readwrite" | "rw" => self.read_only = Some(false),
                "required" => {
                    self.only(key, &[Kind::Secret, Kind::Ssh])?;
                    self.required = true;
                }
                _ => return Err(MountError::MissingValue { key: key.to_owned() }),
            }
            return Ok(());
        };
        let invalid = || MountError::InvalidValue { key: key.to_owned(), value: value.clone() };
        match key {
            "type" => {
                let name = value.to_lowercase();
                self.kind = *Kind::ALL.iter().find(|kind| kind.name() == name).ok_or_else(invalid)?;
            }
            "from" => self.from = Some(value),
            "source" | "src" => self.source = Some(value),
            "target" | "dst" | "destination" => self.target = Some(value),
            "readonly" | "ro" => self.read_only = Some(parse_bool(&value).ok_or_else(invalid)?),
            "readwrite" | "rw" => self.read_only = Some(!parse_bool(&value).ok_or_else(invalid)?),
            "required" => {
                self.only(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = parse_bool(&value).ok_or_else(invalid)?;
            }
            "size" => {
                self.only(key, &[Kind::Tmpfs])?;
                self.size = Some(parse_size(&value).ok_or_else(invalid)?);
            }
            "env" => {
                self.only(key, &[Kind::Secret])?;
                self.env = Some(value);
            }
            "id" => self.id = Some(value),
            "sharing" => self.sharing = Some(parse_sharing(&value).ok_or_else(invalid)?),
            "mode" => self.owner.mode = Some(u32::from_str_radix(&value, 8).map_err(|_| invalid())?),
            "uid" => self.owner.uid = Some(parse_id(&value).ok_or_else(invalid)?),
            "gid" => self.owner.gid = Some(parse_id(&value).ok_or_else(invalid)?),
            _ => return Err(MountError::UnknownKey { key: key.to_owned(), closest: None }),
        }
        Ok(())
    }

    fn only(&self, key: &str, kinds: &[Kind]) -> Result<(), MountError> {
        if kinds.contains(&self.kind) { Ok(()) } else { Err(self.not_allowed(key)) }
    }

    fn not_allowed(&self, key: &str) -> MountError {
        MountError::NotAllowed { key: key.to_owned(), kind: self.kind.name() }
    }

    fn finish(self) -> Result<Mount, MountError> {
        let owner = self.owner;
        if matches!(self.kind, Kind::Bind | Kind::Tmpfs) {
            let given = [("mode", owner.mode), ("uid", owner.uid), ("gid", owner.gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return Err(self.not_allowed(key));
            }
        }
        if self.sharing.is_some() && self.kind != Kind::Cache {
            return Err(self.not_allowed("sharing"));
        }
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        let (from, source, target) =
            (filled(self.from.clone()), filled(self.source.clone()), filled(self.target.clone()));
        let id = filled(self.id.clone());
        let kind = match self.kind {
            Kind::Bind => MountKind::Bind { from, source, writable: self.read_only == Some(false) },
            Kind::Cache => MountKind::Cache {
                id,
                from,
                source,
                sharing: self.sharing.unwrap_or_default(),
                read_only: self.read_only == Some(true),
                owner,
            },
            Kind::Tmpfs => MountKind::Tmpfs { size: self.size, read_only: self.read_only == Some(true) },
            Kind::Secret => {
                if from.is_some() {
                    return Err(self.not_allowed("from"));
                }
                if source.is_some() && id.is_some() {
                    return Err(self.not_allowed("source"));
                }
                let base =
                    target.as_deref().and_then(|target| target.trim_end_matches('/').rsplit('/').next());
                let base = base.filter(|base| !base.is_empty()).map(str::to_owned);
                let env = filled(self.env.clone());
                let id =
                    id.or(source).or(base).or_else(|| env.clone()).ok_or(MountError::SecretWithoutName)?;
                MountKind::Secret { id, env, required: self.required, owner }
            }
            Kind::Ssh => {
                let id = id.unwrap_or_else(|| "default".to_owned());
                MountKind::Ssh { id, required: self.required, owner }
            }
        };
        Ok(Mount { target, kind })
    }
}

fn parse_sharing(text: &str) -> Option<Sharing> {
    match text.to_lowercase().as_str() {
        "shared" => Some(Sharing::Shared),
        "private" => Some(Sharing::Private),
        "locked" => Some(Sharing::Locked),
        _ => None,
    }
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A numeric user or group: digits only.
fn parse_id(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A size such as `64m`, `1.5GiB`, `1024`: powers of 1024, without regard to case; a blank may stand before the unit.
fn parse_size(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_lowercase();
    let prefix = match unit.as_str() {
        "" | "b" => "",
        other => other.strip_suffix("ib").or_else(|| other.strip_suffix('b')).unwrap_or(other),
    };
    let power = match prefix {
        "" if unit.len() < 2 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    if number.starts_with('.') || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let scale = 1u128 << (10 * power);
    let ten = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let bytes = u128::from(whole.parse::<u64>().ok()?) * scale + fraction * scale / ten;
    u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// Splits one line of CSV: fields that begin with `"` end at the next lone `"`, `""` in them is a quote.
pub(crate) fn split_fields(line: &str) -> Result<Vec<String>, MountError> {
    let quotes = |at: usize| MountError::Quotes { field: line.get(at..).unwrap_or_default().to_owned() };
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let at = line.len() - rest.len();
        let after = if let Some(mut inside) = rest.strip_prefix('"') {
            let mut field = String::new();
            loop {
                let (part, tail) = inside.split_once('"').ok_or_else(|| quotes(at))?;
                field.push_str(part);
                match tail.strip_prefix('"') {
                    Some(tail) => {
                        field.push('"');
                        inside = tail;
                    }
                    None => {
                        inside = tail;
                        break;
                    }
                }
            }
            if !inside.is_empty() && !inside.starts_with(',') {
                return Err(quotes(at));
            }
            fields.push(field);
            inside
        } else {
            let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if field.contains('"') {
                return Err(quotes(at));
            }
            fields.push(field.to_owned());
            after
        };
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

#[cfg(test)]
mod tests;

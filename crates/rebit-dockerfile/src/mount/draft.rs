//! The fields of a mount on their way to a typed one.

use super::fields::{parse_bool, parse_id, parse_sharing, parse_size};
use super::{Mount, MountError, MountKind, MountOwner, Sharing};

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
pub(super) struct Draft {
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
    /// Takes one field; its value is expanded.
    pub(super) fn set(&mut self, key: &str, value: Option<String>) -> Result<(), MountError> {
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

    /// Checks what only all fields together can tell.
    pub(super) fn finish(self) -> Result<Mount, MountError> {
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
                let id = id.or(source).or(base).ok_or(MountError::SecretWithoutName)?;
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

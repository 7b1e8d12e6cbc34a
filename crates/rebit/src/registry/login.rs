//! Keeping credentials where Docker keeps them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rebit_remote::registry::{AuthFile, encode_auth, server_key};
use serde_json::{Map, Value, json};

use super::{helper, read};
use crate::environment;
use crate::error::CommandError;

/// Where credentials went to or were taken from.
pub(crate) enum AuthStore {
    /// Docker's file, in which everybody who may read it finds them.
    File(PathBuf),
    /// A program.
    Helper(String),
}

/// Docker's file and what it says.
struct Config {
    path: PathBuf,
    content: Map<String, Value>,
    auth: AuthFile,
}

impl Config {
    fn open() -> Result<Self, CommandError> {
        let path = environment::docker_config().ok_or_else(|| {
            CommandError::usage("there is no home directory to keep credentials in")
                .hint("DOCKER_CONFIG names a directory")
        })?;
        let wrong = |what: String| CommandError::message(format!("cannot use `{}`: {what}", path.display()));
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let auth = AuthFile::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        let content = serde_json::from_slice(&bytes).map_err(|_| wrong("it is no JSON object".to_owned()))?;
        Ok(Self { path, content, auth })
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let auths = self.content.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if !auths.is_object() {
            *auths = Value::Object(Map::new());
        }
        match auths {
            Value::Object(auths) => auths,
            _ => unreachable!("it was made an object above"),
        }
    }

    /// Writes the file anew: whole, and readable by the user only.
    fn write(&self) -> Result<(), CommandError> {
        let failed = |error: io::Error| {
            CommandError::message(format!("cannot write `{}`: {error}", self.path.display()))
        };
        let text = serde_json::to_string_pretty(&self.content)?;
        replace(&self.path, text.as_bytes()).map_err(failed)
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(Path::new("."));
    if !directory.is_dir() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    let temporary = path.with_extension(format!("json.{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file: File = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    written().inspect_err(|_| {
        let _gone = fs::remove_file(&temporary);
    })
}

/// Keeps a user name and a password for a registry.
pub(crate) fn save(registry: &str, user: &str, password: &str) -> Result<AuthStore, CommandError> {
    let mut config = Config::open()?;
    let server = server_key(registry);
    if let Some(name) = config.auth.helper_of(registry) {
        helper::store(&name, &server, user, password).map_err(|error| CommandError::new(&error))?;
        config.auths().insert(server, json!({}));
        config.write()?;
        return Ok(AuthStore::Helper(name));
    }
    config.auths().insert(server, json!({"auth": encode_auth(user, password)}));
    config.write()?;
    Ok(AuthStore::File(config.path))
}

/// Takes away what is kept for a registry; `None` when there was nothing.
pub(crate) fn take_away(registry: &str) -> Result<Option<AuthStore>, CommandError> {
    let mut config = Config::open()?;
    let server = server_key(registry);
    let helper = config.auth.helper_of(registry);
    if let Some(name) = &helper {
        helper::erase(name, &server).map_err(|error| CommandError::new(&error))?;
    }
    let names = [
        server.clone(),
        registry.to_owned(),
        format!("https://{registry}"),
        format!("https://{registry}/v1/"),
    ];
    let auths = config.auths();
    let known = auths.len();
    for name in &names {
        auths.remove(name);
    }
    let was_there = auths.len() < known;
    if was_there {
        config.write()?;
    }
    Ok(match helper {
        Some(name) => Some(AuthStore::Helper(name)),
        None => was_there.then_some(AuthStore::File(config.path)),
    })
}

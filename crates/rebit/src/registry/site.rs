//! Certificates and credentials of this machine.

use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rebit_remote::http::Identity;
use rebit_remote::registry::{AuthFile, Credentials, Entry, Site};

use super::{helper, read};
use crate::environment;

/// What files and helper programs say.
pub(super) struct Machine;

#[derive(Debug, thiserror::Error)]
#[error("cannot use `{path}`")]
struct Unusable {
    path: String,
    source: Box<dyn Error + Send + Sync>,
}

impl Site for Machine {
    fn authorities(&self, host: &str) -> Vec<u8> {
        let mut pem = Vec::new();
        for directory in environment::certificate_directories() {
            let entries = std::fs::read_dir(directory.join(host)).into_iter().flatten().flatten();
            let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
            files.sort();
            for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "crt")) {
                // One that cannot be read is not trusted, and the handshake says so.
                if let Ok(content) = read(file) {
                    pem.extend(content);
                    pem.push(b'\n');
                }
            }
        }
        pem
    }

    fn identity(&self, host: &str) -> Result<Option<Identity>, Box<dyn Error + Send + Sync>> {
        let mut files: Vec<PathBuf> = Vec::new();
        // The user's own directory is the last one, and counts most.
        for directory in environment::certificate_directories().iter().rev() {
            let entries = std::fs::read_dir(directory.join(host)).into_iter().flatten().flatten();
            let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
            found.retain(|file| file.extension().is_some_and(|end| end == "cert"));
            found.sort();
            files.extend(found);
        }
        let Some(certificate) = files.first() else { return Ok(None) };
        let unusable = |path: &Path, source: Box<dyn Error + Send + Sync>| {
            Box::new(Unusable { path: path.display().to_string(), source })
        };
        let key = certificate.with_extension("key");
        let certificates = read(certificate).map_err(|error| unusable(certificate, error.into()))?;
        let secret = read(&key).map_err(|error| unusable(&key, error.into()))?;
        let identity = Identity::parse(&certificates, &secret);
        identity.map(Some).map_err(|error| unusable(certificate, error.into()).into())
    }

    fn credentials(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, Box<dyn Error + Send + Sync>> {
        for path in environment::auth_files() {
            let unusable = |source: Box<dyn Error + Send + Sync>| {
                Box::new(Unusable { path: path.display().to_string(), source })
            };
            let bytes = match read(&path) {
                Ok(bytes) => bytes,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(unusable(error.into())),
            };
            let entry = AuthFile::parse(&bytes).and_then(|file| file.entry(registry, repository));
            let found = match entry.map_err(|error| unusable(error.into()))? {
                None => None,
                Some(Entry::Credentials(credentials)) => Some(credentials),
                Some(Entry::Helper { name, server }) => helper::get(&name, &server)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

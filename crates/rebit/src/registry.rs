//! Registries as this machine and this user see them.

mod helper;
mod login;
pub(crate) mod provenance;
mod pull;
mod push;
mod referrers;
mod site;
mod source;

use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rebit_image::ImageError;
use rebit_oci::Reference;
use rebit_remote::Stop;
use rebit_remote::http::HttpError;
use rebit_remote::registry::{Hosts, Policy, Refusal, Registry, RegistryError, RegistryOptions};
use rebit_sandbox::StopFlag;

pub(crate) use login::{AuthStore, save, take_away};
pub(crate) use pull::{Pull, Pulled};
pub(crate) use push::{Outgoing, OutgoingIndex, push, push_index};
pub(crate) use referrers::Referring;
pub(crate) use source::RegistrySource;

use crate::error::{CommandError, ExitKind};
use crate::{environment, network};

/// Most bytes of a configuration or of a file of credentials.
const MAX_FILE: u64 = 4 << 20;

/// The client, made when it is needed first: most commands need none.
pub(crate) struct Registries {
    stop: StopFlag,
    client: OnceLock<Registry>,
}

impl Registries {
    pub(crate) fn new(stop: &StopFlag) -> Self {
        Self { stop: stop.clone(), client: OnceLock::new() }
    }

    /// The client.
    pub(crate) fn get(&self) -> Result<&Registry, CommandError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let flag = self.stop.clone();
        let stop: Stop = Arc::new(move || flag.is_stopped());
        let client = Registry::new(RegistryOptions {
            http: network::client_options(stop),
            hosts: hosts()?,
            policy: policy()?,
            site: Arc::new(site::Machine),
        });
        Ok(self.client.get_or_init(|| client))
    }

    /// An error for the user; a command that was stopped says so by its exit code.
    pub(crate) fn failure(&self, error: impl Into<CommandError>) -> CommandError {
        let error = error.into();
        if self.stop.is_stopped() { error.with_exit(ExitKind::Interrupted) } else { error }
    }
}

fn hosts() -> Result<Hosts, CommandError> {
    let mut hosts = Hosts::default();
    for path in environment::registries_files() {
        let wrong = |what: &dyn std::fmt::Display| {
            CommandError::message(format!("cannot use `{}`: {what}", path.display()))
        };
        let text = read(&path).map_err(|error| wrong(&error))?;
        let text = String::from_utf8(text).map_err(|_| wrong(&"it is not UTF-8 text"))?;
        hosts.add(&text).map_err(|error| wrong(&error))?;
    }
    Ok(hosts)
}

/// What may be taken: the user's policy, else the machine's; everything where there is none, as for Docker.
fn policy() -> Result<Policy, CommandError> {
    for path in environment::policy_files() {
        let wrong = |what: &dyn std::fmt::Display| {
            CommandError::message(format!("cannot use `{}`: {what}", path.display()))
        };
        match read(&path) {
            Ok(bytes) => return Policy::parse(&bytes).map_err(|error| wrong(&error)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(wrong(&error)),
        }
    }
    Ok(Policy::default())
}

/// Reads a file that is not large.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("it is larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// What a registry's error is to whoever wanted an image of it.
fn image_error(name: &Reference, error: RegistryError) -> ImageError {
    match error {
        RegistryError::NotFound { what, registry } => ImageError::NotFound { what, place: registry },
        RegistryError::Unsupported { what } => ImageError::Unsupported { what },
        error => ImageError::Place { place: format!("docker://{name}"), source: Box::new(error) },
    }
}

/// What to do about a registry that does not give or take something.
pub(crate) fn hint(error: &RegistryError) -> Option<String> {
    match error {
        RegistryError::Denied { registry, with_credentials: false, .. } => {
            Some(format!("`rebit login {registry}` keeps your user name and password for it"))
        }
        RegistryError::Denied { registry, .. } => Some(format!(
            "the user that `rebit login {registry}` or `docker login` was told may not do this, or there is no such repository"
        )),
        RegistryError::Policy { refusal: Refusal::Rejected, .. } => {
            Some("policy.json in ~/.config/containers or /etc/containers says so".to_owned())
        }
        RegistryError::Policy { .. } => Some(
            "rebit verifies no signatures; let `skopeo copy` verify it into an image layout, and take it from there with `rebit import oci:DIR`".to_owned(),
        ),
        RegistryError::Blocked { .. } => Some("registries.conf has `blocked = true` for it".to_owned()),
        RegistryError::Status { status: 429, .. } => {
            Some("the registry limits how often it is asked; some allow more after `rebit login`".to_owned())
        }
        RegistryError::Http(error @ HttpError::Tls { url, .. }) if wants_certificate(error) => {
            let host = url.split('/').nth(2).unwrap_or("HOST");
            Some(format!(
                "it wants a certificate of this machine: /etc/docker/certs.d/{host}/client.cert and client.key"
            ))
        }
        RegistryError::Http(HttpError::Tls { url, .. }) => {
            let host = url.split('/').nth(2).unwrap_or("HOST");
            Some(format!(
                "the certificate of its authority goes to /etc/docker/certs.d/{host}/ca.crt; `insecure = true` in registries.conf allows a registry without one"
            ))
        }
        _ => None,
    }
}

/// Whether a server ended the connection because of the certificate that the client showed, or did not show.
fn wants_certificate(error: &HttpError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if text.contains("received fatal alert")
            && (text.contains("Certificate") || text.contains("UnknownCA"))
        {
            return true;
        }
        cause = inner.source();
    }
    false
}

impl From<RegistryError> for CommandError {
    fn from(error: RegistryError) -> Self {
        let text = Self::new(&error);
        match hint(&error) {
            Some(hint) => text.hint(hint),
            None => text,
        }
    }
}

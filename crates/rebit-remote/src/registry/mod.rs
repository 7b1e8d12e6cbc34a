//! A client for registries: OCI distribution-spec 1.1, and what registries do besides.
//!
//! [`Registry`] holds connections and what was learned of hosts; [`Repository`] is one name there. Which hosts are asked for a name
//! ([`Hosts`]), who the user is, and which authorities vouch for a host ([`Site`]) are values and answers of the caller.
//!
//! - Tokens are got when a host asks for one, and once more when it does not take one any longer.
//! - Credentials go to the host that asked, or to the token server it names; a redirect leads to a blob, not to them.
//! - A blob that breaks off is gone on with where it broke off; an upload likewise.
//! - Whatever comes has a limit, and is verified before anyone relies on it.

mod attach;
mod auth;
mod blob;
mod challenge;
mod credentials;
#[doc(hidden)]
pub mod decode;
mod error;
mod host;
mod hosts;
mod list;
mod policy;
mod push;
mod repository;
#[cfg(test)]
mod tests;
mod upload;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use attach::{Attached, Attachment};
pub use blob::Blob;
pub use credentials::{AuthFile, AuthFileError, Credentials, DOCKER_HUB_KEY, Entry, encode_auth, server_key};
pub use error::RegistryError;
pub use hosts::{Access, Hosts, HostsError};
pub use list::Referrer;
pub use policy::{Policy, PolicyError, Refusal};
pub use push::{OpenBlob, Push, PushBlob, PushEvent, Pushed};
pub use repository::{Manifest, Repository, Wanted};

use crate::http::{Client, ClientOptions, Identity, Watch};
use rebit_oci::Reference;

/// What the machine knows of registries.
pub trait Site: Send + Sync {
    /// Certificates of further authorities for a host, as PEM.
    fn authorities(&self, host: &str) -> Vec<u8>;

    /// What this machine shows to a host that asks it for a certificate; `None` is no error.
    ///
    /// # Errors
    /// What there is cannot be used.
    fn identity(&self, host: &str) -> Result<Option<Identity>, Box<dyn Error + Send + Sync>>;

    /// Who the user is to `registry`, when `repository` is wanted there. It is asked when the registry wants to know.
    ///
    /// # Errors
    /// Whatever stands in the way; `None` is no error.
    fn credentials(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, Box<dyn Error + Send + Sync>>;
}

/// What a client of registries depends on.
#[derive(Clone)]
pub struct RegistryOptions {
    /// Certificates, proxies, limits. The limit on bytes does not count here: descriptors say how long a blob is.
    pub http: ClientOptions,
    /// Which hosts are asked for a name.
    pub hosts: Hosts,
    /// Which images may be taken.
    pub policy: Policy,
    /// What else is known.
    pub site: Arc<dyn Site>,
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions").field("http", &self.http).finish_non_exhaustive()
    }
}

/// The registries, as seen from here.
#[derive(Debug, Clone)]
pub struct Registry {
    machinery: Arc<Machinery>,
}

/// What all hosts share.
#[derive(Debug)]
struct Machinery {
    options: RegistryOptions,
    client: Arc<Client>,
    _watch: Watch,
}

impl Registry {
    /// A client; nothing is connected yet.
    #[must_use]
    pub fn new(options: RegistryOptions) -> Self {
        let client = Arc::new(Client::new(options.http.clone()));
        let watch = client.watch();
        Self { machinery: Arc::new(Machinery { options, client, _watch: watch }) }
    }

    /// What a name that says no registry can mean by the machine's configuration, the first one first; `None` when Docker's rule
    /// holds, or the name says a registry.
    #[must_use]
    pub fn expand(&self, text: &str) -> Option<Vec<Reference>> {
        self.machinery.options.hosts.expand(text)
    }

    /// Whether the policy lets an image be taken.
    ///
    /// # Errors
    /// [`RegistryError::Policy`].
    pub fn may_take(&self, name: &Reference) -> Result<(), RegistryError> {
        self.machinery.options.policy.check(name)
    }

    /// The repository of `name`, and how it is to be used.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`].
    pub fn repository(&self, name: &Reference, access: Access) -> Result<Repository, RegistryError> {
        Repository::new(&self.machinery, name, access)
    }

    /// Asks a host whether it knows these credentials.
    ///
    /// # Errors
    /// [`RegistryError::Denied`] when it does not, and whatever else stands in the way.
    pub fn log_in(&self, host: &str, credentials: Credentials) -> Result<(), RegistryError> {
        repository::log_in(&self.machinery, host, credentials)
    }
}

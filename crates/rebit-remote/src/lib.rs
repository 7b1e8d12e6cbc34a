//! What comes over the network: files by HTTP, commits of git repositories, and what registries hold.
//!
//! This is the only crate that opens a socket. It knows blobs and manifests by their digests, and nothing of images and stores; the
//! command line hands it to the builder.
//!
//! - [`http::Client`] gets a URL, with retries, proxies, TLS and limits.
//! - [`git::Git`] resolves a reference and checks a commit out, by running the `git` of the machine in an environment of its own.
//!
//! - [`registry::Registry`] reads and writes manifests and blobs of a registry.
//!
//! Everything that depends on the machine is an argument: certificates, proxies, search path, agent, credentials. None of them prints anything nor looks
//! at the environment. Credentials in addresses reach the server only: no error and no text has them.

pub mod git;
pub mod http;
pub mod registry;
#[cfg(test)]
#[path = "../../../tests/support/repository.rs"]
mod repository;
#[cfg(test)]
#[path = "../../../tests/support/server.rs"]
mod server;

use std::sync::Arc;

/// Asks whether the caller wants to stop. It is asked often, and from other threads.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// The proxies to use, each as `http://[user:password@]host:port`; none where there is none.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<String>,
    /// For `https://`.
    pub https: Option<String>,
    /// For single hosts, before everything else: scheme, host, and the proxy; none where the host is asked directly.
    pub hosts: Vec<(&'static str, String, Option<String>)>,
    /// Hosts that are asked directly, separated by commas: names (with all names below them), addresses, networks, `*`.
    pub except: Option<String>,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |proxy: &Option<String>| proxy.as_deref().map(rebit_dockerfile::remote::redacted);
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("except", &self.except)
            .field("hosts", &self.hosts.iter().map(|(_, host, _)| host).collect::<Vec<_>>())
            .finish()
    }
}

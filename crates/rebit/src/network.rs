//! The builder's network: URLs and git, with the proxies, certificates and programs of this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rebit_build::Fetch;
use rebit_build::fetch::{FetchError, GitCommit, GitWanted, UrlAnswer, Validators};
use rebit_dockerfile::remote::GitSource;
use rebit_remote::Stop;
use rebit_remote::git::{Checkout, Git, GitError, GitOptions, Resolved};
use rebit_remote::http::{Client, ClientOptions, HttpError, Limits, Request};
use rebit_sandbox::StopFlag;

use crate::environment;

/// Fetches what a build asks for. Nothing is looked at or connected before that.
pub(crate) struct Network {
    client: OnceLock<Client>,
    git: OnceLock<Git>,
    agent: Option<PathBuf>,
    stop: Stop,
}

impl Network {
    /// SSH keys come from `agent` only.
    pub(crate) fn new(agent: Option<PathBuf>, stop: &StopFlag) -> Self {
        let flag = stop.clone();
        let stop: Stop = Arc::new(move || flag.is_stopped());
        Self { client: OnceLock::new(), git: OnceLock::new(), agent, stop }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(client_options(Arc::clone(&self.stop))))
    }

    fn git(&self) -> &Git {
        self.git.get_or_init(|| {
            let (authorities_file, authorities_directory) = environment::further_authorities();
            Git::new(GitOptions {
                program: PathBuf::from("git"),
                path: environment::search_path(),
                proxies: environment::proxies(),
                authorities_file,
                authorities_directory,
                ssh_agent: self.agent.clone(),
                known_hosts: environment::known_hosts(),
                stop: Arc::clone(&self.stop),
            })
        })
    }
}

/// How HTTP is spoken from this machine.
pub(crate) fn client_options(stop: Stop) -> ClientOptions {
    ClientOptions {
        authorities: environment::authorities(),
        proxies: environment::proxies(),
        limits: Limits::default(),
        stop,
    }
}

impl Fetch for Network {
    fn url(&self, url: &str, known: &Validators, into: &mut File) -> Result<UrlAnswer, FetchError> {
        let mut fields = Vec::new();
        if let Some(etag) = &known.etag {
            fields.push(("if-none-match", etag.clone()));
        } else if let Some(time) = &known.last_modified {
            fields.push(("if-modified-since", time.clone()));
        }
        let head = self.client().fetch(&Request { url, fields, limit: None }, into)?;
        if head.is_unchanged() {
            return Ok(UrlAnswer::Unchanged);
        }
        Ok(UrlAnswer::New(Validators {
            etag: head.etag().map(str::to_owned),
            last_modified: head.last_modified().map(str::to_owned),
        }))
    }

    fn resolve(&self, source: &GitSource) -> Result<GitCommit, FetchError> {
        let Resolved { commit, name, tag } = self.git().resolve(source)?;
        Ok(GitCommit { commit, name, tag })
    }

    fn checkout(&self, wanted: &GitWanted<'_>, into: &Path) -> Result<i64, FetchError> {
        let GitCommit { commit, name, tag } = wanted.commit.clone();
        let wanted = Checkout {
            remote: wanted.remote,
            resolved: &Resolved { commit, name, tag },
            submodules: wanted.submodules,
            keep_git_dir: wanted.keep_git_dir,
        };
        Ok(self.git().checkout(&wanted, into)?.time)
    }
}

/// What to do about an address that cannot be fetched.
pub(crate) fn http_hint(error: &HttpError) -> Option<&'static str> {
    match error {
        HttpError::NoAuthorities { .. } => {
            Some("install ca-certificates, or name a file of certificates in SSL_CERT_FILE")
        }
        HttpError::Tls { .. } => {
            Some("SSL_CERT_FILE and SSL_CERT_DIR name certificates of further authorities")
        }
        HttpError::TooLarge { .. } => Some("fetch it in a RUN step"),
        _ => None,
    }
}

/// What to do about a repository that cannot be used.
pub(crate) fn git_hint(error: &GitError) -> Option<&'static str> {
    let is_short = |name: &str| name.len() >= 7 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match error {
        GitError::NoGit { .. } => Some("install git: repositories are fetched by the git of this machine"),
        GitError::NoReference { name, .. } if name.len() < 40 && is_short(name) => {
            Some("a commit alone is given in full; its first digits go beside a branch or tag, as ?checksum=")
        }
        GitError::Failed { said, .. } if said.contains("Host key verification failed") => {
            Some("add the host's key to ~/.ssh/known_hosts, after a look at it: `ssh-keyscan HOST`")
        }
        GitError::Failed { said, .. } if said.contains("Permission denied (publickey") => {
            Some("keys come from an SSH agent: `--ssh default`")
        }
        GitError::Failed { said, .. } if said.contains("transport 'file' not allowed") => Some(
            "a repository reaches others over the network only; `submodules=false` in its address leaves them out",
        ),
        _ => None,
    }
}

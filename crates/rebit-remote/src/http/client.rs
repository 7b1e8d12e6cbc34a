//! The client.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body};

use super::address::Address;
use super::{Head, HttpError, Identity};
use crate::{Proxies, Stop};

/// How often the caller is asked whether to stop.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// What a client depends on.
#[derive(Clone)]
pub struct ClientOptions {
    /// Certificates of the authorities that vouch for servers, as PEM; others in the text are passed over.
    pub authorities: Vec<u8>,
    /// The proxies.
    pub proxies: Proxies,
    /// What is taken, and for how long.
    pub limits: Limits,
    /// Asked while waiting.
    pub stop: Stop,
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("proxies", &self.proxies)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What is taken, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of an answer.
    pub bytes: u64,
    /// Most redirects.
    pub redirects: u32,
    /// Longest time to make a connection.
    pub connect: Duration,
    /// Longest time in which nothing comes.
    pub idle: Duration,
    /// How often a request is tried.
    pub attempts: u32,
    /// The pause after the first try; it doubles with each, up to 64 times.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            redirects: 10,
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            attempts: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// A request for what a URL leads to.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The URL; a user name and password in it are sent as basic authentication.
    pub url: &'a str,
    /// Fields to send besides.
    pub fields: Vec<(&'static str, String)>,
    /// Most bytes of the answer, where they are fewer than the client takes.
    pub limit: Option<u64>,
}

/// Gets URLs. Connections are kept for the next request.
#[derive(Debug)]
pub struct Client {
    pub(super) agent: Agent,
    pub(super) trusts: bool,
    pub(super) options: ClientOptions,
}

impl Client {
    /// A client; nothing is connected yet.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self::for_host(options, false, None)
    }

    /// A client that takes any certificate, when `any_certificate` says so, and shows its own to servers that ask for one.
    pub(crate) fn for_host(
        options: ClientOptions,
        any_certificate: bool,
        identity: Option<&Identity>,
    ) -> Self {
        let authorities: Vec<_> = parse_pem(&options.authorities)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let trusts = any_certificate || !authorities.is_empty();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(authorities)))
            .disable_verification(any_certificate)
            .client_cert(identity.map(Identity::shown))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("rebit/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(options.limits.connect))
            .timeout_per_read(Some(options.limits.idle))
            .timeout_per_write(Some(options.limits.idle))
            .build();
        Self { agent: Agent::new_with_config(config), trusts, options }
    }

    /// Gets a URL into `into`, which holds exactly the body afterwards, and nothing when the answer is that what is known is right.
    ///
    /// The request is tried again where that may help; each try begins with an empty file.
    ///
    /// # Errors
    /// [`HttpError`]; what `into` holds then means nothing.
    pub fn fetch(&self, request: &Request<'_>, into: &mut File) -> Result<Head, HttpError> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            // Whoever waits for a server is woken when the caller stops.
            let watch = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if (self.options.stop)() {
                        self.agent.clone().shutdown();
                        return;
                    }
                    thread::park_timeout(GLANCE);
                }
            });
            let fetched = self.with_retries(|| self.attempt(request, into));
            done.store(true, Ordering::Relaxed);
            watch.thread().unpark();
            // A connection that was shut down may look like one that has ended.
            if (self.options.stop)() { Err(HttpError::Interrupted) } else { fetched }
        })
    }

    fn attempt(&self, request: &Request<'_>, into: &mut File) -> Result<Head, Failed> {
        let (head, mut body) = self.open(request)?;
        let shown = head.url.clone();
        let cannot_write = |source| HttpError::Write { url: shown.clone(), source };
        into.set_len(0).and_then(|()| into.rewind()).map_err(cannot_write)?;
        let limit = request.limit.unwrap_or(u64::MAX).min(self.options.limits.bytes);
        let too_large = || HttpError::TooLarge { url: shown.clone(), limit };
        if body.content_length().is_some_and(|length| length > limit) {
            return Err(too_large().into());
        }
        let mut reader = body.as_reader();
        let mut buffer = vec![0; 64 << 10];
        let mut total = 0;
        loop {
            if (self.options.stop)() {
                return Err(HttpError::Interrupted.into());
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failure(&shown, ureq::Error::from(error)).into()),
            };
            total += count as u64;
            if total > limit {
                return Err(too_large().into());
            }
            into.write_all(buffer.get(..count).unwrap_or_default()).map_err(cannot_write)?;
        }
        into.rewind().map_err(cannot_write)?;
        Ok(head)
    }

    /// Sends the request once and follows where it leads.
    fn open(&self, request: &Request<'_>) -> Result<(Head, Body), Failed> {
        let shown = || rebit_dockerfile::remote::redacted(request.url);
        let mut address =
            Address::parse(request.url).map_err(|reason| HttpError::BadUrl { url: shown(), reason })?;
        for _ in 0..=self.options.limits.redirects {
            let (head, body) = self.send(&address, &request.fields)?;
            let is_redirect = matches!(head.status, 301 | 302 | 303 | 307 | 308);
            let Some(location) = head.field("location").filter(|_| is_redirect) else {
                return check(head).map(|head| (head, body));
            };
            address = self.follow(&address, location)?;
        }
        Err(HttpError::TooManyRedirects { url: shown(), limit: self.options.limits.redirects }.into())
    }

    /// Where a redirect leads from `address`.
    pub(super) fn follow(&self, address: &Address, location: &str) -> Result<Address, HttpError> {
        let bad = |to: String, reason| HttpError::BadRedirect { url: address.to_string(), to, reason };
        let next = address.join(location).map_err(|_| {
            bad(rebit_dockerfile::remote::redacted(location), "which is no URL that can be fetched")
        })?;
        if address.tls && !next.tls {
            return Err(bad(next.to_string(), "from https to http"));
        }
        Ok(next)
    }

    fn send(&self, address: &Address, fields: &[(&'static str, String)]) -> Result<(Head, Body), HttpError> {
        let url = address.to_string();
        if address.tls && !self.trusts {
            return Err(HttpError::NoAuthorities { url });
        }
        let proxy = self.options.proxies.for_address(address)?;
        let mut sent = self.agent.get(&url);
        for (name, value) in fields {
            sent = sent.header(*name, value);
        }
        if let Some(credentials) = &address.credentials {
            sent = sent.header("authorization", credentials.basic());
        }
        let answer = sent.config().proxy(proxy).build().call().map_err(|error| self.failure(&url, error))?;
        let (parts, body) = answer.into_parts();
        Ok((Head { url, status: parts.status.as_u16(), fields: parts.headers }, body))
    }

    pub(super) fn failure(&self, url: &str, error: ureq::Error) -> HttpError {
        let url = url.to_owned();
        // An error of TLS comes as one of reading where the handshake fails late.
        let is_tls = |error: &ureq::Error| match error {
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
            ureq::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
            _ => false,
        };
        match error {
            ureq::Error::Timeout(_) => {
                HttpError::Stalled { url, seconds: self.options.limits.idle.as_secs() }
            }
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => {
                HttpError::BadUrl { url, reason: "it has parts that cannot be sent" }
            }
            error if is_tls(&error) => HttpError::Tls { url, source: Box::new(error) },
            error => HttpError::Connection { url, source: Box::new(error) },
        }
    }

    /// Tries again, after a pause, what failed for a reason that may pass.
    fn with_retries<T>(&self, mut attempt: impl FnMut() -> Result<T, Failed>) -> Result<T, HttpError> {
        let mut tried = 1;
        loop {
            let Failed { error, wait } = match attempt() {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            if !error.is_transient() || !self.may_retry(&mut tried, wait)? {
                return Err(error);
            }
        }
    }

    /// Pauses before another try, and counts it; `false` when there were enough.
    pub(crate) fn may_retry(&self, tried: &mut u32, wait: Option<Duration>) -> Result<bool, HttpError> {
        let limits = self.options.limits;
        if *tried >= limits.attempts {
            return Ok(false);
        }
        let pause = limits.pause.saturating_mul(1 << (*tried - 1).min(6));
        // What a server asks for is obeyed as far as it is within what is waited for anyway.
        self.pause(pause.max(wait.unwrap_or_default().min(limits.idle)))?;
        *tried += 1;
        Ok(true)
    }

    fn pause(&self, length: Duration) -> Result<(), HttpError> {
        let mut left = length;
        loop {
            if (self.options.stop)() {
                return Err(HttpError::Interrupted);
            }
            if left.is_zero() {
                return Ok(());
            }
            let slice = left.min(GLANCE);
            thread::sleep(slice);
            left -= slice;
        }
    }
}

/// A try that failed, and how long the server wants the next one to wait.
struct Failed {
    error: HttpError,
    wait: Option<Duration>,
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        Self { error, wait: None }
    }
}

/// Turns an answer that is none into an error.
fn check(head: Head) -> Result<Head, Failed> {
    let (url, status) = (head.url.clone(), head.status);
    let error = match status {
        200 | 304 => return Ok(head),
        404 | 410 => HttpError::NotFound { url, status },
        401 | 403 | 407 => HttpError::Denied { url, status },
        _ => HttpError::Status { url, status },
    };
    Err(Failed { error, wait: head.retry_after().map(Duration::from_secs) })
}

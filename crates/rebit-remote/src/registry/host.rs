//! A registry host as it is spoken to: its address, its connections, and what it wants to be shown.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use ureq::http::Method;

use super::auth::{Asker, Authority, Renewed};
use super::hosts::{Endpoint, Security};
use super::{Machinery, RegistryError};
use crate::http::{Answer, Client, ClientOptions, Exchange, HttpError, Payload, Watch};

/// Most bytes of an answer that says what went wrong.
const MAX_ERROR: u64 = 64 << 10;
/// How often at most something else is shown to a host, one try of a request.
const MAX_ROUNDS: u32 = 4;
/// Most characters that are shown of it.
const MAX_SAID: usize = 300;

/// A host and a repository there, with the right that is wanted.
pub(super) struct Host {
    pub(super) endpoint: Endpoint,
    machinery: Arc<Machinery>,
    line: Mutex<Option<Arc<Line>>>,
    authority: Authority,
}

/// How the host is reached.
struct Line {
    base: String,
    client: Arc<Client>,
    _watch: Option<Watch>,
}

/// What is asked of a host.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// A path below `/v2/`, or a whole URL that the host gave.
    pub(super) target: &'a str,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) bytes: Option<&'a [u8]>,
    /// What a token has to allow.
    pub(super) scope: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, target: &'a str, scope: &'a str) -> Self {
        Self { method, target, fields: Vec::new(), bytes: None, scope }
    }

    pub(super) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

impl Host {
    pub(super) fn new(endpoint: Endpoint, machinery: Arc<Machinery>) -> Self {
        Self { endpoint, machinery, line: Mutex::default(), authority: Authority::default() }
    }

    /// Asks, with retries, and with credentials when the host wants them. Any status is an answer.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Answer, RegistryError> {
        let mut tried = 1;
        loop {
            let payload = call.bytes.map_or(Payload::None, Payload::Bytes);
            let answer = self.attempt(call, payload);
            let wait = match &answer {
                Ok(answer) if answer.head.is_transient() => answer.head.wait(),
                Err(RegistryError::Http(error)) if error.is_transient() => None,
                _ => return answer,
            };
            if !self.may_retry(&mut tried, wait)? {
                return answer;
            }
        }
    }

    /// Asks once; when the host wants (other) credentials, once more, or a little more often where other threads got them. A body that was read is not sent a second time: the caller
    /// gets the 401, and the next attempt has a new token.
    pub(super) fn attempt(&self, call: &Call<'_>, mut payload: Payload<'_>) -> Result<Answer, RegistryError> {
        let line = self.line()?;
        let url = match call.target.contains("://") {
            true => call.target.to_owned(),
            false => format!("{}/v2/{}", line.base, call.target),
        };
        let asker = self.asker(&line);
        let mut own = false;
        for round in 1.. {
            let authorization = self.authority.get(&asker, call.scope)?;
            let is_stream = matches!(payload, Payload::Stream(..));
            let exchange = Exchange {
                method: call.method.clone(),
                url: &url,
                fields: call.fields.clone(),
                // A location that the host gave may be elsewhere.
                authorization: authorization.as_deref().filter(|_| self.is_own(&line, &url)),
                payload: match &mut payload {
                    Payload::Stream(reader, length) => Payload::Stream(*reader, *length),
                    Payload::Bytes(bytes) => Payload::Bytes(bytes),
                    Payload::None => Payload::None,
                },
            };
            let answer = line.client.exchange(exchange)?;
            if answer.head.status != 401 || own || round == MAX_ROUNDS {
                return Ok(answer);
            }
            match self.authority.refused(&asker, &answer.head, call.scope, authorization.as_deref())? {
                _ if is_stream => return Ok(answer),
                Renewed::No => return Ok(answer),
                Renewed::Own => own = true,
                Renewed::Others => {}
            }
        }
        unreachable!("the last round returns")
    }

    fn is_own(&self, line: &Line, url: &str) -> bool {
        url.strip_prefix(&line.base).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    fn asker<'a>(&'a self, line: &'a Line) -> Asker<'a> {
        Asker {
            site: &*self.machinery.options.site,
            client: &line.client,
            account: &self.endpoint.account,
            repository: &self.endpoint.repository,
            tls: line.base.starts_with("https:"),
        }
    }

    /// Pauses before another try, unless there were enough.
    pub(super) fn may_retry(
        &self,
        tried: &mut u32,
        wait: Option<std::time::Duration>,
    ) -> Result<bool, RegistryError> {
        Ok(self.machinery.client.may_retry(tried, wait)?)
    }

    /// Reads an answer's body.
    pub(super) fn body(&self, answer: Answer, limit: u64) -> Result<Vec<u8>, RegistryError> {
        Ok(self.line()?.client.read_body(answer, limit)?)
    }

    /// Reads an answer's body as it comes.
    pub(super) fn reader(&self, answer: Answer) -> Box<dyn Read + Send> {
        Box::new(answer.body.into_reader())
    }

    /// What ended a connection.
    pub(super) fn read_failure(&self, url: &str, error: std::io::Error) -> HttpError {
        self.machinery.client.read_failure(url, error)
    }

    /// The error that an answer stands for. `what` was asked for.
    pub(super) fn refusal(&self, answer: Answer, what: &str) -> RegistryError {
        let status = answer.head.status;
        let (what, registry) = (what.to_owned(), self.endpoint.account.clone());
        let said = self.body(answer, MAX_ERROR).map(|bytes| said(&bytes)).unwrap_or_default();
        match status {
            404 => RegistryError::NotFound { what, registry },
            401 | 403 => {
                let with_credentials = self.authority.has_credentials();
                RegistryError::Denied { what, registry, status, with_credentials, said }
            }
            _ => RegistryError::Status { what, registry, status, said },
        }
    }

    /// An answer that does not follow the protocol.
    pub(super) fn protocol(&self, what: &str, reason: impl Into<String>) -> RegistryError {
        let registry = self.endpoint.account.clone();
        RegistryError::Protocol { what: what.to_owned(), registry, reason: reason.into() }
    }

    /// How the host is reached; found out when it is needed first.
    fn line(&self) -> Result<Arc<Line>, RegistryError> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = &*line {
            return Ok(Arc::clone(line));
        }
        let found = Arc::new(self.connect()?);
        *line = Some(Arc::clone(&found));
        Ok(found)
    }

    fn connect(&self) -> Result<Line, RegistryError> {
        let Endpoint { host, security, .. } = &self.endpoint;
        let options = &self.machinery.options;
        let further = options.site.authorities(host);
        let identity = options
            .site
            .identity(host)
            .map_err(|source| RegistryError::Identity { registry: host.clone(), source })?;
        let is_known = !further.is_empty() || identity.is_some();
        let own = |any: bool| {
            let mut authorities = options.http.authorities.clone();
            authorities.extend(&further);
            let client = ClientOptions { authorities, ..options.http.clone() };
            let client = Client::for_host(client, any, identity.as_ref());
            (Some(client.watch()), Arc::new(client))
        };
        let shared = || (None, Arc::clone(&self.machinery.client));
        let (scheme, (watch, client)) = match security {
            // Whoever gives a certificate for a registry on this machine wants it to be asked over TLS.
            Security::Tls | Security::Plain if is_known => ("https", own(false)),
            Security::Tls => ("https", shared()),
            Security::Plain => ("http", shared()),
            Security::Any => {
                let (watch, client) = own(true);
                match client.exchange(Exchange::new(Method::GET, &format!("https://{host}/v2/"))) {
                    Err(HttpError::Tls { .. } | HttpError::Connection { .. }) => ("http", shared()),
                    Err(error) => return Err(error.into()),
                    Ok(_) => ("https", (watch, client)),
                }
            }
        };
        Ok(Line { base: format!("{scheme}://{host}"), client, _watch: watch })
    }

    /// A location as a whole URL.
    pub(super) fn absolute(&self, location: &str, what: &str) -> Result<String, RegistryError> {
        let base = crate::http::Address::parse(&format!("{}/v2/", self.line()?.base));
        let to = base.and_then(|base| base.join(location));
        to.map(|to| to.to_string()).map_err(|reason| self.protocol(what, reason))
    }
}

/// What an answer says in words: codes and messages, cut and on one line.
pub(super) fn said(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Body { errors }) = serde_json::from_slice(bytes) else { return String::new() };
    let items = errors.iter().map(|item| format!("{} ({})", item.message, item.code));
    let text = items.collect::<Vec<_>>().join("; ");
    text.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

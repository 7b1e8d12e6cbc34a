//! What a host is shown: nothing, a user name and password, or a token that its token server gave.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use ureq::http::Method;

use super::challenge::{self, Challenge};
use super::credentials::Credentials;
use super::{RegistryError, Site};
use crate::http::{Address, Answer, Client, Exchange, Head, HttpError, Payload};

/// Most bytes of a token server's answer.
const MAX_TOKEN: u64 = 1 << 20;

/// What is known of a host's wishes, and what was got to meet them.
#[derive(Default)]
pub(super) struct Authority {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// Asked for once.
    credentials: Option<Option<Credentials>>,
    /// Values of the field, by what they are good for.
    granted: BTreeMap<String, String>,
}

/// What became of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewed {
    /// There is nothing else to show.
    No,
    /// There is something new, got for this.
    Own,
    /// Another thread had got something new by then, which may have run out in turn.
    Others,
}

/// Who asks, and on which way.
pub(super) struct Asker<'a> {
    pub(super) site: &'a dyn Site,
    /// Reaches the token server.
    pub(super) client: &'a Client,
    /// The name of the registry for credentials.
    pub(super) account: &'a str,
    pub(super) repository: &'a str,
    /// Whether the registry itself is asked over TLS.
    pub(super) tls: bool,
}

impl Authority {
    /// The value of `Authorization` for `scope`, if the host wants one.
    pub(super) fn get(&self, asker: &Asker<'_>, scope: &str) -> Result<Option<String>, RegistryError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.challenge, state.granted.get(scope)) {
            (None, _) => Ok(None),
            (_, Some(value)) => Ok(Some(value.clone())),
            (Some(_), None) => state.obtain(asker, scope),
        }
    }

    /// Takes note that `used` was not enough. Says whether there is something else to try.
    pub(super) fn refused(
        &self,
        asker: &Asker<'_>,
        head: &Head,
        scope: &str,
        used: Option<&str>,
    ) -> Result<Renewed, RegistryError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread was faster.
        if let Some(value) = state.granted.get(scope)
            && Some(value.as_str()) != used
        {
            return Ok(Renewed::Others);
        }
        state.granted.remove(scope);
        match challenge::parse(head.all("www-authenticate")) {
            Some(challenge) => state.challenge = Some(challenge),
            None => return Ok(Renewed::No),
        }
        let value = state.obtain(asker, scope)?;
        // The same password a second time is no news.
        Ok(if value.is_some() && value.as_deref() != used { Renewed::Own } else { Renewed::No })
    }

    /// Whether credentials of the user are in play.
    pub(super) fn has_credentials(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(state.credentials, Some(Some(_)))
    }
}

impl State {
    fn obtain(&mut self, asker: &Asker<'_>, scope: &str) -> Result<Option<String>, RegistryError> {
        if self.credentials.is_none() {
            let found = asker.site.credentials(asker.account, asker.repository).map_err(|source| {
                RegistryError::Credentials { registry: asker.account.to_owned(), source }
            })?;
            self.credentials = Some(found);
        }
        let credentials = self.credentials.as_ref().and_then(Option::as_ref);
        let value = match &self.challenge {
            None => None,
            Some(Challenge::Basic) => credentials.and_then(Credentials::basic),
            Some(Challenge::Bearer { realm, service, scope: asked }) => {
                let request = TokenRequest {
                    realm,
                    service: service.as_deref(),
                    scopes: scopes(scope, asked.as_deref()),
                };
                Some(format!("Bearer {}", request.token(asker, credentials)?))
            }
        };
        if let Some(value) = &value {
            self.granted.insert(scope.to_owned(), value.clone());
        }
        Ok(value)
    }
}

/// What is asked for: what is wanted, and what the registry named besides.
fn scopes<'a>(wanted: &'a str, asked: Option<&'a str>) -> Vec<&'a str> {
    let resource = |scope: &'a str| scope.rsplit_once(':').map_or(scope, |(resource, _)| resource);
    let mut scopes: Vec<&str> = wanted.split(' ').filter(|scope| !scope.is_empty()).collect();
    for scope in asked.unwrap_or_default().split(' ').filter(|scope| !scope.is_empty()) {
        if !scopes.iter().any(|known| resource(known) == resource(scope)) {
            scopes.push(scope);
        }
    }
    scopes
}

struct TokenRequest<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scopes: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl TokenRequest<'_> {
    /// Asks the token server (distribution's `token` and `oauth` specifications).
    fn token(&self, asker: &Asker<'_>, credentials: Option<&Credentials>) -> Result<String, RegistryError> {
        let wrong = |reason: &str| RegistryError::Protocol {
            what: "a token".to_owned(),
            registry: asker.account.to_owned(),
            reason: reason.to_owned(),
        };
        let realm = Address::parse(self.realm).map_err(|_| wrong("it names no token server"))?;
        if asker.tls && !realm.tls {
            return Err(wrong("it names a token server that is asked without TLS"));
        }
        let answer = match credentials {
            Some(Credentials::IdentityToken(token)) => {
                let mut form = vec![("grant_type", "refresh_token"), ("client_id", "rebit")];
                form.extend(self.service.map(|service| ("service", service)));
                let scope = self.scopes.join(" ");
                form.extend([("scope", scope.as_str()), ("refresh_token", token.as_str())]);
                let body = encode(&form);
                ask(asker.client, || {
                    let mut exchange = Exchange::new(Method::POST, self.realm);
                    let kind = "application/x-www-form-urlencoded".to_owned();
                    exchange.fields.push(("content-type", kind));
                    Exchange { payload: Payload::Bytes(body.as_bytes()), ..exchange }
                })?
            }
            other => {
                let mut query = Vec::new();
                if let Some(Credentials::Password { user, .. }) = other {
                    query.push(("account", user.as_str()));
                }
                query.extend(self.service.map(|service| ("service", service)));
                query.extend(self.scopes.iter().map(|scope| ("scope", *scope)));
                let join = if self.realm.contains('?') { '&' } else { '?' };
                let url = format!("{}{join}{}", self.realm, encode(&query));
                let basic = other.and_then(Credentials::basic);
                ask(asker.client, || Exchange {
                    authorization: basic.as_deref(),
                    ..Exchange::new(Method::GET, &url)
                })?
            }
        };
        let status = answer.head.status;
        if status != 200 {
            let (what, registry) = ("a token".to_owned(), asker.account.to_owned());
            let said = String::new();
            return Err(match status {
                400 | 401 | 403 => {
                    let with_credentials = credentials.is_some();
                    RegistryError::Denied { what, registry, status, with_credentials, said }
                }
                status => RegistryError::Status { what, registry, status, said },
            });
        }
        let bytes = asker.client.read_body(answer, MAX_TOKEN)?;
        // The parser's error may quote the token.
        let token =
            serde_json::from_slice::<Token>(&bytes).map_err(|_| wrong("it is no JSON with a token"))?;
        token.sendable().ok_or_else(|| wrong("it is empty or cannot be sent"))
    }
}

impl Token {
    /// The token, when it can stand in a field.
    fn sendable(self) -> Option<String> {
        let token = if self.token.is_empty() { self.access_token } else { self.token };
        let is_sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_sendable.then_some(token)
    }
}

/// The token in an answer.
pub(super) fn token_of(bytes: &[u8]) -> Option<String> {
    serde_json::from_slice::<Token>(bytes).ok()?.sendable()
}

/// Asks with retries.
fn ask<'a>(client: &Client, exchange: impl Fn() -> Exchange<'a>) -> Result<Answer, HttpError> {
    let mut tried = 1;
    loop {
        let answer = client.exchange(exchange());
        let wait = match &answer {
            Ok(answer) if answer.head.is_transient() => answer.head.wait(),
            Err(error) if error.is_transient() => None,
            _ => return answer,
        };
        if !client.may_retry(&mut tried, wait)? {
            return answer;
        }
    }
}

/// Names and values as in a query.
pub(super) fn encode(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A text as a part of a query.
pub(super) fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let shown = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_those_wanted_and_those_named() {
        for (wanted, asked, expected) in [
            ("repository:a:pull", None, &["repository:a:pull"][..]),
            ("repository:a:pull,push", Some("repository:a:pull"), &["repository:a:pull,push"]),
            (
                "repository:a:pull,push repository:b:pull",
                Some("registry:catalog:*"),
                &["repository:a:pull,push", "repository:b:pull", "registry:catalog:*"],
            ),
            ("", Some("x:y:z"), &["x:y:z"]),
            ("", None, &[]),
        ] {
            assert_eq!(scopes(wanted, asked), expected);
        }
        assert_eq!(encode(&[("a", "x y&z"), ("b", "é:/")]), "a=x%20y%26z&b=%C3%A9%3A%2F");
    }
}

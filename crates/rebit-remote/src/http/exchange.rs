//! One request and its answer, whatever the answer is: the level at which a registry is spoken to.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use ureq::http::{self, Method, Response};
use ureq::{AsSendBody, Body, Proxy, SendBody};

use super::address::Address;
use super::client::GLANCE;
use super::{Client, Head, HttpError};

/// What is sent after the fields.
pub(crate) enum Payload<'a> {
    /// Nothing, as in GET and HEAD.
    None,
    /// Bytes; none at all is a body too.
    Bytes(&'a [u8]),
    /// So many bytes from a reader.
    Stream(&'a mut dyn Read, u64),
}

/// A request.
pub(crate) struct Exchange<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Goes to the host of `url` and to no other one that it leads to.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) payload: Payload<'a>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(method: Method, url: &'a str) -> Self {
        Self { method, url, fields: Vec::new(), authorization: None, payload: Payload::None }
    }
}

/// What came back: any status, and the body not read yet.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Body,
}

impl Client {
    /// Sends a request once. Redirects are followed where nothing was sent with it.
    ///
    /// # Errors
    /// [`HttpError`] when there is no answer; a status is none.
    pub(crate) fn exchange(&self, mut exchange: Exchange<'_>) -> Result<Answer, HttpError> {
        let shown = || without_query(&rebit_dockerfile::remote::redacted(exchange.url));
        let first =
            Address::parse(exchange.url).map_err(|reason| HttpError::BadUrl { url: shown(), reason })?;
        let may_follow = matches!(exchange.payload, Payload::None);
        let limit = self.options.limits.redirects;
        let mut address = first.clone();
        for _ in 0..=limit {
            let at_home = (first.tls, &first.authority) == (address.tls, &address.authority);
            let answer = self.send_once(&address, &mut exchange, at_home)?;
            let is_redirect = matches!(answer.head.status, 301 | 302 | 303 | 307 | 308);
            match answer.head.field("location").filter(|_| is_redirect && may_follow) {
                Some(location) => address = self.follow(&address, location).map_err(shorter)?,
                None => return Ok(answer),
            }
        }
        Err(HttpError::TooManyRedirects { url: without_query(&first.to_string()), limit })
    }

    fn send_once(
        &self,
        address: &Address,
        exchange: &mut Exchange<'_>,
        at_home: bool,
    ) -> Result<Answer, HttpError> {
        if (self.options.stop)() {
            return Err(HttpError::Interrupted);
        }
        let url = without_query(&address.to_string());
        if address.tls && !self.trusts {
            return Err(HttpError::NoAuthorities { url });
        }
        let proxy = self.options.proxies.for_address(address)?;
        let mut request = http::Request::builder().method(exchange.method.clone()).uri(address.to_string());
        for (name, value) in &exchange.fields {
            request = request.header(*name, value);
        }
        if let Some(value) = exchange.authorization.filter(|_| at_home) {
            request = request.header("authorization", value);
        }
        let answer = match &mut exchange.payload {
            Payload::None => self.run(&url, proxy, request, ()),
            Payload::Bytes(bytes) => {
                self.run(&url, proxy, request.header("content-length", bytes.len()), *bytes)
            }
            Payload::Stream(reader, length) => {
                let request = request.header("content-length", *length);
                self.run(&url, proxy, request, SendBody::from_reader(*reader))
            }
        }?;
        let (parts, body) = answer.into_parts();
        Ok(Answer { head: Head { url, status: parts.status.as_u16(), fields: parts.headers }, body })
    }

    fn run(
        &self,
        url: &str,
        proxy: Option<Proxy>,
        request: http::request::Builder,
        body: impl AsSendBody,
    ) -> Result<Response<Body>, HttpError> {
        let bad = |_| HttpError::BadUrl { url: url.to_owned(), reason: "it has parts that cannot be sent" };
        let request = request.body(body).map_err(bad)?;
        let request = self.agent.configure_request(request).proxy(proxy).build();
        self.agent.run(request).map_err(|error| self.failure(url, error))
    }

    /// Reads an answer's body, at most `limit` bytes of it.
    ///
    /// # Errors
    /// [`HttpError::TooLarge`], and whatever ends the connection.
    pub(crate) fn read_body(&self, answer: Answer, limit: u64) -> Result<Vec<u8>, HttpError> {
        let url = answer.head.url;
        let too_large = || HttpError::TooLarge { url: url.clone(), limit };
        if answer.body.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let mut reader = answer.body.into_reader().take(limit.saturating_add(1));
        reader.read_to_end(&mut bytes).map_err(|error| self.failure(&url, ureq::Error::from(error)))?;
        if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
    }

    /// An error of reading what `url` sends.
    pub(crate) fn read_failure(&self, url: &str, error: io::Error) -> HttpError {
        if (self.options.stop)() {
            return HttpError::Interrupted;
        }
        self.failure(url, ureq::Error::from(error))
    }

    /// Ends every connection when the caller wants to stop, as long as the guard lives.
    pub(crate) fn watch(&self) -> Watch {
        let done = Arc::new(AtomicBool::new(false));
        let (seen, stop, agent) = (Arc::clone(&done), Arc::clone(&self.options.stop), self.agent.clone());
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                if stop() {
                    agent.shutdown();
                    return;
                }
                thread::park_timeout(GLANCE);
            }
        });
        Watch { done, thread: Some(thread) }
    }
}

fn shorter(error: HttpError) -> HttpError {
    match error {
        HttpError::BadRedirect { url, to, reason } => {
            HttpError::BadRedirect { url: without_query(&url), to: without_query(&to), reason }
        }
        error => error,
    }
}

/// An address as errors have it. What follows the question mark is often a signature that lets everybody in.
fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// A thread that looks whether the caller wants to stop; it ends with this value.
#[derive(Debug)]
pub(crate) struct Watch {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A watcher that panicked watches nothing any more, which is all there is to say of it.
            let _ended = thread.join();
        }
    }
}

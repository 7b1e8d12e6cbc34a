//! Why a URL could not be fetched. No message has credentials.

use std::io;

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be read.
    #[error("`{url}` is not a URL that can be fetched: {reason}")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server has no such thing.
    #[error("`{url}` does not exist: the server answers {status}")]
    NotFound {
        /// The URL.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server wants other credentials, or none will do.
    #[error("`{url}` is not to be had: the server answers {status}")]
    Denied {
        /// The URL.
        url: String,
        /// 401, 403 or 407.
        status: u16,
    },
    /// Another answer than the wanted one.
    #[error("`{url}` could not be fetched: the server answers {status}")]
    Status {
        /// The URL.
        url: String,
        /// The answer.
        status: u16,
    },
    /// One redirect too many.
    #[error("`{url}` leads from one address to the next more than {limit} times")]
    TooManyRedirects {
        /// The URL that was asked for.
        url: String,
        /// How many are followed.
        limit: u32,
    },
    /// A redirect that is not followed.
    #[error("`{url}` leads to `{to}`, {reason}")]
    BadRedirect {
        /// The URL.
        url: String,
        /// Where it leads.
        to: String,
        /// Why not there.
        reason: &'static str,
    },
    /// There is no connection, or it ended before the answer did.
    #[error("`{url}` could not be fetched")]
    Connection {
        /// The URL.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The server's certificate is not to be trusted, or it does not speak TLS.
    #[error("`{url}` could not be fetched over TLS")]
    Tls {
        /// The URL.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// Nothing came for too long.
    #[error("`{url}` sent nothing for {seconds} seconds")]
    Stalled {
        /// The URL.
        url: String,
        /// How long.
        seconds: u64,
    },
    /// More came than is taken.
    #[error("`{url}` is larger than {limit} bytes")]
    TooLarge {
        /// The URL.
        url: String,
        /// How many are taken.
        limit: u64,
    },
    /// There is no certificate of an authority, so that no server can be trusted.
    #[error("`{url}` needs TLS, and no certificates of authorities were found")]
    NoAuthorities {
        /// The URL.
        url: String,
    },
    /// The proxy cannot be used.
    #[error("`{proxy}` cannot be used as a proxy")]
    BadProxy {
        /// The proxy.
        proxy: String,
    },
    /// What came cannot be written.
    #[error("what `{url}` sent cannot be written")]
    Write {
        /// The URL.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The caller wanted to stop.
    #[error("the fetch was interrupted")]
    Interrupted,
}

impl HttpError {
    /// Whether another try may go better.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            // A name that nobody knows does not come to be known.
            Self::Connection { source, .. } => !matches!(**source, ureq::Error::HostNotFound),
            Self::Stalled { .. } => true,
            Self::Status { status, .. } => may_pass(*status),
            _ => false,
        }
    }
}

/// Whether a status may be another one the next time.
pub(super) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599) && status != 501
}

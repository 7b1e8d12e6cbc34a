//! Why something could not be done with a registry. No message has credentials.

use std::error::Error;

use rebit_oci::Digest;

use super::policy::Refusal;
use crate::http::HttpError;

/// Why something could not be done with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such repository, manifest or blob.
    #[error("{what} is not at the registry `{registry}`")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The host.
        registry: String,
    },
    /// The registry wants other credentials, or these may not do that.
    #[error("the registry `{registry}` does not allow it ({status}): {what}{}", quoted(said))]
    Denied {
        /// What was asked for.
        what: String,
        /// The host.
        registry: String,
        /// 401 or 403.
        status: u16,
        /// Whether credentials were sent.
        with_credentials: bool,
        /// What the registry says.
        said: String,
    },
    /// Another answer than the wanted one.
    #[error("the registry `{registry}` answers {status}: {what}{}", quoted(said))]
    Status {
        /// What was asked for.
        what: String,
        /// The host.
        registry: String,
        /// The answer.
        status: u16,
        /// What the registry says.
        said: String,
    },
    /// An answer that does not follow the protocol.
    #[error("the registry `{registry}` gives no valid answer: {what}: {reason}")]
    Protocol {
        /// What was asked for.
        what: String,
        /// The host.
        registry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What came is not what its digest says.
    #[error("the registry `{registry}` sends {what} with digest {found}")]
    Digest {
        /// What was asked for.
        what: String,
        /// The host.
        registry: String,
        /// What the bytes are.
        found: Digest,
    },
    /// This version cannot use that.
    #[error("{what} is not supported")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// The configuration of this machine forbids the registry.
    #[error("`{name}` is blocked by the configuration of registries")]
    Blocked {
        /// What was asked for.
        name: String,
    },
    /// The policy of this machine does not let the image in.
    #[error("the policy for `{scope}` {}: `{name}`", wish(refusal))]
    Policy {
        /// What was asked for.
        name: String,
        /// What in the policy decides.
        scope: String,
        /// Why.
        refusal: Refusal,
    },
    /// The credentials of this machine cannot be used.
    #[error("cannot get the credentials for `{registry}`")]
    Credentials {
        /// The host.
        registry: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The certificate that this machine would show cannot be used.
    #[error("cannot use the certificate of this machine for `{registry}`")]
    Identity {
        /// The host.
        registry: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The network.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// What is to be sent cannot be read.
    #[error("cannot read {what}")]
    Source {
        /// The blob.
        what: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; it says: {text}") }
}

fn wish(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Rejected => "rejects it".to_owned(),
        Refusal::Unverified { requirement } => format!("wants what is not verified here (`{requirement}`)"),
    }
}

impl RegistryError {
    /// Whether another place may have what this one has not.
    pub(super) fn is_of_the_place(&self) -> bool {
        !matches!(
            self,
            Self::Http(HttpError::Interrupted)
                | Self::Blocked { .. }
                | Self::Policy { .. }
                | Self::Unsupported { .. }
                | Self::Credentials { .. }
                | Self::Identity { .. }
                | Self::Source { .. }
        )
    }
}

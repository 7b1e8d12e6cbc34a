//! Getting a URL.
//!
//! A [`Client`] follows redirects itself, so that each step of the way has the proxy that is its own, credentials stay with the host
//! they are for, and nothing leads from `https` back to `http`. What fails for a reason that may pass (no connection, a body
//! that ends early, 429, 5xx) is tried again after a pause that doubles.

mod address;
mod client;
mod error;
mod exchange;
mod head;
mod identity;
mod proxy;
#[cfg(test)]
mod tests;

pub(crate) use address::Address;
pub use client::{Client, ClientOptions, Limits, Request};
pub use error::HttpError;
pub(crate) use exchange::{Answer, Exchange, Payload, Watch};
pub use head::Head;
pub use identity::{Identity, IdentityError};

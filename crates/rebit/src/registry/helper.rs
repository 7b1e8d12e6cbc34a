//! Programs that keep credentials: `docker-credential-NAME` and its three commands (docker-credential-helpers).

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rebit_remote::registry::Credentials;
use serde::Deserialize;
use serde_json::json;

/// Most bytes of an answer.
const MAX_ANSWER: u64 = 1 << 20;
/// The user name that says that the secret is a token.
const TOKEN: &str = "<token>";

/// Why a helper is of no help. The answer, which may be a secret, is not in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    #[error("`{name}` cannot be the end of a program's name")]
    Name { name: String },
    #[error("cannot run `docker-credential-{name}`")]
    Run { name: String, source: std::io::Error },
    #[error("`docker-credential-{name}` failed: {said}")]
    Failed { name: String, said: String },
    #[error("`docker-credential-{name}` gives no valid answer")]
    Answer { name: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    username: String,
    secret: String,
}

/// What the helper knows of a registry.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Credentials>, HelperError> {
    let bytes = match run(name, "get", server.as_bytes()) {
        Ok(bytes) => bytes,
        Err(HelperError::Failed { said, .. }) if said.contains("credentials not found") => return Ok(None),
        Err(error) => return Err(error),
    };
    let found: Found =
        serde_json::from_slice(&bytes).map_err(|_| HelperError::Answer { name: name.to_owned() })?;
    Ok(Some(match found {
        Found { username, secret } if username == TOKEN => Credentials::IdentityToken(secret),
        Found { username, secret } => Credentials::Password { user: username, password: secret },
    }))
}

/// Lets the helper keep a user name and a password.
pub(super) fn store(name: &str, server: &str, user: &str, password: &str) -> Result<(), HelperError> {
    let input = json!({"ServerURL": server, "Username": user, "Secret": password}).to_string();
    run(name, "store", input.as_bytes()).map(drop)
}

/// Lets the helper forget what it knows of a registry.
pub(super) fn erase(name: &str, server: &str) -> Result<(), HelperError> {
    run(name, "erase", server.as_bytes()).map(drop)
}

fn run(name: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, HelperError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(valid) {
        return Err(HelperError::Name { name: name.to_owned() });
    }
    let failed = |source| HelperError::Run { name: name.to_owned(), source };
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read to the end has its own reasons; its exit code counts.
        let _written = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER).read_to_end(&mut answer).map_err(failed)?;
    }
    if child.wait().map_err(failed)?.success() {
        return Ok(answer);
    }
    // What a helper prints when it fails is a message.
    let said = String::from_utf8_lossy(&answer).trim().chars().take(200).collect();
    Err(HelperError::Failed { name: name.to_owned(), said })
}

//! `rebit login` and `rebit logout`.

use std::io::{self, BufRead as _, IsTerminal, Read as _, Write as _};

use rebit_remote::registry::Credentials;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::CommandError;
use crate::flags::{Login, Logout};
use crate::output::say;
use crate::registry::{self, AuthStore, Registries};
use crate::signal;

/// No sane password is longer.
const MAX_PASSWORD: u64 = 64 << 10;

pub(crate) fn login(command: &Login) -> Result<(), CommandError> {
    let host = host(&command.registry)?;
    let user = match &command.username {
        Some(user) => user.clone(),
        None if io::stdin().is_terminal() && !command.password_stdin => ask("User name: ", false)?,
        None => return Err(CommandError::usage("there is no user name").hint("`--username NAME` gives it")),
    };
    if user.is_empty() || user.contains(':') {
        return Err(CommandError::usage("a user name is not empty and has no colon"));
    }
    let password = password(command)?;
    if password.is_empty() {
        return Err(CommandError::usage("the password is empty"));
    }
    let registries = Registries::new(&signal::stop_flag()?);
    let credentials = Credentials::Password { user: user.clone(), password: password.clone() };
    let known = registries.get()?.log_in(&host, credentials);
    known.map_err(|error| registries.failure(CommandError::new(&error)))?;
    match registry::save(&host, &user, &password)? {
        AuthStore::File(path) => {
            say(format!("logged in to {host}; the password is in `{}`, not encrypted", path.display()));
        }
        AuthStore::Helper(name) => {
            say(format!("logged in to {host}; docker-credential-{name} keeps the password"))
        }
    }
    Ok(())
}

pub(crate) fn logout(command: &Logout) -> Result<(), CommandError> {
    let host = host(&command.registry)?;
    match registry::take_away(&host)? {
        Some(_) => say(format!("logged out of {host}")),
        None => say(format!("nothing is kept for {host}")),
    }
    Ok(())
}

/// The host of what the user wrote, by the name that credentials are kept under.
fn host(text: &str) -> Result<String, CommandError> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = rest.split('/').next().unwrap_or_default();
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let is_host =
        format!("{host}/x").parse::<rebit_oci::Reference>().is_ok_and(|name| name.registry() == host);
    if is_host {
        Ok(host.to_owned())
    } else {
        Err(CommandError::usage(format!("`{text}` is not a registry host")))
    }
}

fn password(command: &Login) -> Result<String, CommandError> {
    if let Some(password) = &command.password {
        say(
            "warning: other users of this machine can see a password on the command line; --password-stdin hides it",
        );
        return Ok(password.clone());
    }
    if command.password_stdin {
        let mut text = String::new();
        let read = io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text);
        read.map_err(|error| CommandError::message(format!("cannot read the password: {error}")))?;
        return Ok(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    if io::stdin().is_terminal() {
        return ask("Password: ", true);
    }
    Err(CommandError::usage("there is no password").hint("`--password-stdin` reads it from standard input"))
}

/// Asks on the terminal; what is secret is not shown.
fn ask(prompt: &str, secret: bool) -> Result<String, CommandError> {
    let failed = |error: io::Error| CommandError::message(format!("cannot use the terminal: {error}"));
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
    let _ = write!(io::stderr(), "{prompt}");
    if secret {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &hidden).map_err(|error| failed(error.into()))?;
    }
    let mut line = String::new();
    let read = stdin.lock().take(MAX_PASSWORD).read_line(&mut line);
    if secret {
        tcsetattr(&stdin, OptionalActions::Now, &before).map_err(|error| failed(error.into()))?;
        let _ = writeln!(io::stderr());
    }
    read.map_err(failed)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

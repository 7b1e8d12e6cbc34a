//! `--secret` and `--ssh`.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use rebit_build::Secrets;

use crate::environment;
use crate::error::CommandError;

/// The largest secret, as in BuildKit.
const MAX_SECRET: u64 = 500 << 10;

/// Reads what the flags name. Values are in no message.
pub(crate) fn read(secrets: &[String], agents: &[String]) -> Result<Secrets, CommandError> {
    let mut read = Secrets::default();
    for flag in secrets {
        let (id, value) = secret(flag)?;
        read.secrets.insert(id, value);
    }
    for flag in agents {
        let (id, socket) = agent(flag)?;
        read.agents.insert(id, socket);
    }
    Ok(read)
}

/// `id=NAME[,src=FILE]` or `id=NAME,env=VARIABLE`; `type=file` and `type=env` say which is meant when only the name is given.
fn secret(flag: &str) -> Result<(String, Vec<u8>), CommandError> {
    let wrong = |reason: String| CommandError::usage(format!("`--secret {flag}`: {reason}"));
    let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
    for field in flag.split(',') {
        match field.split_once('=') {
            Some(("id", value)) => id = Some(value),
            Some(("src" | "source", value)) => source = Some(value),
            Some(("env", value)) => variable = Some(value),
            Some(("type", value @ ("file" | "env"))) => kind = Some(value),
            _ => {
                let error = wrong(format!("`{field}` is not supported"));
                return Err(error.hint("a secret is id=NAME,src=FILE or id=NAME,env=VARIABLE"));
            }
        }
    }
    let id = id.or(source).filter(|id| !id.is_empty()).ok_or_else(|| wrong("there is no id".to_owned()))?;
    if kind == Some("env") {
        variable = variable.or(source).or(Some(id));
        source = None;
    }
    // As in buildx, a name alone is a variable when there is one of it, else a file.
    if source.is_none() && variable.is_none() && kind.is_none() && environment::variable_bytes(id).is_some() {
        variable = Some(id);
    }
    match (source, variable) {
        (Some(_), Some(_)) => Err(wrong("it is either a file or a variable".to_owned())),
        (None, Some(name)) => {
            let value = environment::variable_bytes(name)
                .ok_or_else(|| wrong(format!("there is no variable `{name}`")))?;
            Ok((id.to_owned(), value))
        }
        (source, None) => Ok((id.to_owned(), read_file(source.unwrap_or(id))?)),
    }
}

fn read_file(path: &str) -> Result<Vec<u8>, CommandError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut content));
    match read {
        Ok(_) if content.len() as u64 > MAX_SECRET => {
            Err(CommandError::message(format!("the secret `{path}` is larger than {MAX_SECRET} bytes")))
        }
        Ok(_) => Ok(content),
        Err(error) => Err(CommandError::message(format!("cannot read the secret `{path}`: {error}"))),
    }
}

/// `default`, or `NAME=SOCKET`.
fn agent(flag: &str) -> Result<(String, PathBuf), CommandError> {
    let (id, socket) = match flag.split_once('=') {
        Some((id, socket)) => (id, Some(socket.to_owned())),
        None => (flag, environment::variable("SSH_AUTH_SOCK")?),
    };
    let socket = socket.filter(|socket| !socket.is_empty()).map(PathBuf::from).ok_or_else(|| {
        CommandError::usage(format!("`--ssh {flag}`: there is no agent (SSH_AUTH_SOCK is not set)"))
    })?;
    // Keys would have to be held by an agent of our own.
    let is_socket = std::fs::metadata(&socket)
        .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
    if !is_socket {
        return Err(CommandError::message(format!(
            "`{}` is not the socket of an SSH agent",
            socket.display()
        ))
        .hint("private keys are not supported; start an agent and add them to it"));
    }
    Ok((id.to_owned(), socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_variables() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "content").unwrap();
        let path = path.display();
        let check = |flag: &str, expected: (&str, &[u8])| {
            let (id, value) = secret(flag).unwrap();
            assert_eq!((id.as_str(), value.as_slice()), expected, "{flag}");
        };
        check(&format!("id=a,src={path}"), ("a", b"content"));
        check(&format!("type=file,id=a,source={path}"), ("a", b"content"));
        let cargo = std::env::var("CARGO_PKG_NAME").unwrap();
        check("id=a,env=CARGO_PKG_NAME", ("a", cargo.as_bytes()));
        check("id=CARGO_PKG_NAME", ("CARGO_PKG_NAME", cargo.as_bytes()));
        check("id=CARGO_PKG_NAME,type=env", ("CARGO_PKG_NAME", cargo.as_bytes()));
        for flag in ["", "id=", "src=", "id=a,env=NONE_SUCH", "id=a,src=x,env=CARGO_PKG_NAME", "id=a,mode=1"]
        {
            assert_eq!(secret(flag).unwrap_err().exit.code(), 2, "{flag}");
        }
        assert_eq!(secret("id=a,src=/none/such").unwrap_err().exit.code(), 1);
    }

    #[test]
    fn agents_are_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(agent(&format!("a={}", path.display())).unwrap(), ("a".to_owned(), path));
        assert_eq!(agent("a=/dev/null").unwrap_err().exit.code(), 1);
    }
}

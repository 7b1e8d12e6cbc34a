//! This machine, as far as archives need it: what is fetched, and whose signatures hold.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rebit_distro::{Host, HostError, SignedBy, armor};
use rebit_remote::http::{Client, Request};
use rebit_sandbox::{Exit, Mount, RootFs, RunSpec, Runner, StopFlag, Stream};
use rebit_store::Session;

use crate::apt::{Apt, LazyApt};
use crate::environment;
use crate::network::client_options;
use crate::output::say;

/// Largest file of keys.
const LIMIT: u64 = 16 << 20;
/// Where the program that verifies finds keys, text and signature: every machine has this directory.
const SEEN: &str = "/tmp";
/// What is said of one who verifies that a key has signed.
const GOOD: &str = "[GNUPG:] GOODSIG ";
const VALID: &str = "[GNUPG:] VALIDSIG ";

/// This machine, as far as archives need it.
pub(crate) struct Machine<'a> {
    apt: &'a LazyApt,
    client: OnceLock<Client>,
    session: &'a Session,
    stop: &'a StopFlag,
    quiet: bool,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(apt: &'a LazyApt, session: &'a Session, stop: &'a StopFlag, quiet: bool) -> Self {
        Self { apt, client: OnceLock::new(), session, stop, quiet }
    }

    fn client(&self, apt: &Apt) -> &Client {
        self.client.get_or_init(|| {
            apt.notes.iter().for_each(|note| self.say(note));
            let flag = self.stop.clone();
            let mut options = client_options(Arc::new(move || flag.is_stopped()));
            options.proxies = apt.proxies();
            Client::new(options)
        })
    }
}

/// Why a signature is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// Nothing here can verify it.
    #[error("neither gpgv nor sqv is installed")]
    NoProgram,
    /// There is no key that could have made it.
    #[error("there is no file of keys: {}", .files.join(", "))]
    NoKeys {
        /// The files that were looked for.
        files: Vec<String>,
    },
    /// No key that is trusted made it, or it is not the signature of this text.
    #[error("no trusted key signed it; {program} says: {said}")]
    NotSigned {
        /// The program that was asked.
        program: String,
        /// What it says.
        said: String,
    },
}

impl Host for Machine<'_> {
    fn fetch(&self, url: &str, limit: u64, into: &mut File) -> Result<(), HostError> {
        // An archive on a disk is read as one on a server.
        if let Some(path) = url.strip_prefix("file:") {
            let path = Path::new("/").join(path.trim_start_matches('/'));
            let copied = io::copy(&mut File::open(path)?.take(limit.saturating_add(1)), into)?;
            return if copied > limit {
                Err(format!("it is larger than {limit} bytes").into())
            } else {
                Ok(())
            };
        }
        let apt = self.apt.get()?;
        let request = Request { url: &apt.with_login(url), limit: Some(limit), ..Request::default() };
        self.client(apt).fetch(&request, into)?;
        Ok(())
    }

    fn verify(
        &self,
        text: &[u8],
        signature: &[u8],
        signed_by: &SignedBy,
        keyrings: &[PathBuf],
    ) -> Result<Vec<String>, HostError> {
        let scratch = self.session.scratch_dir("keys")?;
        let directory = fs::canonicalize(scratch.path())?;
        let keys = match signed_by {
            _ if !keyrings.is_empty() => read_keys(keyrings)?,
            SignedBy::Files { paths, .. } if !paths.is_empty() => read_keys(paths)?,
            SignedBy::Default | SignedBy::Files { .. } => read_keys(&self.apt.get()?.keyrings()?)?,
            SignedBy::Key(key) => vec![key.clone()],
        };
        let wanted: &[String] = match signed_by {
            SignedBy::Files { fingerprints, .. } if keyrings.is_empty() => fingerprints,
            _ => &[],
        };
        let mut files = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            let key = if armor::is_armored(key) { armor::decode(key) } else { Some(key.clone()) };
            let name = format!("{number}.gpg");
            if let Some(key) = key {
                fs::write(directory.join(&name), key)?;
                files.push(Path::new(SEEN).join(name));
            }
        }
        fs::write(directory.join("text"), text)?;
        fs::write(directory.join("signature"), signature)?;
        let path = environment::search_path();
        // A link may lead out of what is hidden by the directory with the keys.
        let find = |name: &str| {
            let found = std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file());
            found.and_then(|path| fs::canonicalize(path).ok())
        };
        let (program, is_gpgv) = match (find("gpgv"), find("sqv")) {
            (Some(gpgv), _) => (gpgv, true),
            (None, Some(sqv)) => (sqv, false),
            (None, None) => return Err(VerifyError::NoProgram.into()),
        };
        let mut args: Vec<std::ffi::OsString> = vec![program.clone().into()];
        if is_gpgv {
            args.extend(["--status-fd", "1", "--weak-digest", "SHA1", "--homedir"].map(Into::into));
            args.push(SEEN.into());
        }
        for file in files {
            args.extend(["--keyring".into(), file.into()]);
        }
        args.extend(["signature", "text"].map(|name| Path::new(SEEN).join(name).into()));
        let (exit, out, said) = self.confined(args, directory)?;
        let signers = if is_gpgv { good_signers(&out) } else { listed_signers(&out) };
        let signers: Vec<String> = signers
            .into_iter()
            .filter(|signer| wanted.is_empty() || signer.names().any(|name| wanted.iter().any(|w| w == name)))
            .map(|signer| signer.fingerprint)
            .collect();
        // A signature of a key that is not known makes gpgv end with 2, which is no matter when another holds.
        let bad = out.lines().any(|line| line.starts_with("[GNUPG:] BADSIG "));
        let ended_well = exit.is_success() || is_gpgv;
        if signers.is_empty() || bad || !ended_well {
            let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(VerifyError::NotSigned { program, said: crate::output::cut(&said, 400) }.into());
        }
        Ok(signers)
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

impl Machine<'_> {
    /// Runs a program of the machine that sees the machine's files and `directory`, changes none of them, and has no network and no
    /// environment of the caller's.
    fn confined(
        &self,
        args: Vec<std::ffi::OsString>,
        directory: PathBuf,
    ) -> Result<(Exit, String, String), HostError> {
        let root = RootFs::Directory { path: PathBuf::from("/"), readonly: true };
        let mut spec = RunSpec::new(root, args);
        spec.mounts.push(Mount::Bind { source: directory, target: PathBuf::from(SEEN), readonly: true });
        spec.env = vec![("PATH".into(), environment::search_path()), ("LC_ALL".into(), "C".into())];
        let (mut out, mut said) = (Vec::new(), Vec::new());
        let mut output = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => out.extend_from_slice(bytes),
            Stream::Stderr => said.extend_from_slice(bytes),
        };
        let exit = rebit_sandbox::run(&spec, &Runner::this_executable(), &mut output, self.stop)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((exit, text(out), text(said)))
    }
}

fn read_keys(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, HostError> {
    let mut keys = Vec::new();
    for path in paths {
        match File::open(path) {
            Ok(file) => {
                let mut key = Vec::new();
                file.take(LIMIT).read_to_end(&mut key)?;
                keys.push(key);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("`{}`: {error}", path.display()).into()),
        }
    }
    if keys.is_empty() {
        let files = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(VerifyError::NoKeys { files }.into());
    }
    Ok(keys)
}

/// A key that made a signature, and the one that it belongs to.
#[derive(Debug, PartialEq, Eq)]
struct Signer {
    fingerprint: String,
    primary: String,
}

impl Signer {
    fn names(&self) -> impl Iterator<Item = &str> {
        [self.fingerprint.as_str(), self.primary.as_str()].into_iter()
    }
}

/// The keys whose signature is good, by what gpgv says: also one of an expired key is valid, but not good.
fn good_signers(status: &str) -> Vec<Signer> {
    let mut signers = Vec::new();
    let mut good = false;
    for line in status.lines() {
        match line.strip_prefix(VALID) {
            Some(rest) if good => {
                let words: Vec<&str> = rest.split(' ').collect();
                if let (Some(fingerprint), Some(primary)) = (words.first(), words.get(9).or(words.first())) {
                    let (fingerprint, primary) = ((*fingerprint).to_owned(), (*primary).to_owned());
                    signers.push(Signer { fingerprint, primary });
                }
            }
            Some(_) => {}
            None if line.starts_with(GOOD) => good = true,
            None if line.starts_with("[GNUPG:] NEWSIG") => good = false,
            None => {}
        }
    }
    signers
}

/// The keys whose signature is good, by what sqv says: a fingerprint on each line.
fn listed_signers(out: &str) -> Vec<Signer> {
    let is_fingerprint = |line: &&str| line.len() >= 40 && line.bytes().all(|b| b.is_ascii_hexdigit());
    let one = |line: &str| Signer { fingerprint: line.to_owned(), primary: line.to_owned() };
    out.lines().map(str::trim).filter(is_fingerprint).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_good_signatures_count() {
        // D-7
        let status = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 1 a\n[GNUPG:] VALIDSIG AAAA 2026-01-01 1 0 4 0 22 10 01 PPPP\n[GNUPG:] NEWSIG\n[GNUPG:] EXPKEYSIG 2 b\n[GNUPG:] VALIDSIG BBBB 2026\n[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 3\n";
        assert_eq!(good_signers(status), [Signer { fingerprint: "AAAA".into(), primary: "PPPP".into() }]);
        assert!(good_signers("[GNUPG:] VALIDSIG AAAA\nGOODSIG").is_empty());
        let digits = "0123456789ABCDEF0123456789ABCDEF01234567";
        assert_eq!(listed_signers(&format!("{digits}\nnot a key\n")).len(), 1);
    }
}

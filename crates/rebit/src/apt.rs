//! What this machine's apt is told: where packages come from, and whose signature counts.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rebit_build::Fetch as _;
use rebit_build::fetch::Validators;
use rebit_distro::sources::{parse_list, parse_paragraphs};
use rebit_distro::{DistroError, Host, HostError, SignedBy, Source, armor};
use rebit_sandbox::{Exit, Mount, RootFs, RunSpec, Runner, StopFlag, Stream};
use rebit_store::Session;

use crate::environment;
use crate::network::Network;
use crate::output::say;

const LIST: &str = "/etc/apt/sources.list";
const LISTS: &str = "/etc/apt/sources.list.d";
/// Where keys are whose signature counts for every archive.
const TRUSTED: &str = "/etc/apt/trusted.gpg.d";
/// Where the keys of distributions are; those of Debian's archives count when nothing else is said.
const KEYRINGS: &str = "/usr/share/keyrings";
/// Largest file of sources or keys.
const LIMIT: u64 = 16 << 20;
/// Where the program that verifies finds keys, text and signature: every machine has this directory.
const SEEN: &str = "/tmp";
/// What is said of one who verifies that a key has signed.
const GOOD: &str = "[GNUPG:] GOODSIG ";
const VALID: &str = "[GNUPG:] VALIDSIG ";

/// The sources of this machine's apt, in the order in which apt reads them; none where there is no apt.
pub(crate) fn sources() -> Result<Vec<Source>, DistroError> {
    let mut sources = match read(Path::new(LIST))? {
        Some(text) => parse_list(&text, LIST)?,
        None => Vec::new(),
    };
    for path in files(Path::new(LISTS))? {
        let name = path.display().to_string();
        let parse = match path.extension().and_then(|end| end.to_str()) {
            Some("list") => parse_list,
            Some("sources") => parse_paragraphs,
            _ => continue,
        };
        if let Some(text) = read(&path)? {
            sources.extend(parse(&text, &name)?);
        }
    }
    Ok(sources)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DistroError + use<'_> {
    move |source| DistroError::Io { path: path.display().to_string(), source }
}

fn read(path: &Path) -> Result<Option<String>, DistroError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_error(path))?,
    };
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).map_err(io_error(path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The files of a directory by name; none when it is missing.
fn files(directory: &Path) -> Result<Vec<PathBuf>, DistroError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io_error(directory))?,
    };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths)
}

/// Files of keys that count where nothing else is said.
fn default_keyrings() -> Result<Vec<PathBuf>, DistroError> {
    let is_keyring = |path: &PathBuf| path.extension().is_some_and(|end| end == "gpg" || end == "asc");
    let mut paths: Vec<PathBuf> = files(Path::new(TRUSTED))?.into_iter().filter(is_keyring).collect();
    let debian = Path::new(KEYRINGS).join("debian-archive-keyring.gpg");
    paths.extend(Some(debian).filter(|path| path.is_file()));
    Ok(paths)
}

/// This machine, as far as archives need it.
pub(crate) struct Machine<'a> {
    network: &'a Network,
    session: &'a Session,
    stop: &'a StopFlag,
    quiet: bool,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(network: &'a Network, session: &'a Session, stop: &'a StopFlag, quiet: bool) -> Self {
        Self { network, session, stop, quiet }
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
    fn fetch(&self, url: &str, into: &mut File) -> Result<(), HostError> {
        // An archive on a disk is read as one on a server.
        if let Some(path) = url.strip_prefix("file:") {
            let path = Path::new("/").join(path.trim_start_matches('/'));
            io::copy(&mut File::open(path)?, into)?;
            return Ok(());
        }
        self.network.url(url, &Validators::default(), into).map(|_| ())
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
            SignedBy::Default => read_keys(&default_keyrings()?)?,
            SignedBy::Files(files) => read_keys(files)?,
            SignedBy::Key(key) => vec![key.clone()],
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
        let find = |name: &str| std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file());
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
        let signers = if is_gpgv { good_signers(&out) } else { out.lines().map(str::to_owned).collect() };
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

/// The fingerprints of keys whose signature is good, by what gpgv says: also one of an expired key is valid, but not good.
fn good_signers(status: &str) -> Vec<String> {
    let mut signers = Vec::new();
    let mut good = false;
    for line in status.lines() {
        match line.strip_prefix(VALID) {
            Some(rest) if good => signers.extend(rest.split(' ').next().map(str::to_owned)),
            Some(_) => {}
            None if line.starts_with(GOOD) => good = true,
            None if line.starts_with("[GNUPG:] NEWSIG") => good = false,
            None => {}
        }
    }
    signers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_good_signatures_count() {
        let status = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 1 a\n[GNUPG:] VALIDSIG AAAA 2026\n[GNUPG:] NEWSIG\n[GNUPG:] EXPKEYSIG 2 b\n[GNUPG:] VALIDSIG BBBB 2026\n[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 3\n";
        assert_eq!(good_signers(status), ["AAAA"]);
        assert!(good_signers("[GNUPG:] VALIDSIG AAAA\nGOODSIG").is_empty());
    }
}

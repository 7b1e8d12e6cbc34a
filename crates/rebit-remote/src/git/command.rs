//! Running git, in an environment in which nothing of the machine or the user decides what happens.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rebit_dockerfile::remote::redacted;

use super::{Git, GitError};

/// Most bytes of what git answers: the list of the references or objects of a repository.
const MAX_ANSWER: u64 = 256 << 20;
/// How much of what git says of an error is kept.
const MAX_SAID: usize = 2000;
/// A running git is looked at after this, and then after pauses that double up to a longer one.
const GLANCE: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));

/// What holds for every command, submodules included.
const CONFIG: &[(&str, &str)] = &[
    ("advice.detachedHead", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.excludesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.logAllRefUpdates", "false"),
    ("core.symlinks", "true"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    ("index.threads", "1"),
    ("init.defaultBranch", "main"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
    ("submodule.fetchJobs", "1"),
];

/// One run of git.
pub(super) struct Run<'a> {
    /// What is done, for messages: "reach", "fetch", ….
    pub(super) action: &'static str,
    /// The repository, for messages.
    pub(super) remote: &'a str,
    /// The work tree that git runs in.
    pub(super) directory: Option<&'a Path>,
    /// What it reads.
    pub(super) input: Option<File>,
}

impl Git {
    /// Runs git to its end, and returns what it answers.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        run: Run<'_>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>, GitError> {
        let (action, remote) = (run.action, redacted(run.remote));
        let mut child = self.start(run, args)?;
        let answer = child.stdout.take().map(|pipe| thread::spawn(move || take(pipe, MAX_ANSWER)));
        let said = child.stderr.take().map(|pipe| thread::spawn(move || tail(pipe)));
        let status = self.wait(&mut child, action, &remote)?;
        let joined = |error: io::Error| GitError::Io { action, path: remote.clone(), source: error };
        let answer = match answer.and_then(|thread| thread.join().ok()) {
            Some(answer) => answer.map_err(joined)?,
            None => Vec::new(),
        };
        let said = said.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if !status.success() {
            return Err(GitError::Failed { action, remote, said: spoken(&said) });
        }
        if answer.len() as u64 > MAX_ANSWER {
            return Err(GitError::Limit { remote, what: "too long an answer", limit: MAX_ANSWER });
        }
        Ok(answer)
    }

    /// Starts git; its answer is to be read from the child.
    pub(super) fn start<A: AsRef<OsStr>>(
        &self,
        run: Run<'_>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Child, GitError> {
        let options = &self.options;
        let mut command = Command::new(&options.program);
        command.env_clear();
        if let Some(directory) = run.directory {
            command.current_dir(directory);
        }
        for (name, value) in [
            ("GIT_ALLOW_PROTOCOL", "http:https:ssh:git"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_LFS_SKIP_SMUDGE", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("HOME", "/nonexistent"),
            ("LC_ALL", "C"),
            ("SSH_ASKPASS_REQUIRE", "never"),
            ("TZ", "UTC"),
        ] {
            command.env(name, value);
        }
        command.env("PATH", &options.path).env("GIT_CONFIG_COUNT", CONFIG.len().to_string());
        for (number, (name, value)) in CONFIG.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        let optional = [
            ("http_proxy", options.proxies.http.as_deref().map(OsStr::new)),
            ("https_proxy", options.proxies.https.as_deref().map(OsStr::new)),
            ("no_proxy", options.proxies.except.as_deref().map(OsStr::new)),
            ("GIT_SSL_CAINFO", options.authorities_file.as_deref().map(Path::as_os_str)),
            ("GIT_SSL_CAPATH", options.authorities_directory.as_deref().map(Path::as_os_str)),
            ("SSH_AUTH_SOCK", options.ssh_agent.as_deref().map(Path::as_os_str)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.env("GIT_SSH_COMMAND", self.ssh_command());
        command.args(args);
        command.stdin(run.input.map_or_else(Stdio::null, Stdio::from));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => GitError::NoGit {
                remote: redacted(run.remote),
                program: options.program.display().to_string(),
            },
            _ => GitError::Io { action: "run", path: options.program.display().to_string(), source },
        })
    }

    /// Keys come from the agent, hosts have to be known, and nobody is asked anything.
    fn ssh_command(&self) -> String {
        let mut command = "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o IdentityFile=none \
             -o ConnectTimeout=30 -o ServerAliveInterval=30"
            .to_owned();
        if let Some(known) = self.options.known_hosts.as_deref().and_then(Path::to_str) {
            command.push_str(" -o 'UserKnownHostsFile=\"");
            command.push_str(&known.replace('\'', "'\\''"));
            command.push_str("\"'");
        }
        command
    }

    pub(super) fn wait(
        &self,
        child: &mut Child,
        action: &'static str,
        remote: &str,
    ) -> Result<std::process::ExitStatus, GitError> {
        let failed = |source| GitError::Io { action, path: remote.to_owned(), source };
        let mut pause = GLANCE.0;
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status);
            }
            if (self.options.stop)() {
                child.kill().map_err(failed)?;
                child.wait().map_err(failed)?;
                return Err(GitError::Interrupted);
            }
            thread::sleep(pause);
            pause = GLANCE.1.min(pause * 2);
        }
    }
}

fn take(pipe: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut pipe = pipe.take(limit + 1);
    pipe.read_to_end(&mut bytes)?;
    // The other end must not stop at a full pipe.
    io::copy(&mut pipe.into_inner(), &mut io::sink())?;
    Ok(bytes)
}

/// The end of what comes.
fn tail(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(2 * MAX_SAID);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What git said of an error, in one line and without credentials.
fn spoken(said: &str) -> String {
    let words = |line: &str| {
        let word = |word: &str| match word.strip_prefix('\'') {
            Some(quoted) => format!("'{}", redacted(quoted)),
            None => redacted(word),
        };
        line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> =
        said.lines().map(words).filter(|line| !line.is_empty() && !line.starts_with("hint:")).collect();
    if lines.is_empty() {
        return "it does not say why".to_owned();
    }
    let text = lines.join("; ");
    let cut = text.char_indices().rev().nth(MAX_SAID).map_or(0, |(at, _)| at);
    text.get(cut..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_has_no_credentials() {
        for (said, expected) in [
            ("", "it does not say why"),
            ("hint: x\nfatal: a\n\nerror:  b\n", "fatal: a; error: b"),
            (
                "fatal: unable to access 'https://u:p@host/x/': y",
                "fatal: unable to access 'https://host/x/': y",
            ),
            ("fatal: https://u:p@host/x", "fatal: https://host/x"),
        ] {
            assert_eq!(spoken(said), expected);
        }
        assert!(spoken(&"é".repeat(5000)).len() <= 2 * (MAX_SAID + 1));
    }
}

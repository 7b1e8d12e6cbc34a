//! Debian's `docker-registry` on 127.0.0.1, with its data in a directory of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::has;

/// How long a registry may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The user `aladdin` with the password `opensesame`.
const PASSWORDS: &str = "aladdin:$2b$05$abcdefghijklmnopqrstuuQbLfdQZSxZ9gjhA5V9o8Tyc6aQRO0Qi\n";

/// A running registry; it ends when it is dropped.
pub(crate) struct Registry {
    child: Child,
    /// Host and port.
    pub(crate) host: String,
    dir: TempDir,
}

impl Registry {
    /// A registry that everybody may use; `None`, visibly, when the package is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::with("")
    }

    /// A registry that wants a password.
    pub(crate) fn with_password() -> Option<Self> {
        Self::with("auth: {htpasswd: {realm: test, path: DIR/passwords}}\n")
    }

    /// A registry that is spoken to over TLS, with `registry.pem` and `registry.key`, which `make` writes into the directory that it gets.
    pub(crate) fn with_tls(make: impl FnOnce(&std::path::Path)) -> Option<Self> {
        Self::made("", "{certificate: DIR/registry.pem, key: DIR/registry.key}", make)
    }

    /// The same, and it takes only clients with a certificate of `authority.pem`.
    pub(crate) fn with_clients(make: impl FnOnce(&std::path::Path)) -> Option<Self> {
        let tls = "{certificate: DIR/registry.pem, key: DIR/registry.key, clientcas: [DIR/authority.pem]}";
        Self::made("", tls, make)
    }

    fn with(further: &str) -> Option<Self> {
        Self::made(further, "{}", |_| {})
    }

    fn made(further: &str, tls: &str, make: impl FnOnce(&std::path::Path)) -> Option<Self> {
        if !has("docker-registry") {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("rebit-registry-").tempdir().unwrap();
        make(dir.path());
        fs::write(dir.path().join("passwords"), PASSWORDS).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: DIR/data}}}}\nhttp: {{addr: '{host}', tls: {tls}}}\n{further}"
        );
        let path = dir.path().join("config.yml");
        fs::write(&path, config.replace("DIR", &dir.path().display().to_string())).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut registry = Self { child, host, dir };
        registry.wait(tls == "{}");
        Some(registry)
    }

    fn wait(&mut self, plain: bool) {
        let start = Instant::now();
        loop {
            let answers = TcpStream::connect(&self.host).is_ok_and(|mut stream| {
                let mut byte = [0];
                let asked = stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n");
                !plain || (asked.is_ok() && stream.read(&mut byte).is_ok_and(|count| count == 1))
            });
            if answers {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "docker-registry: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A name at this registry.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// What was asked so far, as `METHOD path status`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let log = self.log();
        let line = |line: &str| {
            let (request, rest) = line.split_once("] \"")?.1.split_once(" HTTP/1.1\" ")?;
            Some(format!("{request} {}", rest.split(' ').next()?))
        };
        log.lines().filter_map(line).collect()
    }

    /// What was asked since `before` things were.
    pub(crate) fn since(&self, before: usize) -> Vec<String> {
        self.asked().split_off(before)
    }

    /// The directory of its data and certificates.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

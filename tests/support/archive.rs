//! A signed archive of Debian packages in a directory, with a key of its own.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rebit_oci::Digest;

use super::{World, ended, has};

/// An archive below a world's directory `NAME`, whose key is in `NAME.gpg`.
pub(crate) struct Archive<'a> {
    world: &'a World,
    name: &'static str,
}

impl Drop for Archive<'_> {
    fn drop(&mut self) {
        self.end_agent();
    }
}

impl<'a> Archive<'a> {
    /// An archive without packages; `None` when a program is missing that makes one.
    pub(crate) fn new(world: &'a World, name: &'static str) -> Option<Self> {
        if !has("gpg") || !has("gpgv") || !has("dpkg-deb") {
            return None;
        }
        let archive = Self { world, name };
        archive.new_key("never");
        Some(archive)
    }

    /// Makes a key that signs from now on, and counts for so long.
    pub(crate) fn new_key(&self, expires: &str) {
        let home = self.home();
        if home.exists() {
            self.end_agent();
            fs::remove_dir_all(&home).unwrap();
        }
        fs::create_dir_all(&home).unwrap();
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        self.gpg(&["--quick-generate-key", "archive", "ed25519", "sign", expires]);
        self.gpg(&["--output", &format!("{}.gpg", self.name), "--export"]);
    }

    /// The fingerprint of the key.
    pub(crate) fn fingerprint(&self) -> String {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--with-colons", "--homedir"]).arg(self.home()).arg("--list-keys");
        let listed = ended(&mut gpg).stdout;
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// gpg leaves an agent behind.
    fn end_agent(&self) {
        let _ended =
            Command::new("gpgconf").arg("--homedir").arg(self.home()).args(["--kill", "all"]).status();
    }

    fn home(&self) -> PathBuf {
        self.world.path(&format!("{}-key", self.name))
    }

    fn gpg(&self, args: &[&str]) {
        let mut gpg = Command::new("gpg");
        gpg.args([
            "--batch",
            "--yes",
            "--quiet",
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
            "--homedir",
        ]);
        let made = ended(gpg.arg(self.home()).args(args).current_dir(self.world.dir.path()));
        assert_eq!(made.code, 0, "{}", made.stderr);
    }

    /// The keys of a recipe that takes its packages from here.
    pub(crate) fn keys(&self) -> String {
        let directory = self.world.path(self.name);
        format!(
            "suite = \"test\", mirror = \"file:{}\", keyrings = [\"{}.gpg\"]",
            directory.display(),
            self.name
        )
    }

    /// Adds a package with these files; `fields` are further lines of its control file.
    pub(crate) fn package(&self, name: &str, version: &str, fields: &str, files: &[(&str, &str)]) -> PathBuf {
        let tree = self.world.path(&format!("{}-build", self.name));
        let _gone = fs::remove_dir_all(&tree);
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: m <m@m.test>\n{fields}Description: d\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        for (path, content) in files {
            fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            fs::write(tree.join(path), content).unwrap();
        }
        let file = self.world.path(&format!("{}/pool/{name}_{version}.deb", self.name));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&tree).arg(&file);
        let made = ended(build.env("SOURCE_DATE_EPOCH", "1").env("LC_ALL", "C"));
        assert_eq!(made.code, 0, "{}", made.stderr);
        file
    }

    /// Writes and signs the indexes of what is in the archive. `fields` are further lines of the Release file.
    pub(crate) fn publish(&self, fields: &str) {
        self.publish_as("test", fields, None);
    }

    /// As [`Archive::publish`], as another suite, and with indexes that a program like `xz -c` makes of their text and that are called by
    /// the end of its name.
    pub(crate) fn publish_as(&self, suite: &str, fields: &str, compressed: Option<(&[&str], &str)>) {
        let packages = self.packages();
        let (index, end) = match compressed {
            Some((program, end)) => (piped(program, packages.as_bytes()), end),
            None => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(packages.as_bytes()).unwrap();
                (encoder.finish().unwrap(), ".gz")
            }
        };
        let date = match fields.contains("Date:") {
            true => String::new(),
            false => {
                let mut date = Command::new("date");
                ended(date.args(["-u", "+Date: %a, %d %b %Y %H:%M:%S UTC"]).env("LC_ALL", "C")).stdout
            }
        };
        let mut release = format!("Suite: {suite}\nCodename: {suite}\n{date}{fields}SHA256:\n");
        for architecture in ["amd64", "arm64"] {
            let directory = format!("main/binary-{architecture}");
            let digest = Digest::of(&index).hex();
            release.push_str(&format!(" {digest} {} {directory}/Packages{end}\n", index.len()));
            for path in [format!("Packages{end}"), format!("by-hash/SHA256/{digest}")] {
                self.world.write(&format!("{}/dists/{suite}/{directory}/{path}", self.name), &index);
            }
        }
        self.world.write(&format!("{}/dists/{suite}/Release", self.name), release);
        let path = |name: &str| format!("{}/dists/{suite}/{name}", self.name);
        self.gpg(&["--output", &path("InRelease"), "--clear-sign", &path("Release")]);
        self.gpg(&["--output", &path("Release.gpg"), "--armor", "--detach-sign", &path("Release")]);
    }

    /// The index of what is in the pool.
    fn packages(&self) -> String {
        let mut packages = String::new();
        let pool = self.world.path(&format!("{}/pool", self.name));
        let mut files: Vec<PathBuf> =
            fs::read_dir(pool).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let control = ended(Command::new("dpkg-deb").arg("--field").arg(&file)).stdout;
            let content = fs::read(&file).unwrap();
            let name = file.file_name().unwrap().to_str().unwrap();
            let digest = Digest::of(&content).hex();
            packages.push_str(&format!(
                "{control}Filename: pool/{name}\nSize: {}\nSHA256: {digest}\n\n",
                content.len()
            ));
        }
        packages
    }
}

/// What a program makes of a text.
fn piped(program: &[&str], text: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap().stdout
}

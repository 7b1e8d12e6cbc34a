//! A signed archive of Debian packages in a directory, with a key of its own.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use rebit_oci::Digest;

use super::{World, ended, has};

/// An archive below a world's directory `NAME`, whose key is in `NAME.gpg`.
pub(crate) struct Archive<'a> {
    world: &'a World,
    name: &'static str,
}

impl Drop for Archive<'_> {
    fn drop(&mut self) {
        // gpg leaves an agent behind.
        let _ended =
            Command::new("gpgconf").args(["--homedir"]).arg(self.home()).args(["--kill", "all"]).status();
    }
}

impl<'a> Archive<'a> {
    /// An archive without packages; `None` when a program is missing that makes one.
    pub(crate) fn new(world: &'a World, name: &'static str) -> Option<Self> {
        if !has("gpg") || !has("gpgv") || !has("dpkg-deb") {
            return None;
        }
        let archive = Self { world, name };
        fs::create_dir_all(archive.home()).unwrap();
        fs::set_permissions(archive.home(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        archive.gpg(&["--quick-generate-key", "archive", "ed25519", "sign", "never"]);
        archive.gpg(&["--output", &format!("{name}.gpg"), "--export"]);
        Some(archive)
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
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(packages.as_bytes()).unwrap();
        let index = encoder.finish().unwrap();
        let date =
            ended(Command::new("date").args(["-u", "+%a, %d %b %Y %H:%M:%S UTC"]).env("LC_ALL", "C")).stdout;
        let mut release = format!("Suite: test\nCodename: test\nDate: {}\n{fields}SHA256:\n", date.trim());
        for architecture in ["amd64", "arm64"] {
            let path = format!("main/binary-{architecture}/Packages.gz");
            release.push_str(&format!(" {} {} {path}\n", Digest::of(&index).hex(), index.len()));
            self.world.write(&format!("{}/dists/test/{path}", self.name), &index);
        }
        self.world.write("Release", release);
        let signed = format!("{}/dists/test/InRelease", self.name);
        self.gpg(&["--output", &signed, "--clear-sign", "Release"]);
    }
}

//! A `.git` that is the same wherever and whenever it is made.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use rebit_dockerfile::remote::{is_full_commit, redacted};

use super::checkout::Checkout;
use super::command::Run;
use super::{Git, GitError};

/// Most objects of a commit.
const MAX_OBJECTS: u64 = 4 << 20;
/// The longest part that is stored without compression in one piece (RFC 1951, 3.2.4).
const BLOCK: usize = 65_535;
/// Deepest nesting of submodules.
const MAX_DEPTH: u32 = 64;

/// A `.git` directory that is being put in order.
struct Tidy<'a> {
    git: &'a Git,
    remote: &'a str,
    /// The `.git` directory.
    directory: PathBuf,
}

impl Git {
    /// Makes `.git` of a checkout anew, out of the commit alone, and that of each submodule.
    pub(super) fn tidy(&self, wanted: &Checkout<'_>, work_tree: &Path) -> Result<(), GitError> {
        let tidy = Tidy { git: self, remote: wanted.remote, directory: work_tree.join(".git") };
        let resolved = wanted.resolved;
        let reference = resolved.name.as_deref().filter(|name| name.starts_with("refs/"));
        let object = resolved.tag.as_deref().unwrap_or(&resolved.commit);
        tidy.rewrite(&resolved.commit, reference.map(|name| (name, object)), 0)
    }
}

impl Tidy<'_> {
    fn git(&self, args: &[&str], input: Option<File>) -> Result<Vec<u8>, GitError> {
        let run = Run { action: "look into", remote: self.remote, directory: Some(&self.directory), input };
        self.git.run(run, ["--git-dir=."].iter().chain(args))
    }

    fn line(&self, args: &[&str]) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.git(args, None)?).trim().to_owned())
    }

    fn unreadable(&self, what: impl Into<String>) -> GitError {
        GitError::Unreadable { remote: redacted(self.remote), what: what.into() }
    }

    /// Puts together what belongs to a commit, and takes it in place of what is there.
    fn rewrite(&self, commit: &str, reference: Option<(&str, &str)>, depth: u32) -> Result<(), GitError> {
        let fresh = self.directory.join("fresh");
        for directory in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            make(&fresh.join(directory))?;
        }
        let tag = reference.map(|(_, object)| object).filter(|object| *object != commit);
        self.objects(commit, tag, &fresh.join("objects"))?;
        write(&fresh.join("HEAD"), format!("{commit}\n"))?;
        if let Some((name, object)) = reference {
            let path = fresh.join(name);
            make(path.parent().unwrap_or(&fresh))?;
            write(&path, format!("{object}\n"))?;
        }
        // A commit whose parents are not here is where history was cut off.
        let described = self.line(&["cat-file", "-p", commit])?;
        let mut fields = described.lines().take_while(|line| !line.is_empty());
        if fields.any(|line| line.starts_with("parent ")) {
            write(&fresh.join("shallow"), format!("{commit}\n"))?;
        }
        self.config(commit, &fresh.join("config"))?;
        let modules = self.directory.join("modules");
        if modules.is_dir() {
            self.modules(&modules, depth)?;
        }
        self.replace(&fresh)?;
        self.git(&["read-tree", commit], None).map(|_| ())
    }

    /// Everything but submodules gives way to what is in `fresh`.
    fn replace(&self, fresh: &Path) -> Result<(), GitError> {
        for entry in list(&self.directory)? {
            let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name == "modules" || name == "fresh" {
                continue;
            }
            let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            removed.map_err(failed("remove", &entry))?;
        }
        for entry in list(fresh)? {
            let to = self.directory.join(entry.file_name().unwrap_or_default());
            fs::rename(&entry, &to).map_err(failed("move", &entry))?;
        }
        fs::remove_dir(fresh).map_err(failed("remove", fresh))
    }

    /// The settings that mean something, in an order of ours and without credentials.
    fn config(&self, commit: &str, path: &Path) -> Result<(), GitError> {
        let answer = self.git(&["config", "--file=config", "--list", "-z"], None)?;
        let mut settings: Vec<(String, String)> = Vec::new();
        for entry in String::from_utf8_lossy(&answer).split('\0').filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('\n').unwrap_or((entry, ""));
            let kept = matches!(name, "core.worktree" | "remote.origin.url")
                || name.starts_with("submodule.") && (name.ends_with(".url") || name.ends_with(".active"));
            if kept {
                settings.push((name.to_owned(), redacted(value)));
            }
        }
        let is_sha256 = commit.len() == 64;
        settings.push(("core.bare".into(), "false".into()));
        settings.push(("core.filemode".into(), "true".into()));
        settings.push(("core.repositoryformatversion".into(), u8::from(is_sha256).to_string()));
        if is_sha256 {
            settings.push(("extensions.objectformat".into(), "sha256".into()));
        }
        settings.push(("remote.origin.fetch".into(), "+refs/heads/*:refs/remotes/origin/*".into()));
        settings.sort();
        settings.dedup();
        let file = format!("--file={}", path.display());
        for (name, value) in settings {
            self.git(&["config", &file, &name, &value], None)?;
        }
        Ok(())
    }

    /// The `.git` directories of submodules, which may have a `/` in their names.
    fn modules(&self, directory: &Path, depth: u32) -> Result<(), GitError> {
        if depth > MAX_DEPTH {
            let (what, limit) = ("submodules within submodules", u64::from(MAX_DEPTH));
            return Err(GitError::Limit { remote: redacted(self.remote), what, limit });
        }
        for entry in list(directory)? {
            if !entry.is_dir() {
                continue;
            }
            if !entry.join("HEAD").is_file() {
                self.modules(&entry, depth + 1)?;
                continue;
            }
            let module = Tidy { git: self.git, remote: self.remote, directory: entry };
            let commit = module.line(&["rev-parse", "--verify", "HEAD"])?;
            module.rewrite(&commit, None, depth + 1)?;
        }
        Ok(())
    }

    /// Writes the commit, what it holds, and the tag, each as a file.
    fn objects(&self, commit: &str, tag: Option<&str>, to: &Path) -> Result<(), GitError> {
        let ids = self.git(&["rev-list", "--objects", "--no-object-names", "--no-walk", commit], None)?;
        let mut ids = String::from_utf8(ids).map_err(|_| self.unreadable("a list of objects"))?;
        if let Some(tag) = tag {
            ids.push_str(tag);
            ids.push('\n');
        }
        let count = ids.lines().count() as u64;
        if count > MAX_OBJECTS {
            let remote = redacted(self.remote);
            return Err(GitError::Limit { remote, what: "too many objects", limit: MAX_OBJECTS });
        }
        let wanted = to.join("wanted");
        write(&wanted, &ids)?;
        let input = File::open(&wanted).map_err(failed("open", &wanted))?;
        let directory = Some(self.directory.as_path());
        let run = Run { action: "read", remote: self.remote, directory, input: Some(input) };
        let mut child = self.git.start(run, ["--git-dir=.", "cat-file", "--batch"])?;
        let copied = match child.stdout.take() {
            Some(pipe) => self.loose(&mut BufReader::new(pipe), count, to),
            None => Ok(()),
        };
        if copied.is_err() {
            let _ended_anyway = child.kill();
        }
        self.git.wait(&mut child, "read", self.remote)?;
        fs::remove_file(&wanted).map_err(failed("remove", &wanted))?;
        copied
    }

    /// Reads `ID TYPE SIZE`, the content and a line feed for each object, and writes it as a loose one.
    fn loose(&self, from: &mut impl BufRead, count: u64, to: &Path) -> Result<(), GitError> {
        for _ in 0..count {
            let mut line = String::new();
            from.by_ref().take(200).read_line(&mut line).map_err(failed("read", to))?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[id, kind, size] = words.as_slice() else { return Err(self.unreadable(line.clone())) };
            let size: u64 = size.parse().map_err(|_| self.unreadable(line.clone()))?;
            if !is_full_commit(id) {
                return Err(self.unreadable(line.clone()));
            }
            let (directory, name) = id.split_at(2);
            make(&to.join(directory))?;
            let path = to.join(directory).join(name);
            let mut file = io::BufWriter::new(File::create(&path).map_err(failed("make", &path))?);
            let header = format!("{kind} {size}\0");
            let mut content = header.as_bytes().chain(from.by_ref().take(size));
            stored(&mut content, header.len() as u64 + size, &mut file).map_err(failed("write", &path))?;
            file.flush().map_err(failed("write", &path))?;
            let mut end = [0];
            from.read_exact(&mut end).map_err(failed("read", &path))?;
        }
        Ok(())
    }
}

/// A zlib stream (RFC 1950) of `length` bytes in which nothing is compressed: no encoder of any version has a say in it.
fn stored(content: &mut impl Read, length: u64, to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0x78, 0x01])?;
    let (mut left, mut a, mut b) = (length, 1_u32, 0_u32);
    let mut block = vec![0; BLOCK];
    loop {
        let size = left.min(BLOCK as u64) as usize;
        left -= size as u64;
        let part = block.get_mut(..size).unwrap_or_default();
        content.read_exact(part)?;
        let size = (size as u16).to_le_bytes();
        to.write_all(&[u8::from(left == 0), size[0], size[1], !size[0], !size[1]])?;
        to.write_all(part)?;
        for byte in part {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        if left == 0 {
            return to.write_all(&(b << 16 | a).to_be_bytes());
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GitError {
    let path = path.display().to_string();
    move |source| GitError::Io { action, path, source }
}

fn make(path: &Path) -> Result<(), GitError> {
    fs::create_dir_all(path).map_err(failed("make", path))
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), GitError> {
    fs::write(path, content).map_err(failed("write", path))
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, GitError> {
    let entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed("list", directory))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_compressed() {
        let zlib = |content: &[u8]| {
            let mut bytes = Vec::new();
            stored(&mut &*content, content.len() as u64, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(zlib(b""), [0x78, 1, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 1]);
        let expected = [0x78, 1, 1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c', 0x02, 0x4d, 0x01, 0x27];
        assert_eq!(zlib(b"abc"), expected);
        assert_eq!(zlib(&vec![7; BLOCK]).len(), BLOCK + 11);
        assert_eq!(zlib(&vec![7; BLOCK + 1]).len(), BLOCK + 1 + 16);
    }
}

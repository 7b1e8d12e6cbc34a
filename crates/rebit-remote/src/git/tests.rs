use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use rebit_dockerfile::remote::{GitSource, RemoteSource};
use tempfile::TempDir;

use super::{Checkout, Git, GitError, GitOptions, Resolved};
use crate::Proxies;
use crate::repository::{Daemon, commit, git, init};
use crate::server::{Reply, Server};

fn options() -> GitOptions {
    GitOptions {
        program: "git".into(),
        path: "/usr/local/bin:/usr/bin:/bin".into(),
        proxies: Proxies::default(),
        authorities_file: None,
        authorities_directory: None,
        ssh_agent: None,
        known_hosts: None,
        stop: Arc::new(|| false),
    }
}

/// Says, past the test runner, when there is no git.
fn has_git() -> bool {
    let found = std::process::Command::new("git").arg("version").output().is_ok();
    if !found {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"skipped: needs git\n");
    }
    found
}

fn source(text: &str) -> GitSource {
    match RemoteSource::parse(text).unwrap() {
        Some(RemoteSource::Git(git)) => git,
        other => panic!("{other:?}"),
    }
}

/// Serves the files below a directory, by a server that knows nothing of git.
fn files(root: &Path) -> Server {
    let root = root.to_owned();
    Server::new(move |seen| {
        let path = seen.target.split('?').next().unwrap().trim_start_matches('/');
        fs::read(root.join(path)).map_or_else(|_| Reply::status(404), Reply::ok)
    })
}

/// Every file below a directory: content, `x` before it when it is executable, or where a link leads.
fn listing(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(directory: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                into.insert(format!("{name}/"), Vec::new());
                walk(&entry.path(), &format!("{name}/"), into);
            } else if kind.is_symlink() {
                into.insert(name, fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes());
            } else {
                let executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
                let mut content = if executable { b"x ".to_vec() } else { Vec::new() };
                content.extend(fs::read(entry.path()).unwrap());
                into.insert(name, content);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(directory, "", &mut found);
    found
}

fn checkout(source: &GitSource, keep: bool) -> Result<(TempDir, i64), GitError> {
    let git = Git::new(options());
    let resolved = git.resolve(source)?;
    let directory = tempfile::tempdir().unwrap();
    let wanted =
        Checkout { remote: &source.remote, resolved: &resolved, submodules: true, keep_git_dir: keep };
    let done = git.checkout(&wanted, directory.path())?;
    Ok((directory, done.time))
}

/// `x.git` with two commits on `main`, the first of them the annotated tag `v1`, and a submodule `sub` in the second.
fn world() -> (TempDir, String, String) {
    let base = tempfile::tempdir().unwrap();
    let sub = init(base.path(), "sub.git");
    let inner = init(base.path(), "inner.git");
    commit(&inner, 1, &[("deep", "deep")]);
    git(&sub, &["submodule", "--quiet", "add", "-b", "main", "--", "../inner.git", "in/ner"]);
    commit(&sub, 1, &[("subfile", "sub")]);
    let main = init(base.path(), "x.git");
    fs::create_dir(main.join("dir")).unwrap();
    fs::write(main.join("dir/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(main.join("dir/tool"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("dir/tool", main.join("link")).unwrap();
    let first =
        commit(&main, 1_000_000_007, &[("file", "one\n"), (".gitattributes", "*.txt text eol=crlf\n")]);
    git(&main, &["tag", "-a", "-m", "tag", "v1"]);
    git(&main, &["submodule", "--quiet", "add", "--", "../sub.git", "sub"]);
    let second = commit(&main, 1_000_000_009, &[("file", "two\n"), ("a.txt", "a\n")]);
    (base, first, second)
}

/// The repositories of [`world`] with the `.git` of each at the place that a server is asked for, and relative submodules
/// replaced by nothing: `git submodule add ../x` with no remote resolves against the directory itself.
fn served(base: &Path) -> TempDir {
    let served = tempfile::tempdir().unwrap();
    for name in ["x.git", "sub.git", "inner.git"] {
        let to = served.path().join(name);
        git(base, &["clone", "-q", "--mirror", name, &to.display().to_string()]);
        git(&to, &["update-server-info"]);
    }
    served
}

#[test]
fn a_commit_is_found_and_checked_out() {
    if !has_git() {
        return;
    }
    let (base, first, second) = world();
    let served = served(base.path());
    let daemon = Daemon::new(served.path());
    let plain = files(served.path());
    for url in [daemon.url("x.git"), plain.url("/x.git")] {
        let resolve = |suffix: &str| Git::new(options()).resolve(&source(&format!("{url}{suffix}")));
        let main = resolve("").unwrap();
        assert_eq!((main.commit.as_str(), main.name.as_deref()), (second.as_str(), Some("refs/heads/main")));
        let tag = resolve("#v1").unwrap();
        assert_eq!((tag.commit.as_str(), tag.name.as_deref()), (first.as_str(), Some("refs/tags/v1")));
        let id = tag.tag.unwrap();
        assert_eq!(resolve(&format!("?checksum={}#v1", &first[..7])).unwrap().commit, first);
        assert_eq!(resolve(&format!("?checksum={}&tag=v1", &id[..7])).unwrap().commit, first);
        let wrong = resolve(&format!("?checksum={}#v1", &second[..7])).unwrap_err();
        assert!(matches!(wrong, GitError::WrongCommit { .. }), "{wrong}");
        let missing = resolve("#none").unwrap_err();
        assert!(matches!(&missing, GitError::NoReference { name, .. } if name == "none"), "{missing}");

        let (directory, time) = checkout(&source(&format!("{url}#main")), false).unwrap();
        assert_eq!(time, 1_000_000_009);
        let found = listing(directory.path());
        let text = |name: &str| String::from_utf8(found[name].clone()).unwrap();
        assert_eq!(text("file"), "two\n");
        assert_eq!(text("a.txt"), "a\r\n", "attributes of the repository hold");
        assert_eq!(text("dir/tool"), "x #!/bin/sh\n");
        assert_eq!(text("link"), "dir/tool");
        assert_eq!(text("sub/subfile"), "sub");
        assert_eq!(text("sub/in/ner/deep"), "deep");
        assert!(found.keys().all(|name| !name.contains(".git/") && !name.ends_with("/.git")), "{found:?}");

        // A commit that no reference leads to directly.
        let (directory, time) = checkout(&source(&format!("{url}#{first}")), false).unwrap();
        assert_eq!(time, 1_000_000_007);
        assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"one\n");
        let none = checkout(&source(&format!("{url}#{}", "1".repeat(40))), false).unwrap_err();
        assert!(matches!(none, GitError::NoReference { .. }), "{none}");
    }
    let error = Git::new(options()).resolve(&source(&daemon.url("none.git"))).unwrap_err();
    assert!(matches!(error, GitError::Failed { .. }), "{error}");
    let error = Git::new(options()).resolve(&source(&plain.url("/none.git"))).unwrap_err();
    assert!(matches!(error, GitError::Failed { .. }), "{error}");
}

#[test]
fn what_is_kept_of_git_depends_on_the_commit_alone() {
    if !has_git() {
        return;
    }
    let (base, first, second) = world();
    let served = served(base.path());
    // The same address both times: a server of git's, and one of files that needs everything to be fetched.
    let listings: Vec<BTreeMap<String, Vec<u8>>> = ["daemon", "files", "again"]
        .map(|kind| {
            if kind == "again" {
                // Packed in another way, and with more in it.
                for name in ["x.git", "sub.git", "inner.git"] {
                    git(
                        &served.path().join(name),
                        &["-c", "core.compression=0", "repack", "-q", "-a", "-d", "-F"],
                    );
                    git(&served.path().join(name), &["update-server-info"]);
                }
            }
            let daemon = Daemon::new(served.path());
            let plain = files(served.path());
            let url = if kind == "files" { plain.url("/x.git") } else { daemon.url("x.git") };
            let (directory, _) = checkout(&source(&format!("{url}#main")), true).unwrap();
            let mut found = listing(directory.path());
            for (name, content) in &mut found {
                if name.ends_with("config") {
                    let address = url.trim_end_matches("x.git");
                    *content =
                        String::from_utf8(content.clone()).unwrap().replace(address, "URL/").into_bytes();
                }
            }
            // git itself is content with it.
            assert_eq!(git(directory.path(), &["status", "--porcelain"]), "", "{kind}");
            assert_eq!(git(directory.path(), &["rev-parse", "HEAD", "main"]), format!("{second}\n{second}"));
            assert_eq!(git(directory.path(), &["log", "--format=%H"]), second, "history ends here");
            git(directory.path(), &["fsck", "--strict"]);
            assert_eq!(git(&directory.path().join("sub/in/ner"), &["status", "--porcelain"]), "");
            found
        })
        .into();
    let names = |at: usize| listings[at].keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(0), names(1));
    for (name, content) in &listings[0] {
        let shown = String::from_utf8_lossy(content);
        assert_eq!(shown, String::from_utf8_lossy(&listings[1][name]), "{name}");
        assert_eq!(shown, String::from_utf8_lossy(&listings[2][name]), "{name}");
    }
    for name in
        [".git/FETCH_HEAD", ".git/logs/", ".git/hooks/", ".git/ORIG_HEAD", ".git/description", ".git/info/"]
    {
        assert!(!listings[0].contains_key(name), "{name}");
    }
    assert_eq!(listings[0][".git/shallow"], format!("{second}\n").into_bytes());

    let daemon = Daemon::new(served.path());
    let (directory, _) = checkout(&source(&daemon.url("x.git?tag=v1")), true).unwrap();
    assert_eq!(git(directory.path(), &["describe"]), "v1");
    assert_eq!(git(directory.path(), &["rev-parse", "HEAD"]), first);
    assert!(!directory.path().join(".git/shallow").exists(), "the first commit has no history");
    git(directory.path(), &["fsck", "--strict"]);
}

#[test]
fn nothing_of_the_machine_is_reached() {
    if !has_git() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let secret = init(base.path(), "secret.git");
    commit(&secret, 1, &[("secret", "secret")]);
    let main = init(base.path(), "x.git");
    git(&main, &["submodule", "--quiet", "add", "--", &secret.display().to_string(), "sub"]);
    commit(&main, 1, &[("file", "x")]);
    let daemon = Daemon::new(base.path());
    let error = checkout(&source(&daemon.url("x.git/.git")), false).unwrap_err();
    assert!(error.to_string().contains("not allowed"), "{error}");
    // What the one who runs it has configured means nothing.
    let wanted = GitSource { submodules: Some(false), ..source(&daemon.url("x.git/.git")) };
    let git = Git::new(options());
    let resolved = git.resolve(&wanted).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let taken =
        Checkout { remote: &wanted.remote, resolved: &resolved, submodules: false, keep_git_dir: false };
    git.checkout(&taken, directory.path()).unwrap();
    assert!(fs::read_dir(directory.path().join("sub")).unwrap().next().is_none());
}

#[test]
fn a_machine_without_git_says_so() {
    let git = Git::new(GitOptions { program: "/none/such/git".into(), ..options() });
    let wanted = source("https://user:secret@host.invalid/x.git");
    let error = git.resolve(&wanted).unwrap_err();
    assert!(matches!(error, GitError::NoGit { .. }), "{error:?}");
    let text = format!("{error:?} {error}");
    assert!(text.contains("https://host.invalid/x.git") && !text.contains("secret"), "{text}");
    // A commit in full is not asked for.
    let full = GitSource { reference: Some("a".repeat(40)), ..wanted };
    assert_eq!(git.resolve(&full).unwrap(), Resolved { commit: "a".repeat(40), name: None, tag: None });
}

#[test]
fn a_caller_that_stops_does_not_wait() {
    if !has_git() {
        return;
    }
    let server = Server::new(|_| Reply::Stuck(b"x".to_vec()));
    let git = Git::new(GitOptions { stop: Arc::new(|| true), ..options() });
    let error = git.resolve(&source(&server.url("/x.git"))).unwrap_err();
    assert!(matches!(error, GitError::Interrupted), "{error:?}");
}

//! What comes over the network: `ADD` of URLs and git repositories, and contexts from them. Every server is on 127.0.0.1.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::repository::{Daemon, commit, git, init};
use crate::support::server::{Reply, Server};
use crate::support::{Ended, World, can_build, has};

const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// Serves the files below a directory, with an `ETag` that tells their content.
fn files(root: PathBuf) -> Server {
    Server::new(move |seen| {
        let path = seen.target.split('?').next().unwrap().trim_start_matches('/');
        let Ok(content) = fs::read(root.join(path)) else { return Reply::status(404) };
        let etag =
            format!("\"{}-{}\"", content.len(), content.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        if seen.fields.get("if-none-match") == Some(&etag) {
            return Reply::Whole(304, Vec::new(), Vec::new());
        }
        Reply::Whole(200, vec![("ETag", etag)], content)
    })
}

/// A world whose `www` is served: `hello.txt`, and `a.tar` with that file.
fn world() -> (World, Server) {
    let world = World::new();
    world.write("www/hello.txt", "hello\n");
    let tar = Command::new("tar")
        .args(["--owner=5", "--group=6", "--numeric-owner", "-cf", "a.tar", "hello.txt"])
        .current_dir(world.path("www"))
        .status();
    assert!(tar.unwrap().success());
    let server = files(world.path("www"));
    (world, server)
}

fn build(world: &World, dockerfile: &str, args: &[&str]) -> Ended {
    world.write("context/Dockerfile", dockerfile);
    world.run([&["build", "-q"], args, &["context"]].concat())
}

fn digest(ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.trim().to_owned()
}

/// The root file system of an image: mode, owner, path, content of files.
fn tree(world: &World, digest: &str) -> Vec<String> {
    let out = world.path("tree");
    let _gone = fs::remove_dir_all(&out);
    let tar = world.path("image.tar");
    let _gone = fs::remove_file(&tar);
    world.ok(["export", digest, &format!("oci-archive:{}", tar.display())]);
    let layout = world.path("layout");
    let _gone = fs::remove_dir_all(&layout);
    fs::create_dir_all(&layout).unwrap();
    let unpack = |archive: &Path, to: &Path| {
        let mut command = Command::new("tar");
        command.args(["-x", "--numeric-owner", "--same-owner", "-p", "-f"]).arg(archive).arg("-C").arg(to);
        assert!(command.status().unwrap().success());
    };
    unpack(&tar, &layout);
    fs::create_dir_all(&out).unwrap();
    let read = |digest: &str| fs::read(layout.join("blobs/sha256").join(&digest[7..])).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&read(digest)).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let layer = layer["digest"].as_str().unwrap();
        unpack(&layout.join("blobs/sha256").join(&layer[7..]), &out);
    }
    let mut lines = Vec::new();
    list(&out, &out, &mut lines);
    lines.sort();
    lines
}

fn list(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    use std::os::unix::fs::MetadataExt as _;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let mode = metadata.permissions().mode() & 0o7777;
        let head = format!("{name} {mode:o} {}:{}", metadata.uid(), metadata.gid());
        if metadata.is_dir() {
            lines.push(head);
            list(root, &path, lines);
        } else if metadata.is_file() {
            lines.push(format!("{head} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()).trim_end()));
        } else {
            lines.push(format!("{head} -> {}", fs::read_link(&path).unwrap().display()));
        }
    }
}

#[test]
fn a_url_is_added_where_the_reference_says() {
    if !can_build() {
        return;
    }
    let (world, server) = world();
    let url = server.url("");
    let dockerfile = format!(
        "FROM scratch
ADD {url}/hello.txt /d/
ADD {url}/hello.txt?x=y /renamed
ADD --chmod=0644 --chown=3:4 {url}/hello.txt /owned
ADD {url}/a.tar /packed/
ADD --unpack=true {url}/a.tar /unpacked
ADD {url}/hello.txt local /both/
ADD --exclude=*.txt {url}/hello.txt /none/
"
    );
    world.write("context/local", "local\n");
    let built = digest(build(&world, &dockerfile, &[]));
    let packed = fs::read_to_string(world.path("www/a.tar")).unwrap();
    let packed = format!("packed/a.tar 600 0:0 {}", packed.trim_end());
    assert_eq!(
        tree(&world, &built),
        [
            "both 755 0:0",
            "both/hello.txt 600 0:0 hello",
            "both/local 644 0:0 local",
            "d 755 0:0",
            "d/hello.txt 600 0:0 hello",
            "owned 644 3:4 hello",
            "packed 755 0:0",
            packed.as_str(),
            "renamed 600 0:0 hello",
            "unpacked 755 0:0",
            "unpacked/hello.txt 644 5:6 hello",
        ]
    );
    // Within a build a URL is asked for once.
    assert_eq!(server.seen(), ["GET /hello.txt", "GET /hello.txt?x=y", "GET /a.tar"]);
    let plan = world.ok(["plan", "context"]);
    assert!(plan.contains(&format!("takes {url}/hello.txt")), "{plan}");
    world.fsck();
}

#[test]
fn a_url_is_known_by_what_it_led_to() {
    if !can_build() {
        return;
    }
    let (world, server) = world();
    let url = server.url("/hello.txt");
    let plain = format!("FROM scratch\nADD {url} /f\n");
    let pinned = format!("FROM scratch\nADD --checksum={HELLO} {url} /f\n");
    let first = digest(build(&world, &plain, &[]));
    let why = world.ok(["why", "context"]);
    assert!(why.contains(&format!("took {url} ({HELLO})")), "{why}");
    // Asked again, and not sent again.
    assert_eq!(digest(build(&world, &plain, &[])), first);
    assert!(server.requests()[1].fields.contains_key("if-none-match"));
    // With a checksum that is known nothing is asked, with a network or without.
    for args in [&[][..], &["--network=none"]] {
        let built = digest(build(&world, &pinned, args));
        assert_eq!(tree(&world, &built), ["f 600 0:0 hello"]);
    }
    assert_eq!(server.seen().len(), 2);
    let offline = build(&world, &plain, &["--network=none"]);
    assert_eq!(offline.code, 1);
    assert!(
        offline.stderr.contains("may have changed") && offline.stderr.contains("hint: "),
        "{}",
        offline.stderr
    );
    let unknown = build(&world, &plain.replace("hello", "other"), &["--network=none"]);
    assert!(
        unknown.stderr.contains("is not in the store, and the build has no network"),
        "{}",
        unknown.stderr
    );
    // What it leads to now is another thing.
    world.write("www/hello.txt", "changed\n");
    let changed = digest(build(&world, &plain, &[]));
    assert_ne!(changed, first);
    let why = world.ok(["why", "context"]);
    assert!(why.contains("content of the source itself changed"), "{why}");
    // The same content from elsewhere is the same step.
    world.write("www/more/hello.txt", "changed\n");
    let moved = build(&world, &plain.replace("/hello.txt /f", "/more/hello.txt /f"), &[]);
    assert_eq!(moved.code, 0, "{}", moved.stderr);
    let why = world.ok(["why", "context"]);
    assert!(!why.contains("more/hello.txt"), "nothing was executed, so that the report before stays: {why}");
    world.fsck();
}

#[test]
fn what_is_wrong_with_a_url_is_said() {
    if !can_build() {
        return;
    }
    let (world, server) = world();
    let url = server.url("");
    let zeros = "0".repeat(64);
    let check = |line: &str, code: i32, expected: &[&str]| {
        let ended = build(&world, &format!("FROM scratch\n{line}\n"), &[]);
        assert_eq!(ended.code, code, "{line}: {}", ended.stderr);
        for text in expected {
            assert!(ended.stderr.contains(text), "{line}: {}", ended.stderr);
        }
    };
    check(&format!("ADD {url}/none /f"), 1, &["/none` does not exist: the server answers 404", "ADD http"]);
    let wrong = format!("has the checksum {HELLO}, and has to have sha256:{zeros}");
    check(&format!("ADD --checksum=sha256:{zeros} {url}/hello.txt /f"), 1, &[&wrong]);
    check(&format!("ADD --checksum=md5:0 {url}/hello.txt /f"), 1, &["`md5:0` is not the checksum of a file"]);
    check(&format!("ADD --checksum={HELLO} {url}/a {url}/b /f/"), 1, &["more than one source"]);
    check(&format!("ADD --checksum={HELLO} local /f"), 1, &["a remote source"]);
    check(&format!("ADD {url} /f/"), 1, &["ends in the name of a file"]);
    check(&format!("COPY {url}/hello.txt /f"), 1, &["COPY needs"]);
    check(&format!("ADD --keep-git-dir=true {url}/hello.txt /f"), 1, &["--keep-git-dir"]);
    check("ADD https://host.invalid/x.git?depth=1 /f", 1, &["`depth` is no option of a git address"]);
    let secret = url.replace("http://", "http://user:secret@");
    let ended =
        build(&world, "FROM scratch\nARG U\nADD $U/none /f\n", &["--build-arg", &format!("U={secret}")]);
    assert!(ended.code == 1 && !ended.stderr.contains("secret"), "{}", ended.stderr);
    assert!(server.requests().last().unwrap().fields.contains_key("authorization"));
}

/// `x.git` below `base`, with a subdirectory, an executable file and a submodule; its first commit is tagged `v1`.
fn repositories(base: &Path) -> (String, String) {
    let sub = init(base, "sub.git");
    commit(&sub, 1_000_000_000, &[("subfile", "sub\n")]);
    let main = init(base, "x.git");
    let first =
        commit(&main, 1_000_000_007, &[("file", "one\n"), ("docs/page", "page\n"), ("docs/tool", "tool\n")]);
    git(&main, &["tag", "v1"]);
    fs::set_permissions(main.join("docs/tool"), fs::Permissions::from_mode(0o700)).unwrap();
    git(&main, &["submodule", "--quiet", "add", "--", "../sub.git", "sub"]);
    fs::remove_dir_all(main.join("sub")).unwrap();
    git(&main, &["config", "-f", ".gitmodules", "submodule.sub.url", "../../sub.git/.git"]);
    git(&main, &["submodule", "--quiet", "update", "--init"]);
    let second =
        commit(&main, 1_000_000_009, &[("file", "two\n"), (".dockerignore", "ignored\n"), ("ignored", "")]);
    (first, second)
}

#[test]
fn a_repository_is_added_by_its_commit() {
    if !can_build() || !has("git") {
        return;
    }
    let world = World::new();
    let (first, second) = repositories(&world.path("git"));
    let daemon = Daemon::new(&world.path("git"));
    let url = daemon.url("x.git/.git");
    let one = |rest: &str| format!("FROM scratch\nADD {rest}\n");
    let docs = digest(build(&world, &one(&format!("{url}#:docs /d/")), &[]));
    assert_eq!(tree(&world, &docs), ["d 755 0:0", "d/page 644 0:0 page", "d/tool 755 0:0 tool"]);
    let whole = digest(build(&world, &one(&format!("--chown=7 {url}?submodules=0#v1 /")), &[]));
    let expected = ["docs 755 7:7", "docs/page 644 7:7 page", "docs/tool 644 7:7 tool", "file 644 7:7 one"];
    assert_eq!(tree(&world, &whole), expected);
    let why = world.ok(["why", "context"]);
    assert!(why.contains(&format!("took {url}#v1 (commit {first})")), "{why}");

    let pinned = one(&format!("--checksum={} {url} /x", &second[..8]));
    let checked = digest(build(&world, &pinned, &[]));
    let lines = tree(&world, &checked);
    assert!(lines.iter().any(|line| line == "x/sub/subfile 644 0:0 sub"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains(".git ")), "{lines:?}");
    let ended = build(&world, &one(&format!("--checksum={} {url} /x", &first[..8])), &[]);
    assert!(ended.code == 1 && ended.stderr.contains("has to be"), "{}", ended.stderr);
    let ended = build(&world, &one(&format!("{url}#none /x")), &[]);
    assert!(ended.code == 1 && ended.stderr.contains("no branch, tag or commit `none`"), "{}", ended.stderr);
    let ended = build(&world, &one(&format!("{url}#:none /x")), &[]);
    assert!(ended.code == 1 && ended.stderr.contains("`/none` does not exist in commit"), "{}", ended.stderr);

    // A commit in full that is known needs no repository.
    drop(daemon);
    let full = one(&format!("{url}#{second} /x"));
    for args in [&[][..], &["--network=none"]] {
        let known = digest(build(&world, &full, args));
        assert_eq!(tree(&world, &known), lines);
    }
    let ended = build(&world, &one(&format!("{url}#main /x")), &["--network=none"]);
    assert!(ended.code == 1 && ended.stderr.contains("may have changed"), "{}", ended.stderr);
    world.fsck();
}

#[test]
fn git_is_kept_the_same_each_time() {
    if !can_build() || !has("git") {
        return;
    }
    let base = World::new();
    let (_, second) = repositories(&base.path("git"));
    let daemon = Daemon::new(&base.path("git"));
    let url = daemon.url("x.git/.git");
    let dockerfile = format!("FROM scratch\nADD --keep-git-dir=true {url}#main /x\n");
    let digests: Vec<String> = ["022", "077", "000"]
        .map(|umask| {
            let world = World::new();
            world.write("context/Dockerfile", &dockerfile);
            let command = format!("umask {umask}; exec {} build -q -t kept context", crate::support::REBIT);
            let mut shell = Command::new("sh");
            shell.args(["-c", &command]).current_dir(world.dir.path()).env_clear();
            shell
                .env("PATH", "/usr/bin:/bin")
                .env("REBIT_STORE", world.path("store"))
                .env("TZ", "Asia/Tokyo");
            let built = digest(crate::support::ended(&mut shell));
            let lines = tree(&world, &built);
            assert!(lines.iter().any(|line| line == &format!("x/.git/HEAD 644 0:0 {second}")), "{lines:?}");
            built
        })
        .into();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn a_context_comes_from_git() {
    if !can_build() || !has("git") {
        return;
    }
    let world = World::new();
    let (_, second) = repositories(&world.path("git"));
    let main = world.path("git/x.git");
    let dockerfile = "FROM scratch\nCOPY . /c\n";
    commit(&main, 1_000_000_011, &[("Dockerfile", dockerfile), ("docs/Dockerfile", dockerfile)]);
    let daemon = Daemon::new(&world.path("git"));
    let url = daemon.url("x.git/.git");
    let built = digest(world.run(["build", "-q", &url]));
    let lines = tree(&world, &built);
    assert!(lines.iter().any(|line| line == "c/file 644 0:0 two"), "{lines:?}");
    assert!(
        lines.iter().all(|line| !line.contains("ignored") || line.contains(".dockerignore")),
        "{lines:?}"
    );
    // As the checkout itself.
    git(&world.path(""), &["clone", "-q", "--recursive", "git/x.git/.git", "clone"]);
    world.write("clone/.dockerignore", "ignored\n.git\n**/.git\n");
    let local = digest(world.run(["build", "-q", "clone"]));
    let same: Vec<String> =
        tree(&world, &local).into_iter().filter(|line| !line.contains(".dockerignore")).collect();
    assert_eq!(
        same,
        lines.iter().filter(|line| !line.contains(".dockerignore")).cloned().collect::<Vec<_>>()
    );

    let docs = digest(world.run(["build", "-q", &format!("{url}#main:docs")]));
    let lines = tree(&world, &docs);
    assert!(lines.iter().any(|line| line == "c/tool 755 0:0 tool"), "{lines:?}");
    let kept = digest(world.run(["build", "-q", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", &url]));
    assert!(tree(&world, &kept).iter().any(|line| line.starts_with("c/.git/HEAD ")));
    // The time of the commit.
    let args = ["plan", "--build-arg", "SOURCE_DATE_EPOCH=context", &url];
    assert!(world.ok(args).starts_with("platform linux/amd64, epoch 1000000011\n"));
    let mut command = world.command(["plan", &url]);
    let planned = crate::support::ended(command.env("SOURCE_DATE_EPOCH", "context"));
    assert!(planned.stdout.contains("epoch 1000000011"), "{}", planned.stderr);
    let older = format!("n={url}#{second}");
    let old =
        world.ok(["plan", "--build-arg", "SOURCE_DATE_EPOCH=context", "--build-context", &older, "clone"]);
    assert!(old.contains("epoch 1000000009"), "{old}");
    let ended = world.run(["plan", "--build-arg", "SOURCE_DATE_EPOCH=context", "clone"]);
    assert!(
        ended.code == 1 && ended.stderr.contains("`context` is not a SOURCE_DATE_EPOCH"),
        "{}",
        ended.stderr
    );
    world.fsck();
}

#[test]
fn a_context_comes_from_a_url() {
    if !can_build() {
        return;
    }
    let (world, server) = world();
    world.write("context/Dockerfile", "FROM scratch\nCOPY file /f\n");
    world.write("context/file", "content\n");
    let expected = digest(world.run(["build", "-q", "context"]));
    let tar = Command::new("tar")
        .args(["-czf", "www/ctx.tar.gz", "-C", "context", "."])
        .current_dir(world.dir.path())
        .status();
    assert!(tar.unwrap().success());
    assert_eq!(digest(world.run(["build", "-q", &server.url("/ctx.tar.gz")])), expected);
    world.write("www/Dockerfile.txt", format!("FROM scratch\nADD {} /f\n", server.url("/hello.txt")));
    let text = digest(world.run(["build", "-q", &server.url("/Dockerfile.txt")]));
    assert_eq!(tree(&world, &text), ["f 600 0:0 hello"]);
    let ended = world.run(["build", "-q", &server.url("/none")]);
    assert!(ended.code == 1 && ended.stderr.contains("does not exist"), "{}", ended.stderr);
    let ended = world.run(["build", "-q", "-f", "x", &server.url("/Dockerfile.txt")]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    let ended = world.run(["build", "-q", "--network=none", &server.url("/ctx.tar.gz")]);
    assert!(ended.code == 1 && ended.stderr.contains("no network"), "{}", ended.stderr);

    // As a named context.
    world.write("context/Dockerfile", "FROM scratch\nCOPY --from=n /file /g\n");
    let named = format!("n={}", server.url("/ctx.tar.gz"));
    let built = digest(world.run(["build", "-q", "--build-context", &named, "context"]));
    assert_eq!(tree(&world, &built), ["g 644 0:0 content"]);
    let named = format!("n={}", server.url("/hello.txt"));
    let ended = world.run(["build", "-q", "--build-context", &named, "context"]);
    assert!(
        ended.code == 1 && ended.stderr.contains("neither an archive nor a repository"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_stage_starts_from_files_or_from_the_image_of_a_layout() {
    if !can_build() {
        return;
    }
    let world = World::new().with_busybox();
    world.ok(["export", "store:busybox", "oci:layout:v1"]);
    let exported = world.ok(["export", "store:busybox", "oci:layout:v1"]).trim().to_owned();
    world.ok(["rm", "busybox"]);
    world.write("context/Dockerfile", "FROM base\nRUN echo made > /made\n");
    for place in [
        "oci-layout://layout:v1".to_owned(),
        format!("oci-layout://layout@{exported}"),
        "oci-layout:layout".to_owned(),
    ] {
        let flag = format!("base={place}");
        let built = digest(world.run(["build", "-q", "--build-context", &flag, "context"]));
        assert_eq!(world.ok(["run", &built, "/bin/cat", "/made"]), "made\n", "{place}");
    }
    let wrong = format!("base=oci-layout://layout@sha256:{}", "0".repeat(64));
    let ended = world.run(["build", "-q", "--build-context", &wrong, "context"]);
    assert!(ended.code == 1 && ended.stderr.contains("sha256:000"), "{}", ended.stderr);

    // A directory with a root file system in it.
    let files = World::new();
    files.write("root/bin/busybox", fs::read("/bin/busybox").unwrap());
    fs::set_permissions(files.path("root/bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    files.write("context/Dockerfile", "FROM base AS b\nRUN [\"/bin/busybox\", \"touch\", \"/new\"]\nFROM scratch\nCOPY --from=b /new /bin/ /\n");
    let built = digest(files.run(["build", "-q", "--build-context", "base=root", "context"]));
    assert!(tree(&files, &built).iter().any(|line| line == "new 644 0:0 "));
    let stage =
        digest(files.run(["build", "-q", "--target", "b", "--build-context", "base=root", "context"]));
    let inspected = files.ok(["history", &stage]);
    assert!(inspected.contains("FROM base"), "{inspected}");
    let plan = files.ok(["plan", "--build-context", "base=root", "context"]);
    assert!(plan.contains("from the files of the context `base`"), "{plan}");
    files.ok(["verify", &format!("store:{stage}")]);
    files.fsck();
}

/// `openssl s_server`, which serves the files of its directory; it ends when it is dropped.
struct Tls(Child);

impl Drop for Tls {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn a_server_is_trusted_by_its_certificate() {
    if !can_build() || !has("openssl") {
        return;
    }
    let (world, _server) = world();
    let www = world.path("www");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(&www)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-WWW", "-key", "key.pem", "-cert", "cert.pem", "-accept"]);
    server.arg(format!("127.0.0.1:{port}")).current_dir(&www);
    let _server =
        Tls(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    world.write("context/Dockerfile", format!("FROM scratch\nADD https://127.0.0.1:{port}/hello.txt /f\n"));
    let ended = world.run(["build", "-q", "context"]);
    assert!(
        ended.code == 1 && ended.stderr.contains("TLS") && ended.stderr.contains("SSL_CERT_FILE"),
        "{}",
        ended.stderr
    );
    let mut command = world.command(["build", "-q", "context"]);
    let built = digest(crate::support::ended(command.env("SSL_CERT_FILE", www.join("cert.pem"))));
    assert_eq!(tree(&world, &built), ["f 600 0:0 hello"]);
}

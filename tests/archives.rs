//! Archives of Debian packages that are old, hostile, slow to follow or guarded, and mirrors that are no better.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::distro::fails;
use crate::support::archive::Archive;
use crate::support::debian;
use crate::support::server::{Reply, Seen, Server};
use crate::support::{World, ended, has, is_root, skip};

/// A world with an archive of one package.
fn prepared(world: &World) -> Option<Archive<'_>> {
    let archive = Archive::new(world, "archive")?;
    archive.package("tool", "1", "", &[("usr/bin/tool", "tool 1")]);
    archive.publish("");
    recipe(world, &archive.keys(), "");
    Some(archive)
}

fn recipe(world: &World, source: &str, keys: &str) {
    let comma = if keys.is_empty() { "" } else { ", " };
    let text = format!(
        "[image.img]\ndebian = {{ variant = \"distroless\", packages = [\"tool\"], {source}{comma}{keys} }}\n"
    );
    world.write("rebit.toml", text);
}

/// The keys of a recipe that takes its packages from an address.
fn at(url: &str) -> String {
    format!("suite = \"test\", mirror = \"{url}\", keyrings = [\"archive.gpg\"]")
}

/// A server of what is in the archive's directory, except where `answer` has something else for a path.
fn server(world: &World, answer: impl Fn(&Seen, &str) -> Option<Reply> + Send + Sync + 'static) -> Server {
    let root: PathBuf = world.path("archive");
    Server::new(move |seen| {
        let path = seen.target.strip_prefix("/debian/").unwrap_or("none").to_owned();
        answer(seen, &path).unwrap_or_else(|| match fs::read(root.join(&path)) {
            Ok(content) => Reply::ok(content),
            Err(_) => Reply::status(404),
        })
    })
}

#[test]
fn suites_are_taken_together_and_the_latest_version_is_chosen() {
    // D-3
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    archive.package("tool", "1+u1", "", &[("usr/bin/tool", "tool 1+u1")]);
    archive.publish_as("test-updates", "", None);
    recipe(&world, &archive.keys(), "");
    assert_eq!(world.ok(["lock"]), "img:latest: + tool 1\n", "`suite` with a mirror is that suite alone");
    let both = archive.keys().replace("suite = \"test\"", "suites = [\"test\", \"test-updates\"]");
    recipe(&world, &both, "");
    assert_eq!(world.ok(["lock"]), "img:latest: ~ tool 1 → 1+u1\n");
    let lock = fs::read_to_string(world.path("rebit.lock")).unwrap();
    assert!(lock.contains("suite = \"test-updates\"") && lock.contains("archive = 1,"), "{lock}");
}

#[test]
fn a_release_file_counts_by_a_good_signature_alone() {
    // D-7
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    let in_release = world.path("archive/dists/test/InRelease");
    // Text and signature in two files are as good as one.
    fs::remove_file(&in_release).unwrap();
    world.ok(["lock"]);
    fs::remove_file(world.path("rebit.lock")).unwrap();
    // No signature at all.
    fs::remove_file(world.path("archive/dists/test/Release.gpg")).unwrap();
    fails(&world, &["lock"], "cannot get `file:");
    fs::copy(world.path("archive/dists/test/Release"), &in_release).unwrap();
    fails(&world, &["lock"], "does not begin as a signed text does");
    // The signature of another text.
    archive.publish("");
    let signed = fs::read_to_string(&in_release).unwrap();
    archive.publish("Label: other\n");
    let other = fs::read_to_string(&in_release).unwrap();
    let (head, _) = signed.split_once("-----BEGIN PGP SIGNATURE").unwrap();
    let (_, signature) = other.split_once("-----BEGIN PGP SIGNATURE").unwrap();
    fs::write(&in_release, format!("{head}-----BEGIN PGP SIGNATURE{signature}")).unwrap();
    fails(&world, &["lock"], "no trusted key signed it");
    // A key that has expired since.
    if has("faketime") {
        archive.new_key("seconds=1");
        archive.publish("");
        std::thread::sleep(std::time::Duration::from_millis(2_100));
        fails(&world, &["lock"], "no trusted key signed it");
    } else {
        skip("needs faketime");
    }
    assert!(!world.path("rebit.lock").exists());
}

#[test]
fn sqv_verifies_where_there_is_no_gpgv() {
    // D-7
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    if !has("sqv") {
        skip("needs sqv");
        return;
    }
    let bin = world.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/usr/bin/sqv", bin.join("sqv")).unwrap();
    let lock = || ended(world.command(["lock"]).env("PATH", &bin));
    let locked = lock();
    assert_eq!(locked.code, 0, "{}", locked.stderr);
    let text = fs::read_to_string(world.path("rebit.lock")).unwrap();
    assert!(text.contains(&format!("signers = [\"{}\"]", archive.fingerprint())), "{text}");
    fs::remove_file(world.path("rebit.lock")).unwrap();
    let signed = world.path("archive/dists/test/InRelease");
    let text = fs::read_to_string(&signed).unwrap();
    fs::write(&signed, text.replace("Codename: test", "Codename: best")).unwrap();
    let refused = lock();
    assert!(refused.code == 1 && refused.stderr.contains("sqv says"), "{}", refused.stderr);
    let none = ended(world.command(["lock"]).env("PATH", world.path("nothing")));
    assert!(
        none.stderr.contains("neither gpgv nor sqv") && none.stderr.contains("install gpgv"),
        "{}",
        none.stderr
    );
}

#[test]
fn what_has_expired_or_is_older_than_the_pins_is_refused() {
    // D-8
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    world.ok(["lock"]);
    archive.publish("Date: Thu, 01 Jan 2015 00:00:00 UTC\n");
    fails(&world, &["lock", "--update"], "is of Thu, 01 Jan 2015 00:00:00 UTC, older than what is pinned");
    archive.publish("Date: Thu, 01 Jan 2015 00:00:00 UTC\nValid-Until: Fri, 02 Jan 2015 00:00:00 UTC\n");
    fs::remove_file(world.path("rebit.lock")).unwrap();
    fails(&world, &["lock"], "needs `check-valid-until = false`");
    recipe(&world, &archive.keys(), "check-valid-until = false");
    let locked = world.run(["lock"]);
    assert!(locked.code == 0 && locked.stderr.contains("is taken all the same"), "{}", locked.stderr);
}

#[test]
fn indexes_are_found_in_every_form_and_by_their_digests() {
    // D-9
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    let forms: [(&[&str], &str); 4] =
        [(&["xz", "-c"], ".xz"), (&["zstd", "-c"], ".zst"), (&["gzip", "-c"], ".gz"), (&["cat"], "")];
    for (program, end) in forms {
        if !has(program[0]) {
            skip(&format!("needs {}", program[0]));
            continue;
        }
        fs::remove_dir_all(world.path("archive/dists")).unwrap();
        archive.publish_as("test", "", Some((program, end)));
        let _gone = fs::remove_file(world.path("rebit.lock"));
        let store = format!("store{end}");
        assert_eq!(world.ok(["--store", &store, "lock"]), "img:latest: + tool 1\n", "{end}");
    }
    // By digest where that is promised, by name where the promise is not kept.
    archive.publish("Acquire-By-Hash: yes\n");
    for (there, name) in [(true, "a"), (false, "b")] {
        let hidden =
            move |_: &Seen, path: &str| (path.contains("by-hash") && !there).then(|| Reply::status(404));
        let server = server(&world, hidden);
        recipe(&world, &at(&server.url("/debian")), "");
        let _gone = fs::remove_file(world.path("rebit.lock"));
        world.ok(["--store", name, "lock"]);
        let seen = server.seen().join("\n");
        assert_eq!(
            (seen.contains("/by-hash/SHA256/"), seen.contains("/Packages.gz")),
            (true, !there),
            "{seen}"
        );
    }
}

#[test]
fn a_mirror_gives_what_was_signed_or_nothing() {
    // D-9
    let world = World::new();
    let Some(_archive) = prepared(&world) else { return };
    let wrong = |what: &'static str, reply: fn(Vec<u8>) -> Reply| {
        let root = world.path("archive");
        server(&world, move |_, path| {
            path.ends_with(what).then(|| reply(fs::read(root.join(path)).unwrap_or_default()))
        })
    };
    let flipped = |mut bytes: Vec<u8>| {
        bytes[20] ^= 1;
        Reply::ok(bytes)
    };
    let longer = |mut bytes: Vec<u8>| {
        bytes.push(0);
        Reply::ok(bytes)
    };
    for (number, (what, reply, expected)) in [
        ("Packages.gz", flipped as fn(Vec<u8>) -> Reply, "were expected"),
        ("Packages.gz", longer, "is larger than"),
        ("tool_1.deb", flipped, "were expected"),
        ("tool_1.deb", longer, "is larger than"),
        ("tool_1.deb", |bytes| Reply::ok(&bytes[..40]), "were expected"),
        ("tool_1.deb", |_| Reply::status(404), "`fallback` in the recipe"),
        ("tool_1.deb", |_| Reply::redirect("/debian/tool_1.deb"), "more than 10 times"),
        ("InRelease", |_| Reply::ok("<html>log in</html>"), "does not begin as a signed text"),
    ]
    .into_iter()
    .enumerate()
    {
        let server = wrong(what, reply);
        recipe(&world, &at(&server.url("/debian")), "");
        let _gone = fs::remove_file(world.path("rebit.lock"));
        let store = format!("store{number}");
        fails(&world, &["--store", &store, "image", "build"], expected);
        assert_eq!(world.ok(["--store", &store, "images", "--quiet"]), "", "{what}");
    }
    // Where it is moved to is no matter.
    let whole = server(&world, |_, _| None);
    let to = whole.url("/debian/");
    let moved = server(&world, move |_, path| Some(Reply::redirect(format!("{to}{path}"))));
    recipe(&world, &at(&moved.url("/debian")), "");
    let _gone = fs::remove_file(world.path("rebit.lock"));
    world.ok(["image", "build"]);
}

#[test]
fn what_an_archive_has_dropped_comes_from_one_that_keeps_it() {
    // D-17
    let world = World::new();
    let Some(_archive) = prepared(&world) else { return };
    let digest = world.ok(["image", "build"]);
    let time = fs::read_to_string(world.path("rebit.lock")).unwrap();
    assert!(time.contains("date = "));
    // Years later the archive has another version, and an archive of archives has this one.
    fs::create_dir(world.path("kept")).unwrap();
    fs::rename(world.path("archive/pool"), world.path("pool")).unwrap();
    let pool = world.path("pool");
    let keeper = Server::new(move |seen| {
        let mut parts = seen.target.trim_start_matches('/').split('/');
        let (archive, time) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let is_time = time.len() == 16 && time.ends_with('Z');
        match fs::read(pool.join(seen.target.rsplit('/').next().unwrap_or(""))) {
            Ok(content) if archive == "archive" && is_time => Reply::ok(content),
            _ => Reply::status(404),
        }
    });
    fails(&world, &["--store", "fresh", "image", "build"], "`fallback` in the recipe");
    let archive = world.path("archive");
    let keys = format!(
        "suite = \"test\", mirror = \"file:{}\", keyrings = [\"archive.gpg\"], fallback = [\"file:{}\", \"{}\"]",
        archive.display(),
        world.path("kept").display(),
        keeper.url("/{archive}/{time}/")
    );
    recipe(&world, &keys, "");
    assert_eq!(world.ok(["--store", "fresh", "image", "build"]), digest);
    assert_eq!(keeper.seen().len(), 1);
}

#[test]
fn logins_go_where_they_are_for_and_nowhere_else() {
    // D-18
    let world = World::new();
    let Some(_archive) = prepared(&world) else { return };
    let elsewhere =
        server(&world, |seen, _| seen.fields.contains_key("authorization").then(|| Reply::status(400)));
    let to = elsewhere.url("/debian/pool/tool_1.deb");
    let guarded = server(&world, move |seen, path| match seen.fields.get("authorization") {
        // `me:p@ss` in base64.
        Some(login) if login == "Basic bWU6cEBzcw==" => {
            path.ends_with(".deb").then(|| Reply::redirect(to.clone()))
        }
        _ => Some(Reply::status(401)),
    });
    recipe(&world, &at(&guarded.url("/debian")), "");
    fails(&world, &["lock"], "the server answers 401");
    world.write("apt.conf", format!("Dir::Etc \"{}\";\n", world.path("etc").display()));
    world.write("etc/auth.conf", format!("machine {} login me password p@ss\n", guarded.url("/deb")));
    let build = |store: &str| {
        let mut command = world.command(["--store", store, "image", "build"]);
        ended(command.env("APT_CONFIG", world.path("apt.conf")))
    };
    let built = build("store");
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(!built.stderr.contains("p@ss") && !built.stderr.contains("me:"), "{}", built.stderr);
    let lock = fs::read_to_string(world.path("rebit.lock")).unwrap();
    assert!(!lock.contains("p@ss") && !lock.contains("me:"), "{lock}");
    let grep = ended(std::process::Command::new("grep").args(["-rla", "p@ss"]).arg(world.path("store")));
    assert_eq!(grep.stdout, "", "the store has no password");
    // A wrong one is not shown either, and one for another path is not sent.
    fs::write(
        world.path("etc/auth.conf"),
        format!("machine {} login me password wr0ng\n", guarded.url("/deb")),
    )
    .unwrap();
    let refused = build("second");
    assert!(refused.code == 1 && !refused.stderr.contains("wr0ng"), "{}", refused.stderr);
    fs::write(
        world.path("etc/auth.conf"),
        format!("machine {} login me password p@ss\n", guarded.url("/other")),
    )
    .unwrap();
    let before = guarded.requests().len();
    assert_eq!(build("third").code, 1);
    assert!(guarded.requests()[before..].iter().all(|seen| !seen.fields.contains_key("authorization")));
}

#[test]
fn the_proxy_of_apt_is_asked() {
    // D-19
    let world = World::new();
    let Some(_archive) = prepared(&world) else { return };
    let archive = server(&world, |_, _| None);
    let address = archive.url("").trim_start_matches("http://").to_owned();
    let proxy = Server::new(move |_| Reply::Tunnel(address.clone()));
    recipe(&world, &at("http://archive.test/debian"), "");
    let conf = format!("Acquire::http::Proxy::archive.test \"{}\";\nDir::Etc \"none\";\n", proxy.url(""));
    world.write("apt.conf", conf);
    let built = ended(world.command(["image", "build"]).env("APT_CONFIG", world.path("apt.conf")));
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert_eq!(proxy.seen().first().map(String::as_str), Some("CONNECT archive.test:80"));
    assert!(archive.seen().contains(&"GET /debian/dists/test/InRelease".to_owned()));
}

#[test]
fn sources_and_keys_are_those_of_apt() {
    // D-3, D-7
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    world.write("apt.conf", format!("Dir::Etc \"{}\";\n", world.path("etc").display()));
    let lock = |sources: &str| {
        world.write("etc/sources.list.d/a.sources", sources);
        let _gone = fs::remove_file(world.path("rebit.lock"));
        ended(world.command(["lock"]).env("APT_CONFIG", world.path("apt.conf")))
    };
    recipe(&world, "suite = \"test\"", "");
    let uri = format!("file:{}", world.path("archive").display());
    let source = |more: &str| format!("Types: deb\nURIs: {uri}\nSuites: test\nComponents: main\n{more}");
    let key = format!("Signed-By: {}\n", world.path("archive.gpg").display());
    assert_eq!(lock(&source(&key)).stdout, "img:latest: + tool 1\n");
    let refused = lock(&source(""));
    assert!(refused.stderr.contains("does not hold"), "nobody trusts the key in general: {}", refused.stderr);
    // By its fingerprint, among the keys that are trusted.
    fs::create_dir_all(world.path("etc/trusted.gpg.d")).unwrap();
    fs::copy(world.path("archive.gpg"), world.path("etc/trusted.gpg.d/a.gpg")).unwrap();
    assert_eq!(lock(&source("")).code, 0);
    assert_eq!(lock(&source(&format!("Signed-By: {}\n", archive.fingerprint()))).code, 0);
    let other = lock(&source(&format!("Signed-By: {}\n", "AB".repeat(20))));
    assert!(other.code == 1 && other.stderr.contains("does not hold"), "{}", other.stderr);
    // The key stands in the file.
    fs::remove_dir_all(world.path("etc/trusted.gpg.d")).unwrap();
    let mut gpg = std::process::Command::new("gpg");
    gpg.args(["--batch", "--armor", "--homedir"]).arg(world.path("archive-key")).arg("--export");
    let armored: String = ended(&mut gpg)
        .stdout
        .lines()
        .map(|line| format!(" {}\n", if line.is_empty() { "." } else { line }))
        .collect();
    assert_eq!(lock(&source(&format!("Signed-By: |\n{armored}"))).code, 0);
    assert_eq!(lock(&source(&format!("Signed-By:\n{armored}"))).code, 0);
    let odd = lock(&source("").replace("file:", "mirror+file:"));
    assert!(odd.stderr.contains("reached by `mirror+file:`, which only apt can use"), "{}", odd.stderr);
    let old = "Date: Thu, 01 Jan 2015 00:00:00 UTC\nValid-Until: Fri, 02 Jan 2015 00:00:00 UTC\n";
    archive.publish(old);
    assert!(lock(&source(&key)).stderr.contains("not to be believed since"));
    assert_eq!(lock(&source(&format!("{key}Check-Valid-Until: no\n"))).code, 0);
}

#[test]
fn every_key_of_a_recipe_is_in_the_image() {
    // D-25, D-40
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    archive.package("extra", "1", "", &[("usr/share/extra", "extra")]);
    archive.publish("");
    world.write("a file", "copied\n");
    let keys = r#"packages = ["tool", "extra (>= 1)"], users = { app = { uid = 7, gid = 8, home = "/app" } }, groups = { app = 8 }, files = { "/etc/copied" = { source = "a file", mode = "0640", owner = "7:8" }, "/l" = { link = "etc/copied" } }, environment = { A = "b c" }, entrypoint = ["/usr/bin/tool"], command = ["-x"], user = "app", working-directory = "/app", labels = { "a.b" = "c" }"#;
    let text = format!(
        "[image.img.debian]\nvariant = \"distroless\"\n{}\n",
        archive.keys().replace(", keyrings", "\nkeyrings").replace(", mirror", "\nmirror")
    );
    let keys = keys
        .replace("\"], ", "\"]\n")
        .replace(" }, groups", " }\ngroups")
        .replace(" }, files", " }\nfiles")
        .replace(" }, environment", " }\nenvironment")
        .replace(" }, entrypoint", " }\nentrypoint")
        .replace("\", working", "\"\nworking")
        .replace("\", labels", "\"\nlabels");
    world.write("rebit.toml", format!("{text}{keys}\n"));
    world.ok(["image", "build"]);
    let config: serde_json::Value =
        serde_json::from_str(&world.ok(["inspect", "--raw", "config", "img"])).unwrap();
    let expected = serde_json::json!({
        "User": "7",
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=b c"],
        "Entrypoint": ["/usr/bin/tool"],
        "Cmd": ["-x"],
        "WorkingDir": "/app",
        "Labels": {"a.b": "c"},
    });
    assert_eq!(config["config"], expected);
    world.write("bare/Dockerfile", "FROM img\n");
    world.ok(["build", "-q", "-o", "type=local,dest=out", "bare"]);
    let of = |path: &str| fs::symlink_metadata(world.path("out").join(path)).unwrap();
    let copied = of("etc/copied");
    assert_eq!((copied.mode() & 0o7777, of("app").mode() & 0o7777), (0o640, 0o700));
    if is_root() {
        assert_eq!((copied.uid(), copied.gid(), of("app").uid(), of("app").gid()), (7, 8, 7, 8));
    }
    assert_eq!(fs::read_to_string(world.path("out/etc/copied")).unwrap(), "copied\n");
    assert_eq!(fs::read_link(world.path("out/l")).unwrap(), PathBuf::from("etc/copied"));
    assert!(fs::read_to_string(world.path("out/etc/passwd")).unwrap().contains("app:x:7:8:app:/app:"));
    assert!(world.path("out/usr/share/extra").is_file());
}

#[test]
fn a_recipe_is_for_every_platform_that_is_asked_for() {
    // D-42
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    let native = world.ok(["image", "build"]);
    for name in ["rebit.toml", "rebit.lock", "archive.gpg"] {
        fs::create_dir_all(world.path("context")).unwrap();
        fs::copy(world.path(name), world.path("context").join(name)).unwrap();
    }
    world.write("context/Dockerfile", "FROM --platform=linux/arm64 img\nCOPY Dockerfile /copied\n");
    world.ok(["build", "--platform=linux/arm64", "-t", "other", "context"]);
    let config = world.ok(["inspect", "--raw", "config", "other"]);
    assert!(config.contains(r#""architecture":"arm64""#), "{config}");
    let config = world.ok(["inspect", "--raw", "config", "img"]);
    assert!(config.contains(r#""architecture":"amd64""#), "the name is the machine's: {config}");
    let lock = fs::read_to_string(world.path("context/rebit.lock")).unwrap();
    assert!(
        lock.contains("[image.\"img:latest amd64\"]") && lock.contains("[image.\"img:latest arm64\"]"),
        "{lock}"
    );
    // Pins move for both, and the other one is named.
    fs::remove_file(archive.package("tool", "1", "", &[])).unwrap();
    archive.package("tool", "2", "", &[("usr/bin/tool", "tool 2")]);
    archive.publish("");
    let moved = world.ok(["lock", "--update", "-f", "context/rebit.toml"]);
    assert_eq!(moved, "img:latest: ~ tool 1 → 2\nimg:latest (arm64): ~ tool 1 → 2\n");
    let arm = world.ok(["image", "build", "-f", "context/rebit.toml", "--platform", "linux/arm64"]);
    assert_ne!(arm, native);
    recipe(&world, &archive.keys(), "architecture = \"arm64\"");
    assert_eq!(world.ok(["image", "build"]), arm);
    fails(
        &world,
        &["image", "build", "--platform", "linux/amd64"],
        "the recipe is for arm64, and linux/amd64 is amd64",
    );
    world.fsck();
}

#[test]
fn scanners_read_what_dpkg_would_say() {
    // D-23
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    let fields = "Source: src (0.9)\nInstalled-Size: 7\nSection: misc\nPriority: optional\nMulti-Arch: foreign\nHomepage: https://h.test/\nDepends: libc6\nProvides: thing (= 2)\n";
    let deb = archive.package("tool", "2", fields, &[("usr/bin/tool", "tool"), ("usr/share/x", "x")]);
    archive.publish("");
    world.write("bare/Dockerfile", "FROM img\n");
    recipe(&world, &archive.keys(), "");
    for name in ["rebit.toml", "archive.gpg"] {
        fs::copy(world.path(name), world.path("bare").join(name)).unwrap();
    }
    world.ok(["build", "-q", "-o", "type=local,dest=out", "bare"]);
    let entry = |text: &str| -> Vec<(String, String)> {
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        let mut fields: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(field).collect();
        fields.retain(|(name, _)| name != "Status");
        fields.sort();
        fields
    };
    let ours = entry(&fs::read_to_string(world.path("out/var/lib/dpkg/status.d/tool")).unwrap());
    let sums = fs::read_to_string(world.path("out/var/lib/dpkg/status.d/tool.md5sums")).unwrap_or_default();
    let listed = ended(std::process::Command::new("dpkg-deb").arg("--ctrl-tarfile").arg(&deb)).stdout;
    assert_eq!(listed.contains("md5sums"), !sums.is_empty(), "the sums are kept where a package has them");
    // What dpkg notes of the same package.
    for name in ["updates", "info", "triggers"] {
        fs::create_dir_all(world.path("dpkg/var/lib/dpkg").join(name)).unwrap();
    }
    world.write("dpkg/var/lib/dpkg/status", "");
    let mut dpkg = std::process::Command::new("dpkg");
    dpkg.arg(format!("--root={}", world.path("dpkg").display()));
    dpkg.args(["--force-not-root,depends", "--log=/dev/null", "--install"]).arg(&deb);
    let installed = ended(&mut dpkg);
    assert_eq!(installed.code, 0, "{}", installed.stderr);
    assert_eq!(ours, entry(&fs::read_to_string(world.path("dpkg/var/lib/dpkg/status")).unwrap()));
    let md5 = "d41d8cd98f00b204e9800998ecf8427e".len();
    assert!(sums.lines().all(|line| line.find("  ") == Some(md5)), "{sums}");
}

#[test]
fn the_choice_of_packages_is_that_of_apt() {
    let world = World::new();
    let wanted =
        ["bash", "curl", "default-jre-headless", "git", "nginx-core", "postgresql-15", "samba", "systemd"];
    let mut recipes = String::new();
    for name in wanted {
        recipes.push_str(&format!(
            "[image.\"{name}\"]\ndebian = {{ suite = \"bookworm\", variant = \"distroless\", dependencies = true, packages = [\"{name}\"] }}\n"
        ));
    }
    world.write("rebit.toml", recipes);
    if !has("apt-get") || !debian::locks(&world, "rebit.toml") {
        return;
    }
    // Another apt: nothing is installed, and its indexes are of now.
    for directory in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(world.path(directory)).unwrap();
    }
    world.write("status", "");
    let apt = |args: &[&str]| {
        let mut apt = std::process::Command::new("apt-get");
        for (name, path) in [("State", "state"), ("State::status", "status"), ("Cache", "cache")] {
            apt.arg("-o").arg(format!("Dir::{name}={}", world.path(path).display()));
        }
        ended(apt.args(["-o", "APT::Sandbox::User=root", "-qq"]).args(args).env("LC_ALL", "C"))
    };
    assert_eq!(apt(&["update"]).code, 0);
    let policy = ended(std::process::Command::new("apt-cache").args(["policy"]).env("LC_ALL", "C")).stdout;
    if !policy.contains("n=bookworm") || policy.contains("n=trixie") {
        skip("needs a machine whose apt has bookworm alone");
        return;
    }
    let lock: toml::Table = fs::read_to_string(world.path("rebit.lock")).unwrap().parse().unwrap();
    let version = |name: &str| -> Vec<String> {
        let packages = lock["image"][&format!("{name}:latest")]["packages"].as_array().unwrap();
        packages
            .iter()
            .map(|p| format!("{} {}", p["name"].as_str().unwrap(), p["version"].as_str().unwrap()))
            .collect()
    };
    for name in wanted {
        let said = apt(&["-s", "--no-install-recommends", "install", name]).stdout;
        let mut chosen: Vec<String> = said
            .lines()
            .filter_map(|line| {
                let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
                Some(format!("{name} {}", rest.split(' ').next()?))
            })
            .collect();
        chosen.sort();
        let mut ours = version(name);
        ours.sort();
        assert_eq!(ours, chosen, "{name}");
    }
}

//! Images from Debian packages: from an archive that the tests make, and from the one that this machine's apt uses.

use std::fs;
use std::process::Command;

use crate::support::archive::Archive;
use crate::support::debian::locks;
use crate::support::{World, ended, has, is_root};

/// A world with an archive of three packages, and a recipe for `img` and a Dockerfile that begins with it.
fn prepared(world: &World) -> Option<Archive<'_>> {
    let archive = Archive::new(world, "archive")?;
    archive.package("tool", "1", "Depends: data (>= 1)\n", &[("bin/tool", "tool 1"), ("etc/tool.conf", "c")]);
    archive.package("data", "1.0-1", "", &[("usr/share/data", "data"), ("usr/share/man/man1/d.1", "m")]);
    archive.package("other", "1", "Conflicts: data\nDepends: nothing | none\n", &[("other", "o")]);
    archive.publish("");
    recipe(world, &archive, r#"packages = ["tool"], dependencies = true, user = "nonroot""#);
    world.write("context/Dockerfile", "FROM img\nCOPY Dockerfile /copied\n");
    Some(archive)
}

fn recipe(world: &World, archive: &Archive<'_>, keys: &str) {
    let text = format!("[image.img]\ndebian = {{ variant = \"distroless\", {}, {keys} }}\n", archive.keys());
    world.write("rebit.toml", &text);
    // The same for builds, with the key beside it.
    world.write("context/rebit.toml", &text);
    fs::copy(world.path("archive.gpg"), world.path("context/archive.gpg")).unwrap();
}

pub(crate) fn fails(world: &World, args: &[&str], expected: &str) {
    let ended = world.run(args);
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
}

#[test]
fn an_image_is_assembled_pinned_and_built_upon() {
    // D-5, D-6, D-14, D-40
    let world = World::new();
    let Some(_archive) = prepared(&world) else { return };
    let locked = world.ok(["lock"]);
    assert_eq!(locked, "img:latest: + data 1.0-1\nimg:latest: + tool 1\n");
    assert_eq!(world.ok(["lock"]), "");
    let digest = world.ok(["image", "build"]);
    let again = world.run(["image", "build", "img"]);
    assert!(again.stdout == digest && again.stderr.contains("known"), "{}", again.stderr);
    // A Dockerfile beside the recipe begins with it, without anything being done before.
    let other = World::new();
    fs::rename(world.path("context"), other.path("context")).unwrap();
    let built = other.run(["build", "-q", "-t", "app", "-o", "type=local,dest=out", "context"]);
    assert_eq!((built.code, built.stderr.as_str()), (0, ""), "a quiet build is quiet about packages, too");
    let read = |path: &str| fs::read_to_string(other.path("out").join(path)).unwrap();
    assert_eq!(
        (read("usr/bin/tool"), read("etc/tool.conf"), read("usr/share/data")),
        ("tool 1".into(), "c".into(), "data".into())
    );
    assert!(read("var/lib/dpkg/status.d/tool").contains("Depends: data (>= 1)"));
    assert!(read("etc/passwd").contains("nonroot:x:65532:"));
    assert!(!other.path("out/usr/share/man").exists() && other.path("out/copied").is_file());
    assert!(other.path("context/rebit.lock").is_file(), "a build pins what it has no pins for");
    let base = other.ok(["image", "build", "-f", "context/rebit.toml"]);
    assert_eq!(base, digest, "another store, another directory");
    let config = world.ok(["inspect", "--raw", "config", "img"]);
    assert!(config.contains(r#""User":"65532""#), "{config}");
    world.ok(["export", "img", "oci-archive:img.tar"]);
    world.ok(["verify", "oci-archive:img.tar"]);
    world.fsck();
}

#[test]
fn what_is_known_needs_no_archive() {
    // D-15
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    fails(&world, &["image", "build", "--offline"], "`img:latest` is not locked: it has no pins");
    world.ok(["lock"]);
    fails(&world, &["image", "build", "--offline"], "is not in the store, and nothing is to be fetched");
    let digest = world.ok(["image", "build"]);
    drop(archive);
    fs::rename(world.path("archive"), world.path("elsewhere")).unwrap();
    assert_eq!(world.ok(["image", "build", "--offline"]), digest);
    // Another image of the same packages needs nothing either.
    let text = fs::read_to_string(world.path("rebit.toml")).unwrap();
    world.write("rebit.toml", text.replace("user = \"nonroot\"", "labels = { a = \"b\" }"));
    let labelled = world.ok(["image", "build", "--offline"]);
    assert_ne!(labelled, digest);
    // Nor does a build without a network.
    fs::copy(world.path("rebit.lock"), world.path("context/rebit.lock")).unwrap();
    fs::copy(world.path("rebit.toml"), world.path("context/rebit.toml")).unwrap();
    world.ok(["build", "--network=none", "-t", "app", "context"]);
    // A choice of packages that changed does.
    let text = fs::read_to_string(world.path("rebit.toml")).unwrap();
    world.write("rebit.toml", text.replace("[\"tool\"]", "[\"data\"]"));
    fails(&world, &["image", "build", "--offline"], "is not locked: its recipe has changed");
}

#[test]
fn pins_move_when_they_are_told_to() {
    // D-16
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    let first = world.ok(["image", "build"]);
    let lock = fs::read(world.path("rebit.lock")).unwrap();
    fs::remove_file(archive.package("tool", "1", "", &[])).unwrap();
    archive.package("tool", "1.10", "", &[("bin/tool", "tool 1.10")]);
    archive.publish("");
    assert_eq!(world.ok(["lock"]), "");
    assert_eq!(fs::read(world.path("rebit.lock")).unwrap(), lock);
    assert_eq!(world.ok(["image", "build"]), first);
    let fresh = world.run(["--store", "fresh", "image", "build"]);
    assert!(fresh.code == 1 && fresh.stderr.contains("hint: an archive drops versions"), "{}", fresh.stderr);
    let moved = world.ok(["lock", "--update"]);
    assert_eq!(moved, "img:latest: - data 1.0-1\nimg:latest: ~ tool 1 → 1.10\n");
    assert_ne!(world.ok(["image", "build"]), first);
    world.write("rebit.toml", "");
    let gone = world.run(["lock"]);
    assert!(gone.code == 0 && gone.stderr.contains("has no recipe any more"), "{}", gone.stderr);
}

#[test]
fn what_is_not_what_was_signed_is_refused() {
    // D-7, D-8, D-9
    let world = World::new();
    let Some(archive) = prepared(&world) else { return };
    let signed = world.path("archive/dists/test/InRelease");
    let text = fs::read_to_string(&signed).unwrap();
    fs::write(&signed, text.replace("Codename: test", "Codename: best")).unwrap();
    fails(&world, &["lock"], "does not hold");
    fs::write(&signed, text.replace("-----BEGIN PGP SIGNED", "x\n-----BEGIN PGP SIGNED")).unwrap();
    fails(&world, &["lock"], "does not begin as a signed text does");
    archive.publish("Valid-Until: Thu, 01 Jan 2015 00:00:00 UTC\n");
    fails(&world, &["lock"], "not to be believed since Thu, 01 Jan 2015");
    archive.publish("");
    // A key that signed something else.
    let other = Archive::new(&world, "other").unwrap();
    let key = fs::read(world.path("archive.gpg")).unwrap();
    fs::copy(world.path("other.gpg"), world.path("archive.gpg")).unwrap();
    fails(&world, &["lock"], "no trusted key signed it");
    fs::remove_file(world.path("archive.gpg")).unwrap();
    fails(&world, &["lock"], "there is no file of keys");
    fs::write(world.path("archive.gpg"), key).unwrap();
    drop(other);
    for architecture in ["amd64", "arm64"] {
        let index = world.path(&format!("archive/dists/test/main/binary-{architecture}/Packages.gz"));
        let mut bytes = fs::read(&index).unwrap();
        bytes.push(0);
        fs::write(&index, bytes).unwrap();
    }
    fails(&world, &["lock"], "it is larger than");
    archive.publish("");
    world.ok(["lock"]);
    let deb = world.path("archive/pool/tool_1.deb");
    let mut bytes = fs::read(&deb).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&deb, bytes).unwrap();
    fails(&world, &["image", "build"], "were expected");
    assert_eq!(world.ok(["images", "--quiet"]), "");
}

#[test]
fn mistakes_are_named() {
    let world = World::new();
    fails(&world, &["image", "build"], "there is no file of recipes `rebit.toml`");
    let Some(archive) = prepared(&world) else { return };
    fails(&world, &["image", "build", "imgg"], "has no recipe for `imgg`");
    for (keys, expected) in [
        ("pakages = []", "unknown field `pakages`"),
        (r#"packages = ["tol"]"#, "there is no package `tol`"),
        (r#"packages = ["tool=2"]"#, "`tool` is there as 1 only"),
        (
            r#"packages = ["other"], dependencies = true"#,
            "`nothing | none` cannot be had: there is no package `nothing`, and there is no package `none` (wanted by other (1), which the recipe asks for)",
        ),
        (
            r#"packages = ["other", "tool"], dependencies = true, exclude = ["nothing"]"#,
            "other (1) conflicts with data (1.0-1), by `data` (wanted by tool (1), which the recipe asks for)",
        ),
    ] {
        recipe(&world, &archive, keys);
        fails(&world, &["lock"], expected);
    }
    let text = "[image.img]\ndebian = { suite = \"x\", variant = \"distroless\", mirror = \"http://me:secret@127.0.0.1:1/x\" }\n";
    world.write("rebit.toml", text);
    fails(&world, &["lock"], "has credentials");
    recipe(&world, &archive, r#"packages = ["tool"], user = "somebody""#);
    fails(&world, &["image", "build"], "it has no user `somebody`");
    fails(&world, &["image", "recipes", "none"], "there is no ready recipe `none`");
}

#[test]
fn a_base_that_cannot_be_had_and_has_a_ready_recipe_says_so() {
    // D-43
    let world = World::new();
    let name = "gcr.io/distroless/static-debian13:nonroot";
    world.write("context/Dockerfile", format!("FROM {name}\nCOPY Dockerfile /\n"));
    let hint = format!("with `rebit image recipes {name} >> rebit.toml` beside the Dockerfile");
    fails(&world, &["build", "--pull=never", "context"], &hint);
    let recipe = world.ok(["image", "recipes", name]);
    assert!(recipe.contains(&format!("[image.\"{name}\".debian]\nsuite = \"trixie\"")), "{recipe}");
    // With it, the build knows where the image comes from: it has no pins yet, and may not make them here.
    world.write("context/rebit.toml", recipe);
    fails(&world, &["build", "--network=none", "context"], "is not locked: it has no pins");
}

#[test]
fn a_system_is_usable_and_the_same_in_two_stores() {
    // D-33
    let world = World::new();
    world.write(
        "rebit.toml",
        "[image.\"debian:bookworm\"]\ndebian = { suite = \"bookworm\", variant = \"minbase\", packages = [\"ca-certificates\"] }\n",
    );
    if !is_root() || !locks(&world, "rebit.toml") {
        return;
    }
    let built = world.run(["image", "build", "--compression=none"]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(built.stderr.contains("removed /var/cache/ldconfig/aux-cache"), "{}", built.stderr);
    let script = "test -z \"$(dpkg --audit)\" && dpkg -s ca-certificates | grep -q 'ok installed' && perl -e 'print 6*7' && test -s /etc/ssl/certs/ca-certificates.crt && ! find / -xdev -name '*.dpkg-new' | grep .";
    assert_eq!(world.ok(["run", "debian:bookworm", "sh", "-c", script]), "42");
    // It has apt, and apt knows where packages are.
    world.write("context/Dockerfile", "FROM debian:bookworm\nRUN apt-get update -qq && apt-get install -qq hello >/dev/null 2>&1\nRUN hello > /said\n");
    world.ok(["build", "-t", "hello", "context"]);
    assert_eq!(world.ok(["run", "hello", "cat", "/said"]), "Hello, world!\n");
    // Another store, umask, time zone and directory.
    let other = World::new();
    fs::create_dir(other.path("a directory")).unwrap();
    for name in ["rebit.toml", "rebit.lock"] {
        fs::copy(world.path(name), other.path("a directory").join(name)).unwrap();
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$0\" image build --compression=none", crate::support::REBIT]);
    command.current_dir(other.path("a directory")).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("TZ", "Asia/Tokyo").env("LC_ALL", "C").env("REBIT_STORE", other.path("store"));
    let again = ended(&mut command);
    assert_eq!(again.stdout, built.stdout, "{}", again.stderr);
    world.fsck();
}

#[test]
fn a_system_of_the_next_release_is_usable() {
    // D-3, D-30
    let world = World::new();
    world.write(
        "rebit.toml",
        "[image.\"debian:trixie\"]\ndebian = { suite = \"trixie\", variant = \"minbase\" }\n",
    );
    if !is_root() || !locks(&world, "rebit.toml") {
        return;
    }
    let lock = fs::read_to_string(world.path("rebit.lock")).unwrap();
    assert!(lock.contains("trixie-security") && lock.contains("trixie-updates"), "{lock}");
    world.ok(["image", "build", "-q", "--compression=none"]);
    let script = "test -z \"$(dpkg --audit)\" && test -L /bin && . /etc/os-release && echo $VERSION_CODENAME";
    assert_eq!(world.ok(["run", "debian:trixie", "sh", "-c", script]), "trixie\n");
}

/// A class whose `main` says `hello from Java`, as `javac -g:none --release 11` makes it.
const HELLO_CLASS: &str = "cafebabe00000037001a0a000200030700040c000500060100106a6176612f6c616e672f4f626a6563740100063c696e69743e010003282956090008000907000a0c000b000c0100106a6176612f6c616e672f53797374656d0100036f75740100154c6a6176612f696f2f5072696e7453747265616d3b08000e01000f68656c6c6f2066726f6d204a6176610a001000110700120c001300140100136a6176612f696f2f5072696e7453747265616d0100077072696e746c6e010015284c6a6176612f6c616e672f537472696e673b295607001601000548656c6c6f010004436f64650100046d61696e010016285b4c6a6176612f6c616e672f537472696e673b2956002100150002000000000002000100050006000100170000001100010001000000052ab70001b10000000000090018001900010017000000150002000100000009b20007120db6000fb1000000000000";

/// A program of a kind for an image: the context's files, the lines after `FROM`, and what it says.
fn program(world: &World, kind: &str) -> Option<(String, &'static str)> {
    let compiled = |compiler: &str, source: &str, flags: &[&str]| {
        if !has(compiler) {
            return None;
        }
        let file = world.write(source, include_str!("fixtures/hello.c"));
        let mut command = Command::new(compiler);
        command.args(flags).arg("-o").arg(world.path("context/program")).arg(file);
        let made = ended(command.current_dir(world.dir.path()));
        assert_eq!(made.code, 0, "{}", made.stderr);
        Some("COPY program /program\nENTRYPOINT [\"/program\"]\n".to_owned())
    };
    Some(match kind {
        "static" => (compiled("gcc", "hello.c", &["-static"])?, "hello from C\n"),
        "base" => (compiled("gcc", "hello.c", &[])?, "hello from C\n"),
        "cc" => (compiled("g++", "hello.cc", &["-Wl,--no-as-needed", "-lstdc++"])?, "hello from C\n"),
        "python3" => {
            let text = "import ssl, sqlite3, zlib, json, ctypes, hashlib\nprint('hello from', 'Python')\n";
            world.write("context/hello.py", text);
            ("COPY hello.py /\nCMD [\"/hello.py\"]\n".to_owned(), "hello from Python\n")
        }
        "nodejs18" | "nodejs20" => {
            let text = "require('crypto'); require('undici'); console.log('hello from Node')\n";
            world.write("context/hello.js", text);
            ("COPY hello.js /\nCMD [\"/hello.js\"]\n".to_owned(), "hello from Node\n")
        }
        _ => {
            if !has("python3") {
                return None;
            }
            let script = "import sys, zipfile\nwith zipfile.ZipFile('context/hello.jar', 'w') as jar:\n    jar.writestr('META-INF/MANIFEST.MF', 'Main-Class: Hello\\n')\n    jar.writestr('Hello.class', bytes.fromhex(sys.argv[1]))\n";
            let mut python = Command::new("python3");
            let made = ended(python.args(["-c", script, HELLO_CLASS]).current_dir(world.dir.path()));
            assert_eq!(made.code, 0, "{}", made.stderr);
            ("COPY hello.jar /\nCMD [\"/hello.jar\"]\n".to_owned(), "hello from Java\n")
        }
    })
}

/// Paths in an image whose name is that of a shell or of what has one.
fn shells(world: &World, image: &str) -> Vec<String> {
    let _gone = fs::remove_dir_all(world.path("out"));
    world.write("bare/Dockerfile", format!("FROM {image}\n"));
    for name in ["rebit.toml", "rebit.lock"] {
        fs::copy(world.path(name), world.path("bare").join(name)).unwrap();
    }
    world.ok(["build", "-q", "-o", "type=local,dest=out", "bare"]);
    let names = ["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox", "toybox", "perl", "dpkg", "apt"];
    let mut find = Command::new("find");
    find.arg(world.path("out")).args(["!", "-type", "d", "-perm", "/111", "("]);
    for (number, name) in names.iter().enumerate() {
        find.args((number > 0).then_some("-o")).args(["-name", name]);
    }
    let found = ended(find.arg(")"));
    assert_eq!(found.code, 0, "{}", found.stderr);
    found.stdout.lines().map(str::to_owned).collect()
}

/// The ready recipes of a suite, pinned, in `rebit.toml` and beside the Dockerfile; `None` when they cannot be pinned here.
fn ready(world: &World, suite: &str, kinds: &[&str], tags: &[&str]) -> Option<()> {
    let mut text = String::new();
    for kind in kinds {
        for tag in tags {
            let name = format!("distroless/{kind}:{tag}");
            text.push_str(&world.ok(["image", "recipes", "--suite", suite, &name]));
        }
    }
    world.write("rebit.toml", &text);
    world.write("context/rebit.toml", &text);
    if !locks(world, "rebit.toml") {
        return None;
    }
    fs::copy(world.path("rebit.lock"), world.path("context/rebit.lock")).unwrap();
    Some(())
}

fn recipes_work(suite: &str, kinds: [&str; 6]) {
    let world = World::new();
    if !is_root() || ready(&world, suite, &kinds, &["latest", "nonroot", "debug", "debug-nonroot"]).is_none()
    {
        return;
    }
    let built = world.ok(["image", "build", "--json"]);
    let built: serde_json::Value = serde_json::from_str(&built).unwrap();
    assert_eq!(built.as_array().unwrap().len(), 24);
    let size = |name: &str| {
        let image = built.as_array().unwrap().iter().find(|image| image["name"] == name).unwrap();
        image["size"].as_u64().unwrap()
    };
    assert!(size("distroless/static:latest") <= 2_000_000, "{}", size("distroless/static:latest"));
    for kind in kinds {
        let Some((lines, expected)) = program(&world, kind) else { continue };
        for tag in ["latest", "nonroot"] {
            let image = format!("distroless/{kind}:{tag}");
            world.write("context/Dockerfile", format!("FROM {image}\n{lines}"));
            world.ok(["build", "-q", "-t", "program", "context"]);
            assert_eq!(world.ok(["run", "program"]), expected, "{image}");
        }
        assert_eq!(shells(&world, &format!("distroless/{kind}")), [""; 0], "{kind}");
        assert_eq!(
            shells(&world, &format!("distroless/{kind}:debug")).len(),
            2,
            "{kind}: busybox, and sh that is a link to it"
        );
        let debug = format!("distroless/{kind}:debug-nonroot");
        let said = world.ok(["run", "--entrypoint", "/busybox/sh", &debug, "-c", "id -u; ls /busybox/sh"]);
        assert_eq!(said, "65532\n/busybox/sh\n", "{debug}");
    }
}

#[test]
fn ready_recipes_of_bookworm_run_programs_of_their_kind_and_have_no_shell() {
    // D-41
    recipes_work("bookworm", ["static", "base", "cc", "python3", "java17", "nodejs18"]);
}

#[test]
fn ready_recipes_of_trixie_run_programs_of_their_kind_and_have_no_shell() {
    // D-41
    recipes_work("trixie", ["static", "base", "cc", "python3", "java21", "nodejs20"]);
}

#[test]
fn ready_recipes_serve_other_platforms() {
    // D-41, D-42
    let world = World::new();
    let kinds = ["static", "base", "cc", "python3", "java17", "nodejs18"];
    if !is_root() || ready(&world, "bookworm", &kinds, &["latest"]).is_none() {
        return;
    }
    world.ok(["image", "build", "--platform=linux/arm64", "-q"]);
    for kind in kinds {
        let image = format!("distroless/{kind}");
        let config = world.ok(["inspect", "--raw", "config", &image]);
        assert!(config.contains(r#""architecture":"arm64""#) && !config.contains("amd64"), "{config}");
    }
    // Where programs of the other machine run at all, these do.
    world.write("context/hello.py", "import ssl, platform\nprint('hello from', platform.machine())\n");
    let text = "FROM --platform=linux/arm64 distroless/python3\nCOPY hello.py /\nCMD [\"/hello.py\"]\n";
    world.write("context/Dockerfile", text);
    world.ok(["build", "--platform=linux/arm64", "-t", "program", "context"]);
    let ran = world.run(["run", "program"]);
    if ran.code == 0 {
        assert_eq!(ran.stdout, "hello from aarch64\n");
    } else {
        crate::support::skip(&format!("needs an emulator: {}", ran.stderr));
    }
}

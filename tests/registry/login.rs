//! Credentials: kept where Docker keeps them, sent to who asks for them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use super::{elsewhere, ok};
use crate::support::registry::Registry;
use crate::support::{Ended, World, has_busybox};

fn login(world: &World, registry: &Registry, password: &str) -> Ended {
    let mut command = world.command(["login", "-u", "aladdin", "--password-stdin", &registry.host]);
    command.env("PATH", format!("{}:/usr/bin:/bin", world.path("bin").display()));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn who_is_logged_in_may_and_who_is_not_is_told_how() {
    if !has_busybox() {
        return;
    }
    let Some(registry) = Registry::with_password() else { return };
    let world = World::new().with_busybox();
    let name = registry.name("busybox:1");
    let refused = world.run(["push", "busybox", &name]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains(&format!("`rebit login {}`", registry.host)), "{}", refused.stderr);

    let config =
        world.write(".docker/config.json", r#"{"HttpHeaders":{"X":"y"},"auths":{"other.example":{}}}"#);
    let wrong = login(&world, &registry, "sesame-wrong");
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("does not allow it (401)"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("sesame"), "{}", wrong.stderr);
    assert!(!fs::read_to_string(&config).unwrap().contains(&registry.host));

    let right = login(&world, &registry, "opensesame");
    assert_eq!(right.code, 0, "{}", right.stderr);
    assert!(right.stderr.contains("not encrypted"), "{}", right.stderr);
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(kept["auths"][&registry.host]["auth"], "YWxhZGRpbjpvcGVuc2VzYW1l");
    assert_eq!((&kept["HttpHeaders"]["X"], kept["auths"]["other.example"].is_object()), (&"y".into(), true));
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);

    let digest = ok(world.run(["push", "-q", "busybox", &name]));
    assert_eq!(ok(elsewhere(&world, &["pull", "-q", &name])), digest);
    assert_eq!(ok(world.run(["tags", &registry.name("busybox")])), "1");

    ok(world.run(["logout", &registry.host]));
    assert!(!fs::read_to_string(&config).unwrap().contains(&registry.host));
    assert_eq!(world.run(["tags", &registry.name("busybox")]).code, 1);
    let again = world.run(["logout", &registry.host]);
    assert!(again.stderr.contains("nothing is kept"), "{}", again.stderr);
    // Another file of credentials, as podman and skopeo have it.
    let auth =
        format!(r#"{{"auths":{{"{}/busybox":{{"auth":"YWxhZGRpbjpvcGVuc2VzYW1l"}}}}}}"#, registry.host);
    let file = world.write("auth.json", auth);
    let mut command = world.command(["tags", &registry.name("busybox")]);
    assert_eq!(ok(crate::support::ended(command.env("REGISTRY_AUTH_FILE", file))), "1");
    // On the command line it is taken, with a warning.
    let seen = world.run(["login", "-u", "aladdin", "-p", "opensesame", &registry.host]);
    assert_eq!(seen.code, 0, "{}", seen.stderr);
    assert!(seen.stderr.contains("warning: other users"), "{}", seen.stderr);
}

#[test]
fn a_helper_keeps_what_it_is_told_to_keep() {
    let Some(registry) = Registry::with_password() else { return };
    let world = World::new();
    let script = "#!/bin/sh\nset -e\nfile=\"$HOME/kept\"\ncase \"$1\" in\nstore) cat >\"$file\" ;;\nerase) rm -f \"$file\" ;;\nget) if [ -f \"$file\" ]; then cat \"$file\"; else echo 'credentials not found in native keychain'; exit 1; fi ;;\nesac\n";
    let helper = world.write("bin/docker-credential-box", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let config = world.write(".docker/config.json", r#"{"credsStore":"box"}"#);
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    let tags = || {
        let mut command = world.command(["tags", &registry.name("none")]);
        crate::support::ended(command.env("PATH", &path))
    };
    let refused = tags();
    assert!(refused.stderr.contains("(401)"), "{}", refused.stderr);
    let done = login(&world, &registry, "opensesame");
    assert!(done.stderr.contains("docker-credential-box keeps the password"), "{}", done.stderr);
    assert!(!fs::read_to_string(&config).unwrap().contains("YWxhZGRpb"));
    let allowed = tags();
    assert!(allowed.stderr.contains("is not at the registry"), "{}", allowed.stderr);
    let mut command = world.command(["logout", &registry.host]);
    ok(crate::support::ended(command.env("PATH", &path)));
    assert!(!world.path("kept").exists());
    // A helper that is not there is named.
    fs::write(&config, r#"{"credsStore":"gone"}"#).unwrap();
    let missing = tags();
    assert!(missing.stderr.contains("docker-credential-gone"), "{}", missing.stderr);
}

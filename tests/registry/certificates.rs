//! Registries that are spoken to over TLS, with authorities of their own and with clients that have to show a certificate.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{elsewhere, ok};
use crate::support::registry::Registry;
use crate::support::{World, ended, has, has_busybox};

/// Writes an authority, a certificate for the registry and one for a client.
fn make(directory: &Path) {
    let certificate = |name: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-days", "3650", "-subj"]).arg(format!("/CN={name}")).args(more);
        command.arg("-keyout").arg(format!("{name}.key")).arg("-out").arg(format!("{name}.pem"));
        ok(ended(command.current_dir(directory)));
    };
    certificate("authority", &[]);
    let signed = ["-CA", "authority.pem", "-CAkey", "authority.key"];
    let leaf = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    certificate("registry", &[signed, leaf].concat());
    certificate("client", &[&signed[..], &leaf[2..], &["-addext", "extendedKeyUsage=clientAuth"]].concat());
}

/// The files for a registry in the user's directory.
fn trust(world: &World, registry: &Registry, files: &[(&str, &str)]) {
    for (name, from) in files {
        let content = fs::read(registry.path(from)).unwrap();
        world.write(&format!(".config/containers/certs.d/{}/{name}", registry.host), content);
    }
}

#[test]
fn a_registry_with_a_certificate_of_its_own_is_trusted_when_it_is_named() {
    if !has_busybox() || !has("openssl") {
        return;
    }
    let Some(registry) = Registry::with_tls(make) else { return };
    let world = World::new().with_busybox();
    let name = registry.name("busybox:1");
    assert_eq!(world.run(["push", "busybox", &name]).code, 1);
    trust(&world, &registry, &[("ca.crt", "authority.pem")]);
    let digest = ok(world.run(["push", "-q", "busybox", &name]));
    assert_eq!(ok(elsewhere(&world, &["pull", "-q", &name])), digest);
    // A host of which the configuration says that it may be insecure needs no authority.
    fs::remove_dir_all(world.path(".config")).unwrap();
    let host = &registry.host;
    let conf =
        world.write("registries.conf", format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"));
    let mut command = world.command(["tags", &registry.name("busybox")]);
    let asked = ended(command.env("CONTAINERS_REGISTRIES_CONF", conf));
    assert_eq!(ok(asked), "1");
}

#[test]
fn a_registry_that_wants_a_certificate_is_shown_the_one_for_it() {
    if !has_busybox() || !has("openssl") {
        return;
    }
    let Some(registry) = Registry::with_clients(make) else { return };
    let world = World::new().with_busybox();
    let name = registry.name("busybox:1");
    trust(&world, &registry, &[("ca.crt", "authority.pem")]);
    let refused = world.run(["push", "busybox", &name]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("client.cert"), "{}", refused.stderr);
    // A certificate without its key, and with another one's.
    trust(&world, &registry, &[("me.cert", "client.pem")]);
    let keyless = world.run(["push", "busybox", &name]);
    assert!(keyless.stderr.contains("/me.key"), "{}", keyless.stderr);
    trust(&world, &registry, &[("me.key", "authority.key")]);
    let other = world.run(["push", "busybox", &name]);
    assert!(other.stderr.contains("cannot be used together"), "{}", other.stderr);

    trust(&world, &registry, &[("me.key", "client.key")]);
    let digest = ok(world.run(["push", "-q", "busybox", &name]));
    assert_eq!(ok(elsewhere(&world, &["pull", "-q", &name])), digest);
    assert_eq!(ok(world.run(["tags", &registry.name("busybox")])), "1");
    ok(elsewhere(&world, &["verify", &name]));
}

//! Registries that mean no good, as a user meets them. What connections do wrong is tested in the client itself.

pub(super) use rebit_oci_digest::digest;

use crate::support::World;
use crate::support::server::{Reply, Server};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The digest of bytes, by the machine's own program.
mod rebit_oci_digest {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    pub(in crate::registry) fn digest(bytes: &[u8]) -> String {
        let mut command = Command::new("sha256sum");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        format!("sha256:{}", String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap())
    }
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn index(children: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, children.join(","))
}

/// Pulls `x:1` in vain, where the registry has these documents, the first one under that name.
fn pull(documents: &[String]) -> (String, usize) {
    let (world, name, server) = served(documents);
    let ended = world.run(["pull", "--unpack", &name]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(world.ok(["images", "-q"]), "");
    world.fsck();
    (ended.stderr, server.seen().len())
}

/// A registry that has these documents, the first one under the name that is returned.
fn served(documents: &[String]) -> (World, String, Server) {
    let world = World::new();
    let server = {
        let documents: Vec<(String, String)> =
            documents.iter().map(|document| (digest(document.as_bytes()), document.clone())).collect();
        Server::new(move |seen| {
            let wanted = seen.target.rsplit('/').next().unwrap();
            let found = documents.iter().find(|(digest, _)| digest == wanted);
            match found.or(documents.first().filter(|_| wanted == "1")) {
                Some((_, document)) => Reply::ok(document.clone()),
                None => Reply::status(404),
            }
        })
    };
    let name = server.url("/x:1").replace("http://", "");
    (world, name, server)
}

#[test]
fn an_index_that_has_no_end_is_given_up() {
    // Each one holds the next.
    let mut documents = vec![index(&[])];
    for _ in 0..10 {
        let last = documents.last().unwrap();
        documents.push(index(&[descriptor(INDEX, &digest(last.as_bytes()), last.len())]));
    }
    documents.reverse();
    let (said, asked) = pull(&documents);
    assert!(said.contains("the depth of nested image indexes is above the limit of 4"), "{said}");
    assert!(asked <= 5, "{asked}");

    let children: Vec<String> =
        (0..1001).map(|n| descriptor(MANIFEST, &digest(format!("{n}").as_bytes()), 7)).collect();
    let (said, asked) = pull(&[index(&children)]);
    assert!(said.contains("the number of manifests in index"), "{said}");
    assert_eq!(asked, 1);

    let (said, asked) = pull(&[format!("{}{}", index(&[]), " ".repeat(4 << 20))]);
    assert!(said.contains("is larger than 4194304 bytes"), "{said}");
    assert_eq!(asked, 1);
}

#[test]
fn what_is_not_supported_is_named() {
    let manifest = |config: &str, layers: &[String]| {
        let config = descriptor(config, &digest(b"{}"), 2);
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        )
    };
    let check = |document: String, expected: &str| {
        let (said, _) = pull(&[document, "{}".to_owned()]);
        assert!(said.contains(expected), "{said}");
    };
    let config = "application/vnd.oci.image.config.v1+json";
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    check(
        manifest(config, &[descriptor(foreign, &digest(b"x"), 1)]),
        "foreign.diff.tar.gzip`, which registries do not hold, is not supported",
    );
    check(r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#.to_owned(), "schema 1, is not supported");
    check(manifest("application/vnd.cncf.helm.config.v1+json", &[]), "helm.config.v1+json` is not supported");
    check("{".to_owned(), "it is no JSON object");
    check(r#"{"schemaVersion":2,"layers":7}"#.to_owned(), "it is no manifest");
    let long = format!("sha512:{}", "0".repeat(128));
    check(index(&[descriptor(MANIFEST, &long, 1)]), "digest algorithm `sha512`");
}

#[test]
fn an_image_whose_layers_are_not_what_they_should_be_leaves_nothing() {
    let layer = b"this is no tar archive, nor anything that decompresses to one";
    let size = layer.len();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        digest(layer)
    );
    let with = |digest: &str, size: usize| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor(
                "application/vnd.oci.image.config.v1+json",
                &self::digest(config.as_bytes()),
                config.len()
            ),
            descriptor("application/vnd.oci.image.layer.v1.tar", digest, size)
        )
    };
    let layer = String::from_utf8(layer.to_vec()).unwrap();
    let check = |manifest: String, expected: &str| {
        let (said, _) = pull(&[manifest, config.clone(), layer.clone()]);
        assert!(said.contains(expected), "{said}");
    };
    check(with(&digest(layer.as_bytes()), size), "cannot read layer 1");
    check(with(&digest(layer.as_bytes()), size + 1), "bytes where 62 were promised");
    check(with(&digest(b"missing"), 7), "is not in `127.0.0.1:");
    // The blob is what its digest says. What needs its files finds out that it is no layer.
    let (world, name, _server) = served(&[with(&digest(layer.as_bytes()), size), config.clone(), layer]);
    assert_eq!(world.run(["pull", &name]).code, 0);
    world.write("context/Dockerfile", format!("FROM {name}\nCOPY Dockerfile /\n"));
    for args in [&["diff", &name, "dir:context"][..], &["build", "context"]] {
        let ended = world.run(args);
        assert!(ended.code != 0 && ended.stderr.contains("layer 1"), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn what_came_whole_before_a_failure_does_not_come_again() {
    // Archives without a member.
    let layers = [vec![0; 1024], vec![0; 2048], vec![0; 3072]];
    let ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        ids.join("\",\"")
    );
    let described: Vec<String> = layers
        .iter()
        .zip(&ids)
        .map(|(layer, id)| descriptor("application/vnd.oci.image.layer.v1.tar", id, layer.len()))
        .collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor("application/vnd.oci.image.config.v1+json", &digest(config.as_bytes()), config.len()),
        described.join(",")
    );
    let server = {
        let (ids, layers) = (ids.clone(), layers.to_vec());
        let config_id = digest(config.as_bytes());
        Server::new(move |seen| {
            let wanted = seen.target.rsplit('/').next().unwrap();
            match ids.iter().position(|id| id == wanted) {
                // The last one is not there at first.
                Some(2) if seen.before == 0 => Reply::status(404),
                Some(number) => Reply::ok(layers[number].clone()),
                None if wanted == config_id => Reply::ok(config.clone()),
                None => Reply::ok(manifest.clone()),
            }
        })
    };
    let world = World::new();
    let name = server.url("/x:1").replace("http://", "");
    let failed = world.run(["pull", &name]);
    assert_eq!((failed.code, world.ok(["images", "-q"]).as_str()), (1, ""));
    assert_eq!(world.run(["pull", &name]).code, 0);
    let asked = |id: &str| server.seen().iter().filter(|seen| seen.ends_with(id)).count();
    assert_eq!(asked(&ids[2]), 2);
    assert_eq!(asked(&ids[0]), 1);
    world.ok(["verify", &name]);
    world.fsck();
}

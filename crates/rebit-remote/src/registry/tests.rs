use std::error::Error;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rebit_oci::Digest;
use rebit_oci::manifest::{OCI_INDEX, OCI_MANIFEST};

use super::*;
use crate::Proxies;
use crate::http::{HttpError, Identity, Limits};
use crate::server::{Reply, Seen, Server};

mod attachments;
mod faults;
mod pushes;
mod tokens;

/// A machine that knows one user.
struct Known(Option<Credentials>);

impl Site for Known {
    fn authorities(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }

    fn identity(&self, _: &str) -> Result<Option<Identity>, Box<dyn Error + Send + Sync>> {
        Ok(None)
    }

    fn credentials(&self, _: &str, _: &str) -> Result<Option<Credentials>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.clone())
    }
}

fn options(credentials: Option<Credentials>) -> RegistryOptions {
    RegistryOptions {
        http: ClientOptions {
            authorities: Vec::new(),
            proxies: Proxies::default(),
            limits: Limits { pause: Duration::ZERO, ..Limits::default() },
            stop: Arc::new(|| false),
        },
        hosts: Hosts::default(),
        policy: Policy::default(),
        site: Arc::new(Known(credentials)),
    }
}

fn name(server: &Server) -> Reference {
    server.url("/app:1").trim_start_matches("http://").parse().unwrap()
}

fn repository(server: &Server, access: Access) -> Repository {
    Registry::new(options(None)).repository(&name(server), access).unwrap()
}

fn user() -> Credentials {
    Credentials::Password { user: "aladdin".into(), password: "opensesame".into() }
}

/// An answer with a digest and a type.
fn manifest(bytes: &[u8], media_type: &str) -> Reply {
    let fields = vec![
        ("Content-Type", media_type.to_owned()),
        ("Docker-Content-Digest", Digest::of(bytes).to_string()),
    ];
    Reply::Whole(200, fields, bytes.to_vec())
}

fn read(repository: &Repository, digest: &Digest, size: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut blob = repository.blob(digest, size).map_err(|error| error.to_string())?;
    match blob.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_manifest_is_what_its_digest_and_its_type_say() {
    let plain = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","layers":[]}}"#);
    let silent = r#"{"schemaVersion":2,"manifests":[]}"#;
    let old = r#"{"schemaVersion":1,"fsLayers":[]}"#;
    let other = Digest::of(b"other");
    let server = Server::new({
        let plain = plain.clone();
        move |seen| match seen.target.as_str() {
            "/v2/app/manifests/plain" => manifest(plain.as_bytes(), "text/plain"),
            "/v2/app/manifests/silent" => manifest(silent.as_bytes(), "application/json"),
            "/v2/app/manifests/named" => manifest(b"{\"schemaVersion\":2}", OCI_INDEX),
            "/v2/app/manifests/old" => {
                manifest(old.as_bytes(), "application/vnd.docker.distribution.manifest.v1+prettyjws")
            }
            "/v2/app/manifests/lie" => {
                Reply::Whole(200, vec![("Docker-Content-Digest", other.to_string())], b"{}".to_vec())
            }
            "/v2/app/manifests/large" => Reply::ok(vec![b' '; (4 << 20) + 1]),
            target if target.contains("/manifests/sha256:") => manifest(b"{}", OCI_MANIFEST),
            _ => Reply::status(404),
        }
    });
    let repository = repository(&server, Access::Pull);
    let get = |tag| repository.manifest(Wanted::Tag(tag));
    let got = get("plain").unwrap();
    assert_eq!((got.digest, got.media_type.as_str()), (Digest::of(plain.as_bytes()), OCI_MANIFEST));
    assert!(server.requests()[0].fields["accept"].contains(OCI_INDEX));
    assert_eq!(repository.digest_of(Wanted::Tag("plain")).unwrap(), got.digest);
    assert_eq!(server.seen()[1], "HEAD /v2/app/manifests/plain");
    assert_eq!(get("silent").unwrap().media_type, OCI_INDEX);
    assert_eq!(get("named").unwrap().media_type, OCI_INDEX);
    assert!(get("old").unwrap_err().to_string().contains("schema 1"));
    assert!(matches!(get("lie"), Err(RegistryError::Digest { .. })));
    assert!(matches!(get("large"), Err(RegistryError::Http(HttpError::TooLarge { limit: 4_194_304, .. }))));
    assert!(matches!(repository.manifest(Wanted::Digest(&other)), Err(RegistryError::Digest { .. })));
    assert_eq!(repository.manifest(Wanted::Digest(&Digest::of(b"{}"))).unwrap().bytes, b"{}");
    let missing = get("missing").unwrap_err();
    let expected = format!(
        "`{}:missing` is not at the registry `{}`",
        name(&server).familiar_name(),
        name(&server).registry()
    );
    assert_eq!(missing.to_string(), expected);
}

#[test]
fn lists_are_read_page_by_page_and_to_an_end() {
    let subject = Digest::of(b"subject");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":7,"artifactType":"a/b"}}]}}"#,
        Digest::of(b"signature")
    );
    let link = |to: &str| vec![("Link", format!("<{to}>; rel=\"next\""))];
    let server = Server::new({
        let index = index.clone();
        move |seen| match seen.target.as_str() {
            "/v2/app/tags/list?n=1000" => {
                Reply::Whole(200, link("/v2/app/tags/list?last=b"), br#"{"tags":["a","b"]}"#.to_vec())
            }
            "/v2/app/tags/list?last=b" => Reply::ok(r#"{"tags":["c"]}"#),
            "/v2/none/tags/list?n=1000" => Reply::ok(r#"{"name":"none","tags":null}"#),
            "/v2/loop/tags/list?n=1000" | "/v2/loop/more" => {
                Reply::Whole(200, link("/v2/loop/more"), br#"{"tags":["x"]}"#.to_vec())
            }
            target
                if target.ends_with(&format!("/manifests/sha256-{}", subject.hex()))
                    && (target.contains("app") || target.contains("odd")) =>
            {
                manifest(index.as_bytes(), OCI_INDEX)
            }
            target if target == format!("/v2/odd/referrers/{subject}") => Reply::status(405),
            target if target == format!("/v2/bad/referrers/{subject}") => Reply::status(418),
            target if target == format!("/v2/new/referrers/{subject}") => {
                manifest(index.as_bytes(), OCI_INDEX)
            }
            _ => Reply::status(404),
        }
    });
    let of = |repository: &str| {
        let name = server.url(&format!("/{repository}")).trim_start_matches("http://").parse().unwrap();
        Registry::new(options(None)).repository(&name, Access::Pull).unwrap()
    };
    assert_eq!(of("app").tags().unwrap(), ["a", "b", "c"]);
    assert_eq!(of("none").tags().unwrap(), Vec::<String>::new());
    assert!(of("loop").tags().unwrap_err().to_string().contains("more than 1000 pages"));
    assert!(matches!(of("missing").tags(), Err(RegistryError::NotFound { .. })));
    // By the registry's list, and by the tag where there is none.
    for repository in ["new", "app", "odd"] {
        let found = of(repository).referrers(&subject).unwrap();
        assert_eq!((found.len(), found[0].digest, found[0].size), (1, Digest::of(b"signature"), 7));
        assert_eq!(found[0].artifact_type.as_deref(), Some("a/b"));
    }
    assert_eq!(of("other").referrers(&subject).unwrap(), []);
    assert!(matches!(of("bad").referrers(&subject), Err(RegistryError::Status { status: 418, .. })));
}

#[test]
fn a_mirror_comes_first_and_does_not_have_to_have_everything() {
    let bytes = b"blob".to_vec();
    let digest = Digest::of(&bytes);
    let mirror = Server::new(|_| Reply::status(404));
    let broken = Server::new(|_| Reply::status(403));
    let server = Server::new(move |seen| match seen.target.contains("/blobs/") {
        true => Reply::ok(bytes.clone()),
        false => manifest(b"{}", OCI_MANIFEST),
    });
    let host = |server: &Server| server.url("").trim_start_matches("http://").to_owned();
    let mut hosts = Hosts::default();
    let text = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/m\"\n[[registry.mirror]]\nlocation = \"{}\"",
        host(&server),
        host(&mirror),
        host(&broken)
    );
    hosts.add(&text).unwrap();
    let registry = Registry::new(RegistryOptions { hosts, ..options(None) });
    let repository = registry.repository(&name(&server), Access::Pull).unwrap();
    assert_eq!(repository.manifest(Wanted::Tag("1")).unwrap().bytes, b"{}");
    assert_eq!(mirror.seen(), ["GET /v2/m/app/manifests/1"]);
    assert_eq!(read(&repository, &digest, 4).unwrap(), b"blob");
    // What does not let us in is not asked again.
    assert_eq!(broken.seen(), ["GET /v2/app/manifests/1"]);
}

#[test]
fn a_host_that_may_be_insecure_is_asked_without_tls_when_it_has_none() {
    let server = Server::new(|_| Reply::ok("{}"));
    let host = server.url("").trim_start_matches("http://").to_owned();
    let (account, security) = (host.clone(), hosts::Security::Any);
    let endpoint = hosts::Endpoint { host, account, repository: "app".to_owned(), security };
    let Registry { machinery } = Registry::new(options(None));
    let asked = host::Host::new(endpoint, machinery);
    let answer = asked.send(&host::Call::new(ureq::http::Method::GET, "app/x", "")).unwrap();
    assert_eq!((answer.head.status, answer.head.url), (200, server.url("/v2/app/x")));
}

#[test]
fn a_registry_is_reached_through_the_proxy_unless_it_is_excepted() {
    let server = Server::new(|_| manifest(b"{}", OCI_MANIFEST));
    let to = server.url("").trim_start_matches("http://").to_owned();
    let proxy = Server::new(move |seen| match seen.target.ends_with(":80") {
        true => Reply::Tunnel(to.clone()),
        false => Reply::status(502),
    });
    let ask = |except: &str| {
        let mut options = options(None);
        let through = Some(proxy.url(""));
        options.http.proxies = Proxies {
            http: through.clone(),
            https: through,
            except: Some(except.to_owned()),
            ..Proxies::default()
        };
        options.hosts.add("[[registry]]\nlocation = \"reg.invalid\"\ninsecure = true").unwrap();
        let name = "reg.invalid/app:1".parse().unwrap();
        let repository = Registry::new(options).repository(&name, Access::Pull).unwrap();
        repository.manifest(Wanted::Tag("1"))
    };
    assert_eq!(ask("other.invalid").unwrap().bytes, b"{}");
    assert_eq!(proxy.seen(), ["CONNECT reg.invalid:443", "CONNECT reg.invalid:80"]);
    assert!(ask("other.invalid,.reg.invalid,reg.invalid").is_err());
    assert_eq!(proxy.seen().len(), 2, "an excepted host is asked directly");
}

#[test]
fn a_limit_on_requests_is_waited_for_and_then_said() {
    let body =
        br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}"#;
    let server = Server::new(move |_| Reply::Whole(429, vec![("Retry-After", "0".into())], body.to_vec()));
    let error = repository(&server, Access::Pull).manifest(Wanted::Tag("1")).unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 429, .. }), "{error:?}");
    assert!(error.to_string().contains("pull rate limit (TOOMANYREQUESTS)"), "{error}");
    assert_eq!(server.seen().len(), 4);
}

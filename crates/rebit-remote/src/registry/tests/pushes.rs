//! Sending: what is there is not sent, what breaks off goes on, and the manifest comes last.

use std::collections::BTreeMap;

use super::*;

/// A small registry in memory, with a way to interfere.
struct Memory {
    blobs: BTreeMap<String, Vec<u8>>,
    uploads: Vec<Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
}

type Shared = Arc<Mutex<Memory>>;

fn memory() -> Shared {
    Arc::new(Mutex::new(Memory { blobs: BTreeMap::new(), uploads: Vec::new(), manifests: BTreeMap::new() }))
}

/// A server over it; `interfere` may answer instead.
fn server(
    memory: &Shared,
    interfere: impl Fn(&Seen, &mut Memory) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    let memory = Arc::clone(memory);
    Server::new(move |seen| {
        let mut memory = memory.lock().unwrap();
        interfere(seen, &mut memory).unwrap_or_else(|| answer(seen, &mut memory))
    })
}

fn answer(seen: &Seen, memory: &mut Memory) -> Reply {
    let location = |number: usize, length: usize| {
        vec![
            ("Location", format!("/v2/app/blobs/uploads/{number}?at={length}")),
            ("Range", format!("0-{}", length.saturating_sub(1))),
        ]
    };
    let path = seen.target.strip_prefix("/v2/app/").unwrap();
    let upload =
        path.strip_prefix("blobs/uploads/").and_then(|rest| rest.split('?').next()?.parse::<usize>().ok());
    match (seen.method.as_str(), upload) {
        ("HEAD", _) => match memory.blobs.get(path.trim_start_matches("blobs/")) {
            Some(blob) => Reply::ok(blob.clone()),
            None => Reply::status(404),
        },
        ("POST", _) => {
            memory.uploads.push(Vec::new());
            Reply::Whole(202, location(memory.uploads.len() - 1, 0), Vec::new())
        }
        ("GET", Some(number)) => {
            Reply::Whole(204, location(number, memory.uploads[number].len()), Vec::new())
        }
        ("PATCH", Some(number)) => {
            let at = seen
                .fields
                .get("content-range")
                .map_or(0, |range| range.split('-').next().unwrap().parse().unwrap());
            assert_eq!(at, memory.uploads[number].len(), "an upload has no gap");
            memory.uploads[number].extend(&seen.body);
            Reply::Whole(202, location(number, memory.uploads[number].len()), Vec::new())
        }
        ("PUT", Some(number)) => {
            let digest = path.split("digest=").nth(1).unwrap().replace("%3A", ":");
            let blob = memory.uploads[number].clone();
            assert_eq!(Digest::of(&blob).to_string(), digest);
            memory.blobs.insert(digest, blob);
            Reply::Whole(201, Vec::new(), Vec::new())
        }
        ("PUT", None) => {
            memory.manifests.insert(path.trim_start_matches("manifests/").to_owned(), seen.body.clone());
            let digest = Digest::of(&seen.body).to_string();
            Reply::Whole(201, vec![("Docker-Content-Digest", digest)], Vec::new())
        }
        other => panic!("{other:?} {}", seen.target),
    }
}

fn blobs() -> Vec<Vec<u8>> {
    vec![b"config".to_vec(), vec![1; 300_000], (0..400_000_u32).map(|n| (n >> 4) as u8).collect()]
}

fn send(server: &Server, from: &[&str]) -> Result<Pushed, RegistryError> {
    send_all(server, &blobs(), from)
}

fn send_all(server: &Server, content: &[Vec<u8>], from: &[&str]) -> Result<Pushed, RegistryError> {
    let blobs: Vec<PushBlob> = content
        .iter()
        .map(|blob| PushBlob {
            digest: Digest::of(blob),
            size: blob.len() as u64,
            from: from.iter().map(|name| (*name).to_owned()).collect(),
        })
        .collect();
    let open: &OpenBlob<'_> = &|digest: &Digest, _| {
        let blob = content.iter().find(|blob| Digest::of(blob) == *digest).unwrap();
        Ok(Box::new(blob.as_slice()))
    };
    let bytes = b"{}".to_vec();
    let manifest = Manifest { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.to_owned(), bytes };
    repository(server, Access::Push).push(&Push {
        blobs: &blobs,
        open,
        before: &[],
        manifest: &manifest,
        tags: &["1".to_owned()],
        jobs: NonZeroUsize::new(2).unwrap(),
        observe: &|_| {},
    })
}

fn count(server: &Server, method: &str) -> usize {
    server.seen().iter().filter(|seen| seen.starts_with(method)).count()
}

/// Everything is there as it should be.
fn complete(memory: &Shared) {
    let memory = memory.lock().unwrap();
    let blobs = blobs();
    assert!(blobs.iter().all(|blob| memory.blobs.get(&Digest::of(blob).to_string()) == Some(blob)));
    assert_eq!((memory.blobs.len(), memory.manifests["1"].as_slice()), (3, &b"{}"[..]));
}

#[test]
fn an_image_is_sent_once() {
    let memory = memory();
    let server = server(&memory, |_, _| None);
    let pushed = send(&server, &[]).unwrap();
    assert_eq!(pushed, Pushed { present: 0, mounted: 0, uploaded: 3, bytes: 700_006 });
    complete(&memory);
    let seen = server.requests();
    let last = seen.last().unwrap();
    assert_eq!((last.method.as_str(), last.target.as_str()), ("PUT", "/v2/app/manifests/1"));
    assert_eq!(last.fields["content-type"], OCI_MANIFEST);

    let before = seen.len();
    let pushed = send(&server, &[]).unwrap();
    assert_eq!(pushed, Pushed { present: 3, ..Pushed::default() });
    let again: Vec<String> = server.seen().split_off(before);
    assert_eq!(again.iter().filter(|seen| seen.starts_with("HEAD")).count(), 3);
    assert_eq!(again.len(), 4, "{again:?}");
}

#[test]
fn a_blob_of_another_repository_is_not_sent() {
    let memory = memory();
    let mounted = |seen: &Seen, memory: &mut Memory| {
        let from = seen.target.split("mount=").nth(1)?;
        let digest = from.split('&').next()?.replace("%3A", ":");
        let blob = blobs().into_iter().find(|blob| Digest::of(blob).to_string() == digest)?;
        // Only one repository has it, and it has not all.
        if !from.ends_with("from=team%2Fhas") || blob.len() < 10 {
            return None;
        }
        memory.blobs.insert(digest, blob);
        Some(Reply::Whole(201, Vec::new(), Vec::new()))
    };
    let server = server(&memory, mounted);
    let pushed = send(&server, &["has-not", "team/has"]).unwrap();
    assert_eq!(pushed, Pushed { present: 0, mounted: 2, uploaded: 1, bytes: 6 });
    complete(&memory);
    assert_eq!(count(&server, "PATCH"), 1);
}

#[test]
fn an_upload_goes_on_where_it_broke_off() {
    let memory = memory();
    // The first time, half of a blob is kept and the connection ends; the second time a token has run out.
    let failing = |seen: &Seen, memory: &mut Memory| {
        let number: usize = seen.target.split('?').next()?.rsplit('/').next()?.parse().ok()?;
        let is_large = seen.method == "PATCH" && seen.body.len() > 100_000;
        match memory.uploads[number].len() {
            0 if is_large && seen.before == 0 => {
                memory.uploads[number].extend(&seen.body[..100_000]);
                Some(Reply::Closed)
            }
            100_000 if is_large && seen.before == 0 => Some(Reply::status(500)),
            _ => None,
        }
    };
    let server = server(&memory, failing);
    assert_eq!(send(&server, &[]).unwrap().uploaded, 3);
    complete(&memory);
    let ranges: Vec<String> =
        server.requests().iter().filter_map(|seen| seen.fields.get("content-range").cloned()).collect();
    assert!(ranges.contains(&"100000-399999".to_owned()), "{ranges:?}");
}

#[test]
fn what_is_too_much_at_once_goes_in_chunks_that_are_not_too_small() {
    const LEAST: usize = 17 << 20;
    let memory = memory();
    let picky = |seen: &Seen, memory: &mut Memory| match seen.method.as_str() {
        "PATCH" if seen.body.len() > LEAST => Some(Reply::status(413)),
        "PATCH" if seen.body.len() < LEAST && memory.uploads.last()?.is_empty() => Some(Reply::status(416)),
        "POST" => {
            memory.uploads.push(Vec::new());
            let number = memory.uploads.len() - 1;
            let fields = vec![
                ("Location", format!("/v2/app/blobs/uploads/{number}?at=0")),
                ("OCI-Chunk-Min-Length", LEAST.to_string()),
            ];
            Some(Reply::Whole(202, fields, Vec::new()))
        }
        _ => None,
    };
    let server = server(&memory, picky);
    let blob: Vec<u8> = (0..LEAST + 1000).map(|n| (n >> 8) as u8).collect();
    assert_eq!(send_all(&server, std::slice::from_ref(&blob), &[]).unwrap().uploaded, 1);
    assert!(memory.lock().unwrap().blobs[&Digest::of(&blob).to_string()] == blob);
    let ranges: Vec<String> =
        server.requests().iter().filter_map(|seen| seen.fields.get("content-range").cloned()).collect();
    assert_eq!(ranges, [format!("0-{}", LEAST - 1), format!("{LEAST}-{}", LEAST + 999)]);
}

#[test]
fn an_upload_that_the_registry_forgot_begins_anew() {
    let memory = memory();
    let forgetting = |seen: &Seen, memory: &mut Memory| {
        let is_first = memory.uploads.len() == 1 && seen.target.contains("/uploads/0");
        match seen.method.as_str() {
            "PATCH" if is_first => Some(Reply::status(404)),
            "GET" if is_first => Some(Reply::status(404)),
            _ => None,
        }
    };
    let server = server(&memory, forgetting);
    assert_eq!(send(&server, &[]).unwrap().uploaded, 3);
    complete(&memory);
}

#[test]
fn a_token_that_runs_out_while_a_blob_is_sent_is_renewed() {
    let memory = memory();
    let tokens = Server::new(|seen| Reply::ok(format!(r#"{{"access_token":"t{}"}}"#, seen.before)));
    let realm = tokens.url("/token");
    let strict = move |seen: &Seen, memory: &mut Memory| {
        // The first token is good until something is sent.
        let old = seen.fields.get("authorization").map(String::as_str) == Some("Bearer t0");
        let has = seen.fields.contains_key("authorization");
        let good = has && (!old || (memory.blobs.is_empty() && seen.method != "PATCH"));
        let challenge = format!("Bearer realm=\"{realm}\"");
        (!good).then(|| Reply::Whole(401, vec![("WWW-Authenticate", challenge)], Vec::new()))
    };
    let server = server(&memory, strict);
    assert_eq!(send(&server, &[]).unwrap().uploaded, 3);
    complete(&memory);
    assert_eq!(tokens.seen().len(), 2);
    assert!(tokens.seen()[0].contains("scope=repository%3Aapp%3Apull%2Cpush"));
}

#[test]
fn what_the_registry_does_not_take_is_an_error_and_leaves_no_name() {
    let check = |interfere: fn(&Seen, &mut Memory) -> Option<Reply>, expected: &str| {
        let memory = memory();
        let server = server(&memory, interfere);
        let error = send(&server, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(memory.lock().unwrap().manifests.is_empty());
    };
    check(
        |seen, _| (seen.method == "POST").then(|| Reply::status(403)),
        "does not allow it (403): uploading",
    );
    check(|seen, _| (seen.method == "POST").then(|| Reply::Whole(202, Vec::new(), Vec::new())), "where to");
    check(|seen, _| (seen.method == "PATCH").then(|| Reply::status(400)), "answers 400: uploading");
    check(|seen, _| (seen.method == "PATCH").then_some(Reply::Closed), "could not be fetched");
    check(
        |seen, _| (seen.method == "PATCH").then(|| Reply::status(401)),
        "does not allow it (401): uploading",
    );
    let digest_invalid = |seen: &Seen, _: &mut Memory| {
        let body = br#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#.to_vec();
        (seen.method == "PUT").then(|| Reply::Whole(400, Vec::new(), body))
    };
    check(digest_invalid, "no (DIGEST_INVALID)");
    check(
        |seen, _| seen.target.contains("manifests").then(|| Reply::status(400)),
        "answers 400: putting `127.0.0.1",
    );
    let lie = |seen: &Seen, _: &mut Memory| {
        let fields = vec![("Docker-Content-Digest", Digest::of(b"x").to_string())];
        seen.target.contains("manifests").then(|| Reply::Whole(201, fields, Vec::new()))
    };
    check(lie, "with digest sha256:");
}

#[test]
fn a_token_server_that_refuses_two_repositories_at_once_is_no_obstacle() {
    let memory = memory();
    let tokens = Server::new(|seen| match seen.target.matches("scope=").count() {
        1 => Reply::ok(r#"{"token":"good"}"#),
        _ => Reply::status(403),
    });
    let realm = tokens.url("/token");
    let strict = move |seen: &Seen, _: &mut Memory| {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let good = seen.fields.contains_key("authorization");
        (!good).then(|| Reply::Whole(401, vec![("WWW-Authenticate", challenge)], Vec::new()))
    };
    let server = server(&memory, strict);
    assert_eq!(send(&server, &["other"]).unwrap().uploaded, 3);
    complete(&memory);
}

#[test]
fn an_upload_that_leads_elsewhere_takes_no_credentials_there() {
    let elsewhere = Server::new(|seen| match seen.method.as_str() {
        "PATCH" => Reply::Whole(202, Vec::new(), Vec::new()),
        _ => Reply::Whole(201, Vec::new(), Vec::new()),
    });
    let location = elsewhere.url("/store/1?signature=x");
    let server = Server::new(move |seen| {
        let known = seen.fields.contains_key("authorization");
        match seen.method.as_str() {
            _ if !known => {
                Reply::Whole(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())], Vec::new())
            }
            "POST" => Reply::Whole(202, vec![("Location", location.clone())], Vec::new()),
            "PUT" => Reply::Whole(201, Vec::new(), Vec::new()),
            _ => Reply::status(404),
        }
    });
    let repository = Registry::new(options(Some(user()))).repository(&name(&server), Access::Push).unwrap();
    repository.put_blob(&Digest::of(b"blob"), 4, &[], &|| Ok(Box::new(&b"blob"[..]))).unwrap();
    let seen = elsewhere.requests();
    let targets: Vec<String> = seen.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    let digest = Digest::of(b"blob").to_string().replace(':', "%3A");
    assert_eq!(targets, ["PATCH /store/1?signature=x", &format!("PUT /store/1?signature=x&digest={digest}")]);
    assert_eq!(seen[0].body, b"blob");
    assert!(seen.iter().all(|seen| !seen.fields.contains_key("authorization")));
}

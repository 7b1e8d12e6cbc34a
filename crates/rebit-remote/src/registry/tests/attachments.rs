//! Documents about a manifest: listed by the registry, or by a tag where it keeps no list.

use std::collections::BTreeMap;

use super::*;

/// A registry of manifests and blobs in memory; `lists` says whether it keeps the list of referrers itself.
fn server(lists: bool) -> Server {
    let kept: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::default();
    Server::new(move |seen| {
        let mut kept = kept.lock().unwrap();
        let path = seen.target.strip_prefix("/v2/app/").unwrap().to_owned();
        match seen.method.as_str() {
            "POST" => Reply::Whole(202, vec![("Location", "/v2/app/upload".to_owned())], Vec::new()),
            "PATCH" => Reply::Whole(202, Vec::new(), Vec::new()),
            "PUT" if path.starts_with("upload") => {
                kept.insert(path.replace("upload?digest=sha256%3A", "blobs/sha256:"), Vec::new());
                Reply::Whole(201, Vec::new(), Vec::new())
            }
            "PUT" => {
                kept.insert(path, seen.body.clone());
                let fields = if lists { vec![("OCI-Subject", "yes".to_owned())] } else { Vec::new() };
                Reply::Whole(201, fields, Vec::new())
            }
            _ => match kept.get(&path) {
                Some(bytes) => Reply::ok(bytes.clone()),
                None => Reply::status(404),
            },
        }
    })
}

fn attachment(content: &[u8]) -> Attachment<'_> {
    Attachment {
        subject_type: OCI_MANIFEST,
        subject: Digest::of(b"subject"),
        subject_size: 7,
        artifact_type: "application/x",
        annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        content,
    }
}

#[test]
fn a_document_is_listed_by_the_tag_where_nothing_else_lists_it() {
    let server = server(false);
    let repository = repository(&server, Access::Push);
    let first = repository.attach(&attachment(b"one")).unwrap();
    assert!(first.by_tag);
    assert_eq!(repository.attach(&attachment(b"one")).unwrap(), first, "the same manifest, once");
    let second = repository.attach(&attachment(b"two")).unwrap();
    let listed = repository.referrers(&Digest::of(b"subject")).unwrap();
    let digests: Vec<Digest> = listed.iter().map(|referrer| referrer.digest).collect();
    assert_eq!(digests, [first.digest, second.digest]);
    assert_eq!(listed[0].artifact_type.as_deref(), Some("application/x"));
    assert_eq!(listed[0].annotations["a"], "b");
    let bytes = repository.manifest(Wanted::Digest(&first.digest)).unwrap().bytes;
    let one = Digest::of(b"one");
    let expected = format!(
        r#"{{"annotations":{{"a":"b"}},"artifactType":"application/x","config":{{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}},"layers":[{{"annotations":{{"a":"b"}},"digest":"{one}","mediaType":"application/x","size":3}}],"mediaType":"{OCI_MANIFEST}","schemaVersion":2,"subject":{{"digest":"{}","mediaType":"{OCI_MANIFEST}","size":7}}}}"#,
        Digest::of(b"subject")
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn a_registry_that_keeps_the_list_gets_no_tag() {
    let server = server(true);
    let attached = repository(&server, Access::Push).attach(&attachment(b"one")).unwrap();
    assert!(!attached.by_tag);
    assert!(!server.seen().iter().any(|seen| seen.contains("/manifests/sha256-")));
}

#[test]
fn a_tag_that_is_something_else_is_left_alone() {
    let server = Server::new(|seen| match seen.method.as_str() {
        "HEAD" => Reply::ok(""),
        "GET" => manifest(b"{\"schemaVersion\":2}", OCI_MANIFEST),
        _ => Reply::Whole(201, Vec::new(), Vec::new()),
    });
    let error = repository(&server, Access::Push).attach(&attachment(b"one")).unwrap_err();
    assert!(error.to_string().contains("it is no image index"), "{error}");
    assert_eq!(server.seen().iter().filter(|seen| seen.starts_with("PUT")).count(), 1);
}

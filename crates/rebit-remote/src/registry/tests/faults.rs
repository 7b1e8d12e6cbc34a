//! What servers and connections do wrong.

use super::*;

/// A blob with different bytes everywhere.
fn content() -> Vec<u8> {
    (0..100_000_u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect()
}

fn range(seen: &Seen) -> Option<usize> {
    seen.fields.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Sends the rest of the content from `from` and breaks off after `count` bytes.
fn part(from: usize, count: usize) -> Reply {
    let content = content();
    let fields = vec![("Content-Range", format!("bytes {from}-{}/{}", content.len() - 1, content.len()))];
    Reply::Cut(206, fields, content.len() - from, content[from..][..count].to_vec())
}

fn fetch(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Result<Vec<u8>, String>, Vec<Seen>) {
    let server = Server::new(answer);
    let content = content();
    let got = read(&repository(&server, Access::Pull), &Digest::of(&content), content.len() as u64);
    let requests = server.requests();
    (got, requests)
}

#[test]
fn a_blob_goes_on_where_it_broke_off() {
    let (got, requests) = fetch(|seen| match range(seen) {
        None => Reply::Cut(200, Vec::new(), content().len(), content()[..40_000].to_vec()),
        Some(from) if from < 80_000 => part(from, 40_000),
        Some(from) => part(from, content().len() - from),
    });
    assert!(got.unwrap() == content());
    let ranges: Vec<_> = requests.iter().map(range).collect();
    assert_eq!(ranges, [None, Some(40_000), Some(80_000)]);

    // A server without ranges begins anew.
    let (got, requests) = fetch(|seen| match seen.before {
        0 => Reply::Cut(200, Vec::new(), content().len(), content()[..40_000].to_vec()),
        _ => Reply::ok(content()),
    });
    assert!(got.unwrap() == content());
    assert_eq!(range(&requests[1]), Some(40_000));
    // No answer, and answers that may pass.
    let (got, requests) = fetch(|seen| match seen.before {
        0 => Reply::Closed,
        1 => Reply::status(503),
        2 => Reply::Whole(429, vec![("Retry-After", "0".to_owned())], Vec::new()),
        _ => Reply::ok(content()),
    });
    assert!(got.unwrap() == content());
    assert_eq!(requests.len(), 4);
}

#[test]
fn a_blob_that_always_breaks_off_is_given_up() {
    let (got, requests) = fetch(|_| Reply::Cut(200, Vec::new(), content().len(), Vec::new()));
    assert!(got.unwrap_err().contains("could not be fetched"));
    assert_eq!(requests.len(), 4);
    // Not even one that gives a byte each time goes on for ever.
    let (got, requests) = fetch(|seen| match range(seen) {
        None => Reply::Cut(200, Vec::new(), content().len(), content()[..1].to_vec()),
        Some(from) => part(from, 1),
    });
    assert!(got.is_err());
    assert_eq!(requests.len(), 64);
}

#[test]
fn what_is_not_the_blob_is_not_taken() {
    let check = |reply: fn() -> Reply, expected: &str| {
        let (got, requests) = fetch(move |_| reply());
        let error = got.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!(requests.len(), 1, "{expected}");
    };
    check(|| Reply::ok(vec![0; content().len()]), "its bytes have digest sha256:");
    check(|| Reply::ok("short"), "it has 5 bytes where 100000 were promised");
    check(|| Reply::ok(vec![0; 100_001]), "it has 100001 bytes where 100000 were promised");
    // Without a length that says so before.
    let chunked = || {
        let mut body = format!("{:x}\r\n", 100_001).into_bytes();
        body.extend(vec![0; 100_001]);
        body.extend(b"\r\n0\r\n\r\n");
        Reply::Whole(200, vec![("Transfer-Encoding", "chunked".to_owned())], body)
    };
    check(chunked, "100000 were promised");
    check(|| Reply::status(404), "is not at the registry");
    let denied = || {
        let body = r#"{"errors":[{"code":"DENIED","message":"not\u001b you"}]}"#;
        Reply::Whole(403, Vec::new(), body.as_bytes().to_vec())
    };
    check(denied, "(403): blob sha256:");
    check(denied, "it says: not you (DENIED)");
    check(|| Reply::status(418), "answers 418");
    // A part that is another one than the one asked for.
    let (got, _) = fetch(|seen| match range(seen) {
        None => Reply::Cut(200, Vec::new(), content().len(), content()[..10].to_vec()),
        Some(_) => part(11, 10),
    });
    assert!(got.unwrap_err().contains("another part"));
}

#[test]
fn what_may_pass_is_tried_four_times() {
    for status in [429, 500, 503] {
        let (got, requests) = fetch(move |_| Reply::status(status));
        assert!(got.unwrap_err().contains(&format!("answers {status}")));
        assert_eq!(requests.len(), 4);
    }
}

#[test]
fn a_blob_elsewhere_is_got_without_credentials() {
    let elsewhere = Server::new(|seen| match range(seen) {
        None => Reply::Cut(200, Vec::new(), content().len(), content()[..40_000].to_vec()),
        Some(from) => part(from, content().len() - from),
    });
    let to = elsewhere.url("/store/blob?signature=1");
    let server = Server::new(move |seen| match seen.fields.get("authorization") {
        None => Reply::Whole(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())], Vec::new()),
        Some(_) => Reply::Whole(307, vec![("Location", to.clone())], Vec::new()),
    });
    let repository = Registry::new(options(Some(user()))).repository(&name(&server), Access::Pull).unwrap();
    let content = content();
    assert!(read(&repository, &Digest::of(&content), content.len() as u64).unwrap() == content);
    assert_eq!(elsewhere.requests().len(), 2);
    assert!(elsewhere.requests().iter().all(|seen| !seen.fields.contains_key("authorization")));
    assert_eq!(range(&elsewhere.requests()[1]), Some(40_000));
}

#[test]
fn the_signature_of_an_address_is_in_no_error() {
    let check = |reply: fn(&Seen) -> Reply| {
        let elsewhere = Server::new(reply);
        let to = elsewhere.url("/blob?signature=s3cret");
        let (got, _) = fetch(move |_| Reply::redirect(to.clone()));
        let error = got.unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    };
    check(|_| Reply::Closed);
    check(|_| Reply::status(403));
    check(|_| Reply::redirect("ftp://x/?signature=s3cret"));
    check(|seen| Reply::redirect(seen.target.clone()));
    check(|_| Reply::Cut(200, Vec::new(), content().len(), Vec::new()));
}

#[test]
fn redirects_come_to_an_end() {
    let (got, requests) = fetch(|_| Reply::redirect("/v2/loop"));
    assert!(got.unwrap_err().contains("more than 10 times"));
    assert_eq!(requests.len(), 11);
}

#[test]
fn who_sends_nothing_is_given_up_and_who_stops_does_not_wait() {
    let content = content();
    let digest = Digest::of(&content);
    let server = Server::new(|_| Reply::Stuck(vec![0; 99_999]));
    let mut slow = options(None);
    slow.http.limits.idle = Duration::from_millis(50);
    slow.http.limits.attempts = 2;
    let repository = Registry::new(slow).repository(&name(&server), Access::Pull).unwrap();
    assert!(read(&repository, &digest, 100_000).unwrap_err().contains("sent nothing"));

    let stop = Arc::new(AtomicBool::new(false));
    let mut stopping = options(None);
    let asked = Arc::clone(&stop);
    stopping.http.stop = Arc::new(move || asked.load(Ordering::SeqCst));
    let repository = Registry::new(stopping).repository(&name(&server), Access::Pull).unwrap();
    let before = server.seen().len();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&repository, &digest, 100_000));
        while server.seen().len() == before {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::SeqCst);
        assert!(reading.join().unwrap().unwrap_err().contains("interrupted"));
    });
}

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Client, ClientOptions, Head, HttpError, Limits, Request};
use crate::Proxies;
use crate::server::{Reply, Server};

fn options() -> ClientOptions {
    ClientOptions {
        authorities: Vec::new(),
        proxies: Proxies::default(),
        limits: Limits { pause: Duration::ZERO, ..Limits::default() },
        stop: Arc::new(|| false),
    }
}

fn file() -> File {
    tempfile::tempfile().unwrap()
}

fn get_with(options: ClientOptions, request: &Request<'_>) -> Result<(Head, Vec<u8>), HttpError> {
    let mut file = file();
    let head = Client::new(options).fetch(request, &mut file)?;
    let mut body = Vec::new();
    file.read_to_end(&mut body).unwrap();
    Ok((head, body))
}

fn get(url: &str) -> Result<(Head, Vec<u8>), HttpError> {
    get_with(options(), &Request { url, ..Request::default() })
}

#[test]
fn a_file_is_fetched_with_what_is_said_of_it() {
    let server = Server::new(|_| {
        let fields =
            vec![("ETag", "\"1\"".to_owned()), ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())];
        Reply::Whole(200, fields, vec![7; 200_000])
    });
    let (head, body) = get(&server.url("/a?b#c")).unwrap();
    assert_eq!(body, vec![7; 200_000]);
    assert_eq!((head.status, head.url.as_str()), (200, server.url("/a?b").as_str()));
    assert_eq!((head.etag(), head.last_modified().is_some()), (Some("\"1\""), true));
    assert_eq!(server.seen(), ["GET /a?b"]);
}

#[test]
fn what_is_known_is_not_sent_again() {
    let server = Server::new(|seen| match seen.fields.get("if-none-match") {
        Some(etag) if etag == "\"1\"" => Reply::Whole(304, Vec::new(), Vec::new()),
        _ => Reply::ok("new"),
    });
    let known = |etag: &str| {
        Request { url: &server.url("/"), fields: vec![("if-none-match", etag.to_owned())], limit: None }
            .fields
    };
    let url = server.url("/");
    let (head, body) =
        get_with(options(), &Request { url: &url, fields: known("\"1\""), limit: None }).unwrap();
    assert!(head.is_unchanged() && body.is_empty());
    let (head, body) =
        get_with(options(), &Request { url: &url, fields: known("\"2\""), limit: None }).unwrap();
    assert!(!head.is_unchanged() && body == b"new");
}

#[test]
fn redirects_are_followed_to_an_end() {
    let server = Server::new(|seen| match seen.target.as_str() {
        "/a/start" => Reply::redirect("../b?x"),
        "/b?x" => Reply::redirect("/end"),
        "/end" => Reply::ok("end"),
        "/loop" => Reply::redirect("/loop"),
        "/nowhere" => Reply::redirect("ftp://host/x"),
        "/without" => Reply::Whole(302, Vec::new(), Vec::new()),
        _ => Reply::status(404),
    });
    let (head, body) = get(&server.url("/a/start")).unwrap();
    assert_eq!((head.url, body), (server.url("/end"), b"end".to_vec()));
    let seen = server.seen().len();
    assert!(matches!(get(&server.url("/loop")), Err(HttpError::TooManyRedirects { limit: 10, .. })));
    assert_eq!(server.seen().len() - seen, 11);
    assert!(matches!(get(&server.url("/nowhere")), Err(HttpError::BadRedirect { .. })));
    assert!(matches!(get(&server.url("/without")), Err(HttpError::Status { status: 302, .. })));
}

#[test]
fn what_may_pass_is_tried_again() {
    let tries = |reply: fn(usize) -> Reply| {
        let server = Server::new(move |seen| reply(seen.before));
        let got = get(&server.url("/x"));
        (got.map(|(_, body)| String::from_utf8(body).unwrap()), server.seen().len())
    };
    let check = |reply: fn(usize) -> Reply, expected: usize| {
        let (got, count) = tries(reply);
        assert_eq!((got.unwrap().as_str(), count), ("whole", expected));
    };
    check(|before| if before == 0 { Reply::status(500) } else { Reply::ok("whole") }, 2);
    check(|before| if before < 3 { Reply::status(429) } else { Reply::ok("whole") }, 4);
    check(|before| if before == 0 { Reply::Closed } else { Reply::ok("whole") }, 2);
    // What came of a body that broke off is gone.
    check(|before| if before == 0 { Reply::Truncated(vec![b'x'; 100_000]) } else { Reply::ok("whole") }, 2);

    let (got, count) = tries(|_| Reply::status(503));
    assert!(matches!(got, Err(HttpError::Status { status: 503, .. })), "{got:?}");
    assert_eq!(count, 4);
    let (got, count) = tries(|_| Reply::Truncated(b"x".to_vec()));
    assert!(matches!(got, Err(HttpError::Connection { .. })), "{got:?}");
    assert_eq!(count, 4);
    for (status, expected) in
        [(404, "does not exist"), (410, "does not exist"), (403, "not to be had"), (418, "418")]
    {
        let server = Server::new(move |_| Reply::status(status));
        let error = get(&server.url("/x")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[test]
fn nobody_there_is_an_error_of_the_connection() {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let error = get(&format!("http://u:secret@127.0.0.1:{port}/x")).unwrap_err();
    assert!(matches!(error, HttpError::Connection { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let server = Server::new(|_| Reply::Stuck(b"some".to_vec()));
    let mut options = options();
    options.limits.idle = Duration::from_millis(100);
    options.limits.attempts = 2;
    let url = server.url("/");
    let error = get_with(options, &Request { url: &url, ..Request::default() }).unwrap_err();
    assert!(matches!(error, HttpError::Stalled { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn no_more_is_taken_than_the_limit() {
    let check = |reply: fn() -> Reply, limit: u64| {
        let server = Server::new(move |_| reply());
        let mut options = options();
        options.limits.bytes = limit;
        let url = server.url("/");
        let got = get_with(options, &Request { url: &url, ..Request::default() });
        (
            got.map(|(_, body)| body.len()).map_err(|error| error.to_string().contains("larger than")),
            server.seen().len(),
        )
    };
    assert_eq!(check(|| Reply::ok("12345"), 5), (Ok(5), 1));
    assert_eq!(check(|| Reply::ok("12345"), 4), (Err(true), 1));
    // Without a length that says so before.
    let chunked = || {
        let fields = vec![("Transfer-Encoding", "chunked".to_owned())];
        Reply::Whole(200, fields, b"3\r\n123\r\n3\r\n456\r\n0\r\n\r\n".to_vec())
    };
    assert_eq!(check(chunked, 6), (Ok(6), 1));
    assert_eq!(check(chunked, 5), (Err(true), 1));
}

#[test]
fn a_caller_that_stops_does_not_wait() {
    let server = Server::new(|_| Reply::Stuck(b"some".to_vec()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut options = options();
    let asked = Arc::clone(&stop);
    options.stop = Arc::new(move || asked.load(Ordering::SeqCst));
    let client = Client::new(options);
    let url = server.url("/");
    std::thread::scope(|scope| {
        let fetched = scope.spawn(|| client.fetch(&Request { url: &url, ..Request::default() }, &mut file()));
        while server.seen().is_empty() {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::SeqCst);
        assert!(matches!(fetched.join().unwrap(), Err(HttpError::Interrupted)));
    });
}

#[test]
fn credentials_go_to_their_host_only() {
    let other = Server::new(|_| Reply::ok("end"));
    let to = other.url("/end");
    let server = Server::new(move |seen| match seen.target.as_str() {
        "/start" => Reply::redirect("/next"),
        _ => Reply::redirect(to.clone()),
    });
    let url = server.url("/start").replace("http://", "http://aladdin:opensesame@");
    let (head, _) = get(&url).unwrap();
    assert_eq!(head.url, other.url("/end"));
    let sent: Vec<Option<String>> =
        server.requests().iter().map(|seen| seen.fields.get("authorization").cloned()).collect();
    assert_eq!(sent, vec![Some("Basic YWxhZGRpbjpvcGVuc2VzYW1l".to_owned()); 2]);
    assert_eq!(other.requests()[0].fields.get("authorization"), None);
    assert!(!server.requests()[0].fields["host"].contains('@'));
}

#[test]
fn a_proxy_is_asked_for_hosts_that_are_not_excepted() {
    let server = Server::new(|_| Reply::ok("through"));
    let to = server.url("").replace("http://", "");
    let proxy = Server::new(move |_| Reply::Tunnel(to.clone()));
    let with = |except: &str, url: &str| {
        let mut options = options();
        options.limits.attempts = 1;
        options.proxies = Proxies {
            http: Some(proxy.url("")),
            https: None,
            except: Some(except.to_owned()),
            hosts: Vec::new(),
        };
        get_with(options, &Request { url, ..Request::default() })
    };
    let (_, body) = with("", "http://proxied.invalid/x").unwrap();
    assert_eq!(body, b"through");
    assert_eq!(proxy.seen(), ["CONNECT proxied.invalid:80"]);
    assert!(with("invalid", "http://proxied.invalid/x").is_err());
    assert_eq!(with("", &server.url("/y")).unwrap().1, b"through");
    assert_eq!(proxy.seen().len(), 1, "the machine itself is asked directly");
}

#[test]
fn tls_needs_an_authority() {
    let error = get("https://127.0.0.1:1/").unwrap_err();
    assert!(matches!(error, HttpError::NoAuthorities { .. }), "{error:?}");
}

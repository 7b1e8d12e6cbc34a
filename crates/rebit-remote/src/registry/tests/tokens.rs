//! Tokens and passwords: who gets which, how often, and that nobody else does.

use super::*;

/// A registry that takes what its token server gave last, and that server. Every token is good for `uses` requests.
struct Pair {
    registry: Server,
    tokens: Server,
}

fn pair(uses: usize) -> Pair {
    let valid: Arc<Mutex<(usize, usize)>> = Arc::default();
    let tokens = Server::new({
        let valid = Arc::clone(&valid);
        move |_| {
            let mut valid = valid.lock().unwrap();
            *valid = (valid.0 + 1, uses);
            Reply::ok(format!(r#"{{"token":"secret-{}","expires_in":60}}"#, valid.0))
        }
    });
    let realm = tokens.url("/token");
    let registry = Server::new(move |seen| {
        let mut valid = valid.lock().unwrap();
        let wanted = format!("Bearer secret-{}", valid.0);
        if seen.fields.get("authorization") == Some(&wanted) && valid.1 > 0 {
            valid.1 -= 1;
            return manifest(b"{}", OCI_MANIFEST);
        }
        let challenge = format!("Bearer realm=\"{realm}\",service=\"reg\",scope=\"repository:app:pull\"");
        Reply::Whole(401, vec![("WWW-Authenticate", challenge)], Vec::new())
    });
    Pair { registry, tokens }
}

fn open(server: &Server, credentials: Option<Credentials>) -> Repository {
    Registry::new(options(credentials)).repository(&name(server), Access::Pull).unwrap()
}

#[test]
fn a_token_is_got_once_and_used_until_it_is_refused() {
    let Pair { registry, tokens } = pair(3);
    let repository = open(&registry, None);
    for _ in 0..5 {
        repository.manifest(Wanted::Tag("1")).unwrap();
    }
    let target = "GET /token?service=reg&scope=repository%3Aapp%3Apull";
    assert_eq!(tokens.seen(), [target; 2], "the second one when the first one had run out");
    // One refusal at the beginning, one in the middle.
    assert_eq!(registry.seen().len(), 7);
    assert!(tokens.requests().iter().all(|seen| !seen.fields.contains_key("authorization")));
}

#[test]
fn a_token_that_is_never_good_enough_is_no_loop() {
    let Pair { registry, tokens } = pair(0);
    let error = open(&registry, Some(user())).manifest(Wanted::Tag("1")).unwrap_err();
    let RegistryError::Denied { status: 401, with_credentials: true, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((tokens.seen().len(), registry.seen().len()), (1, 2));
    assert!(!format!("{error:?} {error}").contains("secret"));
}

#[test]
fn the_token_server_sees_who_asks_and_nobody_else_does() {
    let Pair { registry, tokens } = pair(9);
    open(&registry, Some(user())).manifest(Wanted::Tag("1")).unwrap();
    let seen = &tokens.requests()[0];
    assert!(seen.target.starts_with("/token?account=aladdin&service=reg&"), "{}", seen.target);
    assert_eq!(seen.fields["authorization"], "Basic YWxhZGRpbjpvcGVuc2VzYW1l");
    let sent = registry.requests().into_iter().filter_map(|seen| seen.fields.get("authorization").cloned());
    assert_eq!(sent.collect::<Vec<_>>(), ["Bearer secret-1"]);

    let Pair { registry, tokens } = pair(9);
    open(&registry, Some(Credentials::IdentityToken("id token".into()))).manifest(Wanted::Tag("1")).unwrap();
    let seen = &tokens.requests()[0];
    let body = "grant_type=refresh_token&client_id=rebit&service=reg&scope=repository%3Aapp%3Apull&refresh_token=id%20token";
    assert_eq!((seen.method.as_str(), String::from_utf8_lossy(&seen.body).as_ref()), ("POST", body));
}

#[test]
fn token_servers_that_fail_say_so_without_secrets() {
    let check = |reply: fn(&Seen) -> Reply, expected: &str, asked: usize| {
        let tokens = Server::new(reply);
        let realm = tokens.url("/token");
        let registry = Server::new(move |_| {
            Reply::Whole(401, vec![("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))], Vec::new())
        });
        let error = open(&registry, Some(user())).manifest(Wanted::Tag("1")).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("opensesame") && !text.contains("s3cret"), "{text}");
        assert_eq!(tokens.seen().len(), asked, "{expected}");
    };
    check(|_| Reply::status(401), "does not allow it (401): a token", 1);
    check(|_| Reply::status(404), "answers 404: a token", 1);
    check(|_| Reply::status(503), "answers 503: a token", 4);
    check(|_| Reply::ok("s3cret"), "no JSON with a token", 1);
    check(|_| Reply::ok(r#"{"token":""}"#), "cannot be sent", 1);
    check(|_| Reply::ok("{\"token\":\"s3cret\\r\\nx: y\"}"), "cannot be sent", 1);
    check(|_| Reply::ok(vec![b' '; (1 << 20) + 1]), "is larger than", 1);
    check(|_| Reply::redirect("/token"), "more than 10 times", 11);
    let no_realm = Server::new(|_| {
        Reply::Whole(401, vec![("WWW-Authenticate", "Bearer realm=\"x\"".to_owned())], Vec::new())
    });
    let error = open(&no_realm, None).manifest(Wanted::Tag("1")).unwrap_err();
    assert!(error.to_string().contains("names no token server"), "{error}");
}

#[test]
fn a_password_is_sent_to_who_asks_for_it_and_only_once_in_vain() {
    let server = Server::new(|seen| match seen.fields.get("authorization").map(String::as_str) {
        Some("Basic YWxhZGRpbjpvcGVuc2VzYW1l") if seen.target.contains("app") => {
            manifest(b"{}", OCI_MANIFEST)
        }
        _ => Reply::Whole(401, vec![("WWW-Authenticate", "Basic realm=\"r\"".to_owned())], Vec::new()),
    });
    let repository = open(&server, Some(user()));
    repository.manifest(Wanted::Tag("1")).unwrap();
    repository.manifest(Wanted::Tag("2")).unwrap();
    assert_eq!(server.seen().len(), 3, "refused once, then sent at once");

    let wrong = Credentials::Password { user: "aladdin".into(), password: "wrong".into() };
    let error = open(&server, Some(wrong)).manifest(Wanted::Tag("1")).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { with_credentials: true, .. }), "{error:?}");
    assert_eq!(server.seen().len(), 5);
    let error = open(&server, None).manifest(Wanted::Tag("1")).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { with_credentials: false, .. }), "{error:?}");
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn a_login_is_asked_of_the_registry() {
    let server = Server::new(|seen| match seen.fields.get("authorization").map(String::as_str) {
        Some("Basic YWxhZGRpbjpvcGVuc2VzYW1l") if seen.target == "/v2/" => Reply::ok("{}"),
        _ => Reply::Whole(401, vec![("WWW-Authenticate", "Basic realm=\"r\"".to_owned())], Vec::new()),
    });
    let registry = Registry::new(options(None));
    let host = server.url("").trim_start_matches("http://").to_owned();
    registry.log_in(&host, user()).unwrap();
    let wrong = Credentials::Password { user: "a".into(), password: "b".into() };
    assert!(matches!(registry.log_in(&host, wrong), Err(RegistryError::Denied { status: 401, .. })));
    assert!(matches!(registry.log_in("a b", user()), Err(RegistryError::Protocol { .. })));
}

use super::*;

fn resolve(text: &str) -> Result<Mount, MountError> {
    let expand = |word: &str| Ok::<_, String>(word.replace("$X", "xx"));
    MountSpec::parse(text, Span::default())?.resolve(expand)
}

fn mount(target: &str, kind: MountKind) -> Result<Mount, MountError> {
    Ok(Mount { target: Some(target.to_owned()).filter(|t| !t.is_empty()), kind })
}

fn bind(from: Option<&str>, source: Option<&str>, writable: bool) -> MountKind {
    MountKind::Bind { from: from.map(str::to_owned), source: source.map(str::to_owned), writable }
}

fn cache(id: Option<&str>, sharing: Sharing, read_only: bool, owner: MountOwner) -> MountKind {
    MountKind::Cache { id: id.map(str::to_owned), from: None, source: None, sharing, read_only, owner }
}

fn secret(id: &str, env: Option<&str>, required: bool) -> MountKind {
    MountKind::Secret {
        id: id.to_owned(),
        env: env.map(str::to_owned),
        required,
        owner: MountOwner::default(),
    }
}

#[test]
fn binds() {
    assert_eq!(resolve("target=/a"), mount("/a", bind(None, None, false)));
    assert_eq!(resolve("type=bind,dst=/a,src=b,rw"), mount("/a", bind(None, Some("b"), true)));
    assert_eq!(
        resolve("type=BIND,destination=/a,source=b,from=base"),
        mount("/a", bind(Some("base"), Some("b"), false))
    );
    assert_eq!(resolve("target=/a,rw=false"), mount("/a", bind(None, None, false)));
    assert_eq!(resolve("target=/a,readonly=0"), mount("/a", bind(None, None, true)));
    assert_eq!(resolve("Target=/a,READWRITE"), mount("/a", bind(None, None, true)));
    assert_eq!(resolve("target=/a,target=/b"), mount("/b", bind(None, None, false)));
    assert_eq!(resolve("source=b"), mount("", bind(None, Some("b"), false)));
    assert_eq!(resolve("target=/$X"), mount("/xx", bind(None, None, false)));
    assert_eq!(resolve("\"target=/a,b\",rw"), mount("/a,b", bind(None, None, true)));
    assert_eq!(resolve("\"target=/a\"\"b\""), mount("/a\"b", bind(None, None, false)));
}

#[test]
fn caches() {
    let none = MountOwner::default();
    assert_eq!(resolve("type=cache,target=/c"), mount("/c", cache(None, Sharing::Shared, false, none)));
    let owner = MountOwner { mode: Some(0o750), uid: Some(1), gid: Some(2) };
    assert_eq!(
        resolve("type=cache,target=/c,id=$X,sharing=Locked,ro,mode=0750,uid=1,gid=2"),
        mount("/c", cache(Some("xx"), Sharing::Locked, true, owner)),
    );
    assert_eq!(
        resolve("type=cache,target=/c,sharing=private"),
        mount("/c", cache(None, Sharing::Private, false, none)),
    );
}

#[test]
fn tmpfs_sizes() {
    let size = |text: &str| match resolve(&format!("type=tmpfs,target=/t,size={text}")) {
        Ok(Mount { kind: MountKind::Tmpfs { size, .. }, .. }) => size,
        _ => None,
    };
    let cases = [
        ("1024", Some(1024)),
        ("64m", Some(64 << 20)),
        ("64M", Some(64 << 20)),
        ("1g", Some(1 << 30)),
        ("1.5GiB", Some(3 << 29)),
        ("2kb", Some(2048)),
        ("3 k", Some(3072)),
        ("7b", Some(7)),
        ("1p", Some(1 << 50)),
        ("", None),
        ("m", None),
        ("-1", None),
        ("1x", None),
        ("1.2.3", None),
        ("99999999p", None),
    ];
    for (text, bytes) in cases {
        assert_eq!(size(text), bytes, "{text}");
    }
    assert_eq!(
        resolve("type=tmpfs,target=/t"),
        mount("/t", MountKind::Tmpfs { size: None, read_only: false })
    );
}

#[test]
fn secrets_and_agents() {
    assert_eq!(resolve("type=secret,id=a"), mount("", secret("a", None, false)));
    assert_eq!(resolve("type=secret,target=/run/x/tok"), mount("/run/x/tok", secret("tok", None, false)));
    assert_eq!(resolve("type=secret,src=a,required"), mount("", secret("a", None, true)));
    assert_eq!(
        resolve("type=secret,id=a,env=TOKEN,required=true"),
        mount("", secret("a", Some("TOKEN"), true))
    );
    let owner = MountOwner { mode: Some(0o600), uid: Some(7), gid: None };
    let ssh = MountKind::Ssh { id: "default".into(), required: false, owner };
    assert_eq!(resolve("type=ssh,mode=0600,uid=7"), mount("", ssh));
}

#[test]
fn errors() {
    let key = |key: &str| key.to_owned();
    let invalid = |k: &str, value: &str| MountError::InvalidValue { key: key(k), value: value.to_owned() };
    let cases = [
        ("", MountError::UnknownKey { key: key(""), closest: None }),
        ("typ=bind", MountError::UnknownKey { key: key("typ"), closest: Some("type") }),
        ("target=/a,", MountError::UnknownKey { key: key(""), closest: None }),
        ("target", MountError::MissingValue { key: key("target") }),
        ("type=bnd", invalid("type", "bnd")),
        ("target=/a,rw=maybe", invalid("rw", "maybe")),
        ("type=cache,target=/a,mode=9", invalid("mode", "9")),
        ("type=cache,target=/a,uid=-1", invalid("uid", "-1")),
        ("type=cache,target=/a,uid=", invalid("uid", "")),
        ("type=cache,target=/a,gid=4294967296", invalid("gid", "4294967296")),
        ("type=cache,target=/a,sharing=none", invalid("sharing", "none")),
        ("target=/a,mode=0755", MountError::NotAllowed { key: key("mode"), kind: "bind" }),
        ("type=tmpfs,target=/a,uid=1", MountError::NotAllowed { key: key("uid"), kind: "tmpfs" }),
        ("target=/a,size=1", MountError::NotAllowed { key: key("size"), kind: "bind" }),
        ("size=1,type=tmpfs", MountError::NotAllowed { key: key("size"), kind: "bind" }),
        ("target=/a,required", MountError::NotAllowed { key: key("required"), kind: "bind" }),
        ("type=cache,target=/a,env=X", MountError::NotAllowed { key: key("env"), kind: "cache" }),
        ("target=/a,sharing=locked", MountError::NotAllowed { key: key("sharing"), kind: "bind" }),
        ("type=secret,id=a,from=b", MountError::NotAllowed { key: key("from"), kind: "secret" }),
        ("type=secret,id=a,source=b", MountError::NotAllowed { key: key("source"), kind: "secret" }),
        ("type=secret", MountError::SecretWithoutName),
        ("type=secret,env=TOKEN", MountError::SecretWithoutName),
        ("target=/a,from=$X", MountError::VariableInFrom),
        ("\"target=/a", MountError::Quotes { field: "\"target=/a".into() }),
        ("rw,tar\"get=/a", MountError::Quotes { field: "tar\"get=/a".into() }),
        ("\"rw\"x", MountError::Quotes { field: "\"rw\"x".into() }),
    ];
    for (text, error) in cases {
        assert_eq!(resolve(text), Err(error), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[a-z=,\"$0-9.]{0,40}") {
        let _ = resolve(&text);
    }
}

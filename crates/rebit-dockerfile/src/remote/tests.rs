use super::{GitSource, RemoteSource, file_name, redacted};

/// `git REMOTE [ref=…] [checksum=…] [subdir=…] [keep=…] [submodules=…]`, `url`, `path`, or the error.
fn shown(parsed: Result<Option<RemoteSource>, super::RemoteSourceError>) -> String {
    match parsed {
        Ok(None) => "path".to_owned(),
        Ok(Some(RemoteSource::Url(_))) => "url".to_owned(),
        Ok(Some(RemoteSource::Git(git))) => {
            let GitSource { remote, reference, checksum, subdir, keep_git_dir, submodules } = git;
            let mut text = format!("git {remote}");
            let flag = |flag: Option<bool>| flag.map(|flag| flag.to_string());
            for (name, value) in [
                ("ref", reference),
                ("checksum", checksum),
                ("subdir", subdir),
                ("keep", flag(keep_git_dir)),
                ("submodules", flag(submodules)),
            ] {
                if let Some(value) = value {
                    text.push_str(&format!(" {name}={value}"));
                }
            }
            text
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn addresses_are_told_apart() {
    let full = "0123456789012345678901234567890123456789";
    for (text, expected) in [
        ("a/b", "path"),
        ("./x.git", "path"),
        ("../git@host:x", "path"),
        (".git", "path"),
        ("x.git", "path"),
        ("ftp://host/x.git", "path"),
        ("://host/x.git", "path"),
        ("file:///x.git", "path"),
        ("host:x.git", "path"),
        ("a b@host:x", "path"),
        ("user@ho_st:x", "path"),
        ("custom.xyz/moby/buildkit.git", "path"),
        ("github.com/moby/buildkit", "path"),
        ("https://host", "url"),
        ("https://host/", "url"),
        ("HTTPS://host/x", "url"),
        ("http://host/x.tar.gz?y=z.git", "url"),
        ("https://host/x.git/", "url"),
        ("https://host/x.git.bar", "url"),
        ("https://host.git", "url"),
        ("http://host/x.git:#branch", "url"),
        ("https://host/x.git", "git https://host/x.git"),
        ("HTTPS://host/x.git", "git https://host/x.git"),
        ("http://host:8080/a/x.git#", "git http://host:8080/a/x.git"),
        ("https://user:secret@host/x.git", "git https://user:secret@host/x.git"),
        ("https://host/x.git#deadbeef", "git https://host/x.git ref=deadbeef"),
        ("https://host/x.git#release/1.2", "git https://host/x.git ref=release/1.2"),
        ("https://host/x.git#v1:docs/a", "git https://host/x.git ref=v1 subdir=docs/a"),
        ("https://host/x.git#:docs", "git https://host/x.git subdir=docs"),
        ("https://host/x.git#v1:", "git https://host/x.git ref=v1"),
        ("https://host/x.git#pull/42/head", "git https://host/x.git ref=pull/42/head"),
        ("https://host/x.git#a%20b:c", "`a b` cannot be the name of a branch, tag or commit"),
        ("https://host/x.git#v1:a%20b", "git https://host/x.git ref=v1 subdir=a b"),
        ("git://host/x", "git git://host/x"),
        ("git://host:9418/x.git#v1", "git git://host:9418/x.git ref=v1"),
        ("ssh://git@host:22/x.git#main", "git ssh://git@host:22/x.git ref=main"),
        ("git@host:x/y.git", "git git@host:x/y.git"),
        ("git@host:x/y#main:d", "git git@host:x/y ref=main subdir=d"),
        ("me_2@host.name:x?tag=v1", "git me_2@host.name:x ref=refs/tags/v1"),
        ("git@host:", "`git@host:` is not the address of a git repository"),
        ("git@-oProxyCommand=x:y", "path"),
        ("git@-host:y", "`git@-host:y` is not the address of a git repository"),
        ("ssh://-oProxyCommand=x/y", "`ssh://-oProxyCommand=x/y` is not the address of a git repository"),
        ("ssh://host", "`ssh://host` is not the address of a git repository"),
        ("git://host/", "`git://host/` is not the address of a git repository"),
        ("https://a:b@/x.git", "`https:///x.git` is not the address of a git repository"),
        ("https://host/x.git?ref=v1&subdir=/d", "git https://host/x.git ref=v1 subdir=/d"),
        ("https://host/x.git?branch=b", "git https://host/x.git ref=refs/heads/b"),
        ("https://host/x.git?branch=refs/heads/b", "git https://host/x.git ref=refs/heads/b"),
        ("https://host/x.git?tag=a%2Fb", "git https://host/x.git ref=refs/tags/a/b"),
        ("https://host/x.git?keep-git-dir", "git https://host/x.git keep=true"),
        (
            "https://host/x.git?keep-git-dir=0&submodules=false",
            "git https://host/x.git keep=false submodules=false",
        ),
        (
            "https://host/x.git?submodules=x",
            "`x` is neither true nor false, which the option `submodules` of the git address needs",
        ),
        ("https://host/x.git?checksum=ABC1", "git https://host/x.git checksum=abc1"),
        ("https://host/x.git?commit=abc1#v1", "git https://host/x.git ref=v1 checksum=abc1"),
        ("https://host/x.git?checksum=xyz", "`xyz` is not a commit: 1 to 64 hexadecimal digits"),
        (
            "https://host/x.git?checksum=a&commit=b",
            "the option `checksum` of the git address is given more than once",
        ),
        ("https://host/x.git?ref=a&ref=a", "the option `ref` of the git address is given more than once"),
        ("https://host/x.git?ref=", "the option `ref` of the git address has no value"),
        ("https://host/x.git?ref=a#a", "git https://host/x.git ref=a"),
        ("https://host/x.git?ref=a#b", "the git address names both `b` and `a`"),
        ("https://host/x.git?tag=a&branch=b", "the git address names both `refs/tags/a` and `refs/heads/b`"),
        ("https://host/x.git?subdir=a#:b", "the git address names both `b` and `a`"),
        ("https://host/x.git?depth=1", "`depth` is no option of a git address"),
        ("https://host/x.git#-x", "`-x` cannot be the name of a branch, tag or commit"),
        ("https://host/x.git#a..b", "`a..b` cannot be the name of a branch, tag or commit"),
        ("https://host/x.git#a/.b", "`a/.b` cannot be the name of a branch, tag or commit"),
        ("https://host/x.git#a^", "`a^` cannot be the name of a branch, tag or commit"),
    ] {
        assert_eq!(shown(RemoteSource::parse(text)), expected, "{text}");
    }
    let context = |text: &str| shown(RemoteSource::parse_context(text));
    assert_eq!(context("github.com/a/b#v1:d"), "git https://github.com/a/b ref=v1 subdir=d");
    assert_eq!(context("github.com/a/b.git"), "git https://github.com/a/b.git");
    assert_eq!(context("https://host/x.tar"), "url");
    assert_eq!(context("dir/github.com/a"), "path");

    let commit = |text: &str| match RemoteSource::parse(text).unwrap() {
        Some(RemoteSource::Git(git)) => git.commit().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    assert_eq!(commit(&format!("https://host/x.git#{full}")).as_deref(), Some(full));
    assert_eq!(commit(&format!("https://host/x.git?checksum={full}#v1")).as_deref(), Some(full));
    assert_eq!(commit("https://host/x.git#v1"), None);
    assert_eq!(commit("https://host/x.git?checksum=0123"), None);
}

#[test]
fn a_checksum_beside_the_address_has_to_agree_with_it() {
    let git =
        |checksum: Option<&str>| GitSource { checksum: checksum.map(str::to_owned), ..GitSource::default() };
    assert_eq!(git(None).with_checksum("ABC").unwrap().checksum.as_deref(), Some("abc"));
    assert_eq!(git(Some("abc")).with_checksum("abc").unwrap().checksum.as_deref(), Some("abc"));
    assert!(git(Some("abc")).with_checksum("abd").is_err());
    assert!(git(None).with_checksum("sha256:ab").is_err());
}

#[test]
fn a_git_source_is_shown_without_credentials() {
    for (text, expected) in [
        ("https://u:p@host/x.git", "https://host/x.git"),
        ("https://host/x.git?tag=v1", "https://host/x.git#refs/tags/v1"),
        ("git@host:x?subdir=d", "git@host:x#:d"),
        ("git@host:x#a:d", "git@host:x#a:d"),
    ] {
        let Some(RemoteSource::Git(git)) = RemoteSource::parse(text).unwrap() else { panic!("{text}") };
        assert_eq!(git.to_string(), expected);
    }
}

#[test]
fn names_come_from_the_path() {
    for (url, expected) in [
        ("http://host", None),
        ("http://host/", None),
        ("http://host/?a/b", None),
        ("http://host/a", Some("a")),
        ("http://host/a/b.tar.gz?x#y", Some("b.tar.gz")),
        ("http://host/a/b/", Some("b")),
        ("http://host/a%2Fb", Some("b")),
        ("http://host/%C3%A9", Some("é")),
        ("http://host/..", None),
        ("http://host/%00", None),
        ("http://host/%zz", None),
        ("http://host/%ff", None),
    ] {
        assert_eq!(file_name(url).as_deref(), expected, "{url}");
    }
}

#[test]
fn credentials_are_not_shown() {
    for (address, expected) in [
        ("https://a:b@host/x@y", "https://host/x@y"),
        ("https://token@host", "https://host"),
        ("https://a@b:c@host/x", "https://host/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:pw@host/x", "ssh://host/x"),
        ("git@host:x", "git@host:x"),
        ("a/b", "a/b"),
    ] {
        assert_eq!(redacted(address), expected);
    }
}

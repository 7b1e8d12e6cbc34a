//! Pairs, words and flags.

use super::*;
use crate::instruction::{Healthcheck, KeyValue, Source};

fn pairs(line: &str) -> (Vec<(String, String)>, bool) {
    let plain = |pairs: Vec<KeyValue>| pairs.into_iter().map(|p| (p.key.value, p.value.value)).collect();
    match one(line).value {
        Instruction::Env(env) => (plain(env.pairs), env.legacy),
        Instruction::Label(label) => (plain(label.pairs), label.legacy),
        other => panic!("{}", other.name()),
    }
}

#[test]
fn env_and_label() {
    let check = |line: &str, expected: &[(&str, &str)], legacy| {
        let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(pairs(line), (expected, legacy), "{line:?}");
    };
    check("ENV a=b", &[("a", "b")], false);
    check("ENV a=b c=d", &[("a", "b"), ("c", "d")], false);
    check("ENV a=", &[("a", "")], false);
    check("ENV a=\"b c\" d='e f'", &[("a", "\"b c\""), ("d", "'e f'")], false);
    check("ENV a=b\\ c d=e", &[("a", "b\\ c"), ("d", "e")], false);
    check("ENV a=b=c", &[("a", "b=c")], false);
    check("ENV a=$b c=${d:-e}x", &[("a", "$b"), ("c", "${d:-e}x")], false);
    check("ENV a b", &[("a", "b")], true);
    check("ENV a b c  d", &[("a", "b c  d")], true);
    check("ENV a \"b c\"", &[("a", "\"b c\"")], true);
    check("ENV a   b", &[("a", "b")], true);
    check("ENV a b=c", &[("a", "b=c")], true);
    check("ENV \\\n a=b \\\n c=d", &[("a", "b"), ("c", "d")], false);
    check("LABEL a=b", &[("a", "b")], false);
    check("LABEL \"a b\"=\"c d\"", &[("\"a b\"", "\"c d\"")], false);
    check("LABEL a=\"b \\\nc\"", &[("a", "\"b c\"")], false);
    check("LABEL a=b \\\n# comment\n  c=d \\\n\n  e=f", &[("a", "b"), ("c", "d"), ("e", "f")], false);
    check("LABEL a b", &[("a", "b")], true);
    check("label com.example.x.y=1", &[("com.example.x.y", "1")], false);
}

#[test]
fn arg() {
    let check = |line: &str, expected: &[(&str, Option<&str>)]| {
        let Instruction::Arg(arg) = one(line).value else { panic!("ARG") };
        let seen: Vec<_> =
            arg.args.iter().map(|a| (a.name.as_str(), a.default.as_ref().map(Spanned::as_str))).collect();
        assert_eq!(seen, expected, "{line:?}");
    };
    check("ARG a", &[("a", None)]);
    check("ARG a=", &[("a", Some(""))]);
    check("ARG a=b", &[("a", Some("b"))]);
    check("ARG a b=c d=\"e f\"", &[("a", None), ("b", Some("c")), ("d", Some("\"e f\""))]);
    check("ARG a=b=c", &[("a", Some("b=c"))]);
}

#[test]
fn rest_of_line() {
    let rest = |line: &str| match one(line).value {
        Instruction::Workdir(i) => i.path.value,
        Instruction::User(i) => i.user.value,
        Instruction::StopSignal(i) => i.signal.value,
        Instruction::Maintainer(i) => i.name.value,
        other => panic!("{}", other.name()),
    };
    assert_eq!(rest("WORKDIR /a b"), "/a b");
    assert_eq!(rest("WORKDIR   \"/a\"  "), "\"/a\"");
    assert_eq!(rest("USER a:b"), "a:b");
    assert_eq!(rest("USER $u"), "$u");
    assert_eq!(rest("STOPSIGNAL SIGKILL"), "SIGKILL");
    assert_eq!(rest("MAINTAINER A B <a@b>"), "A B <a@b>");
    assert_eq!(rest("WORKDIR \\\n /a"), "/a");
}

#[test]
fn lists() {
    let list = |line: &str| match one(line).value {
        Instruction::Expose(i) => i.ports.into_iter().map(|w| w.value).collect::<Vec<_>>(),
        Instruction::Volume(i) => i.paths.into_iter().map(|w| w.value).collect(),
        Instruction::Shell(i) => i.args.into_iter().map(|w| w.value).collect(),
        other => panic!("{}", other.name()),
    };
    assert_eq!(list("EXPOSE 80"), ["80"]);
    assert_eq!(list("EXPOSE 90/udp  80/tcp\t$p 1-3"), ["90/udp", "80/tcp", "$p", "1-3"]);
    assert_eq!(list("VOLUME /a"), ["/a"]);
    assert_eq!(list("VOLUME /a /b"), ["/a", "/b"]);
    assert_eq!(list("VOLUME [\"/a\", \" /b c \"]"), ["/a", "/b c"]);
    assert_eq!(list("VOLUME ['/a']"), ["['/a']"]);
    assert_eq!(list("SHELL [\"/bin/bash\", \"-c\"]"), ["/bin/bash", "-c"]);
}

#[test]
fn copy_and_add() {
    let check = |line: &str, sources: &[&str], dest: &str| {
        let files = match one(line).value {
            Instruction::Copy(copy) => copy.files,
            Instruction::Add(add) => add.files,
            other => panic!("{}", other.name()),
        };
        let seen: Vec<_> = files
            .sources
            .iter()
            .map(|source| match source {
                Source::Path(path) => path.as_str(),
                Source::Heredoc(heredoc) => heredoc.name.as_str(),
            })
            .collect();
        assert_eq!((seen.as_slice(), files.dest.as_str()), (sources, dest), "{line:?}");
    };
    check("COPY a b", &["a"], "b");
    check("COPY a b c /d/", &["a", "b", "c"], "/d/");
    check("COPY [\"a b\", \"c\"]", &["a b"], "c");
    check("COPY --from=x [\"a\", \"b\", \"c d\"]", &["a", "b"], "c d");
    check("COPY [a b", &["[a"], "b");
    check("COPY a[[]0].txt /b", &["a[[]0].txt"], "/b");
    check("ADD https://example.com/a /b", &["https://example.com/a"], "/b");
    check("ADD a \\\n  b \\\n  /c", &["a", "b"], "/c");
    check("COPY -- --a b", &["--a"], "b");
}

#[test]
fn copy_flags() {
    let line = "COPY --from=b --chown=u:g --chmod=u=rwX --link --parents --exclude=*.o --exclude=$x a b";
    let Instruction::Copy(copy) = one(line).value else { panic!("COPY") };
    assert_eq!(copy.from.as_ref().map(Spanned::as_str), Some("b"));
    assert_eq!(copy.files.chown.as_ref().map(Spanned::as_str), Some("u:g"));
    assert_eq!(copy.files.chmod.as_ref().map(Spanned::as_str), Some("u=rwX"));
    assert_eq!((copy.files.link, copy.parents), (Some(true), true));
    assert_eq!(strings(&copy.files.excludes), ["*.o", "$x"]);
    let Instruction::Copy(copy) = one("COPY --link=false --parents=FALSE --from= a b").value else {
        panic!("COPY")
    };
    assert_eq!((copy.files.link, copy.parents, copy.from), (Some(false), false, None));
    let Instruction::Copy(copy) = one("COPY a b").value else { panic!("COPY") };
    assert_eq!((copy.files.link, copy.parents, copy.files.json), (None, false, false));
}

#[test]
fn add_flags() {
    let line = "ADD --checksum=sha256:ab --keep-git-dir --unpack=false --exclude=x --chmod=755 --link a b";
    let Instruction::Add(add) = one(line).value else { panic!("ADD") };
    assert_eq!(add.checksum.as_ref().map(Spanned::as_str), Some("sha256:ab"));
    assert_eq!((add.keep_git_dir, add.unpack, add.files.link), (Some(true), Some(false), Some(true)));
    assert_eq!(strings(&add.files.excludes), ["x"]);
    let Instruction::Add(add) = one("ADD a b").value else { panic!("ADD") };
    assert_eq!((add.keep_git_dir, add.unpack, add.checksum), (None, None, None));
}

#[test]
fn healthcheck() {
    assert_eq!(one("HEALTHCHECK NONE").value, Instruction::Healthcheck(Healthcheck::None));
    assert_eq!(one("healthcheck none").value, Instruction::Healthcheck(Healthcheck::None));
    let line = "HEALTHCHECK --interval=5m --timeout=3s --start-period=1m30s --start-interval=500ms --retries=3 \\\n CMD curl -f x || exit 1";
    let Instruction::Healthcheck(Healthcheck::Cmd(check)) = one(line).value else { panic!("CMD") };
    let ms = |d: Option<std::time::Duration>| d.map(|d| d.as_millis());
    assert_eq!(
        (
            ms(check.interval),
            ms(check.timeout),
            ms(check.start_period),
            ms(check.start_interval),
            check.retries
        ),
        (Some(300_000), Some(3_000), Some(90_000), Some(500), Some(3)),
    );
    assert!(
        matches!(check.command, crate::instruction::Command::Shell(text) if text.value == "curl -f x || exit 1")
    );
    let Instruction::Healthcheck(Healthcheck::Cmd(check)) =
        one("HEALTHCHECK --interval=0s CMD [\"a\"]").value
    else {
        panic!("CMD")
    };
    assert_eq!((check.interval, check.retries), (None, None));
    assert!(matches!(check.command, crate::instruction::Command::Exec(words) if strings(&words) == ["a"]));
}

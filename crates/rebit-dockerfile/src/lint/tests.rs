use super::*;
use crate::parse;

/// Lints with what a test says is known.
fn lint_with(text: &str, ignore: &str, base: &dyn Fn(&str) -> Option<BaseFacts>) -> Vec<Diagnostic> {
    let parsed = parse(text);
    assert!(!parsed.has_errors(), "{text:?}: {:?}", parsed.diagnostics);
    let ignore = Ignore::parse(ignore).unwrap();
    let build_args = BTreeMap::from([("GIVEN".to_owned(), "given".to_owned())]);
    let options = LintOptions { check: None, build_args: &build_args, ignore: Some(&ignore), base };
    lint(text, &parsed.file, &options)
}

fn rules(found: &[Diagnostic]) -> Vec<Rule> {
    let rule = |found: &Diagnostic| match found.code {
        Code::Rule(rule) => rule,
        code => panic!("{code} is no rule"),
    };
    found.iter().map(rule).collect()
}

/// `base` is an image of which everything is known, every other name one of which nothing is.
fn base(name: &str) -> Option<BaseFacts> {
    let variables = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
    (name == "base").then_some(BaseFacts { variables, has_shell: false })
}

#[track_caller]
fn check(text: &str, expected: &[Rule]) {
    let found = lint_with(text, "hidden\n*.log\n", &base);
    assert_eq!(rules(&found), expected, "{text:?}: {found:?}");
}

#[test]
fn names_and_cases() {
    check("FROM a AS x\nFROM a AS X", &[Rule::StageNameCasing, Rule::DuplicateStageName]);
    check("FROM a AS scratch", &[Rule::ReservedStageName]);
    check("FROM a as x", &[Rule::FromAsCasing]);
    check("FROM a aS x", &[Rule::FromAsCasing]);
    check("from a as x", &[]);
    check("From a as x", &[Rule::ConsistentInstructionCasing]);
    check("FROM a\nrun b\nRUN c", &[Rule::ConsistentInstructionCasing]);
    check("from a\nrun b\nRUN c", &[Rule::ConsistentInstructionCasing]);
    check("from a\nRUN c", &[Rule::ConsistentInstructionCasing]);
    check("FROM a\nRUN b \\\n\n c", &[Rule::NoEmptyContinuation]);
}

#[test]
fn forms() {
    check("FROM a\nMAINTAINER b", &[Rule::MaintainerDeprecated]);
    check("FROM a\nENV a b\nLABEL a b", &[Rule::LegacyKeyValueFormat, Rule::LegacyKeyValueFormat]);
    check("FROM a\nCMD [\"b\"]\nCMD [\"c\"]", &[Rule::MultipleInstructionsDisallowed]);
    check("FROM a AS b\nCMD [\"b\"]\nFROM b\nCMD [\"c\"]", &[]);
    check("FROM a\nCMD b", &[Rule::JsonArgsRecommended]);
    check("FROM a\nSHELL [\"b\"]\nENTRYPOINT b", &[]);
    check("FROM a AS b\nSHELL [\"b\"]\nFROM b\nENTRYPOINT b", &[]);
    check("FROM a\nHEALTHCHECK CMD b", &[]);
    let shell = |_: &str| Some(BaseFacts { has_shell: true, ..BaseFacts::default() });
    assert_eq!(lint_with("FROM a\nCMD b", "", &shell), []);
}

#[test]
fn descriptions() {
    let on = "# check=experimental=InvalidDefinitionDescription\n\n";
    let check = |text: &str, expected: &[Rule]| check(&format!("{on}{text}"), expected);
    check("# that\nFROM a AS b", &[Rule::InvalidDefinitionDescription]);
    check("# b is that\nFROM a AS b", &[]);
    check("# that\n\nFROM a AS b", &[]);
    check("# that\n#\nFROM a AS b", &[]);
    check("# that\nFROM a", &[]);
    check("# that\n# x is\nARG x\nFROM a", &[]);
    check("# that\nARG x\nFROM a\n# y\nARG x y\n# z\nARG x", &[Rule::InvalidDefinitionDescription; 2]);
    super::tests::check("# that\nFROM a AS b", &[]);
}

#[test]
fn arguments_of_from() {
    check("FROM a:1$X", &[Rule::UndefinedArgInFrom]);
    check("FROM $X", &[Rule::UndefinedArgInFrom, Rule::InvalidDefaultArgInFrom]);
    check("ARG X\nFROM a$X", &[]);
    check("ARG X\nFROM $X", &[Rule::InvalidDefaultArgInFrom]);
    check("ARG GIVEN\nFROM $GIVEN", &[Rule::InvalidDefaultArgInFrom]);
    check("ARG X=a Y=$X\nFROM $Y", &[]);
    check("FROM a:$TARGETARCH", &[]);
    check("FROM a:${X:-1}", &[]);
    check("FROM --platform=$TARGETPLATFORM a", &[Rule::RedundantTargetPlatform]);
    check("FROM --platform=${TARGETPLATFORM} a", &[Rule::RedundantTargetPlatform]);
    check("FROM --platform=$BUILDPLATFORM a", &[]);
    check("FROM --platform=$TARGETOS/$TARGETARCH a", &[]);
    check("FROM --platform=linux/amd64 a", &[Rule::FromPlatformFlagConstDisallowed]);
    check("FROM --platform=linux/amd64 a AS build-amd64", &[]);
    check("FROM --platform=linux/amd64 a AS linux", &[]);
    check("FROM --platform=linux/arm64 a AS build-amd64", &[Rule::FromPlatformFlagConstDisallowed]);
}

#[test]
fn undefined_variables() {
    check("FROM base\nCOPY $x /y", &[Rule::UndefinedVar]);
    check("FROM base\nCOPY $HOME /y\nENV A=$PATH", &[]);
    check("FROM scratch\nENV A=$PATH B=$HOME", &[Rule::UndefinedVar]);
    check("FROM base\nENV A=1 B=$A", &[Rule::UndefinedVar]);
    check("FROM base\nENV A=1\nENV B=$A", &[]);
    check("FROM base\nARG A\nENV B=$A", &[]);
    check("ARG A=1\nFROM base\nENV B=$A", &[Rule::UndefinedVar]);
    check("FROM base\nENV B=$TARGETARCH", &[Rule::UndefinedVar]);
    check("FROM base\nARG TARGETARCH\nENV B=$TARGETARCH", &[]);
    check("FROM base\nENV B=$HTTP_PROXY", &[Rule::UndefinedVar]);
    check("FROM base\nENV B=$BUILDKIT_SBOM_SCAN_STAGE", &[]);
    check("FROM base\nENV B=${A:-x} C=${A+x}", &[]);
    check("FROM base\nENV B=${A#x}", &[Rule::UndefinedVar]);
    check("FROM base\nRUN echo $x\nCMD [\"$x\"]\nONBUILD ENV a=$x", &[]);
    check("FROM base AS b\nARG A\nFROM b\nENV B=$A", &[]);
    check("FROM base\nENV B='$x' C=\\$x", &[]);
    // Of an image that is not known nothing is said but what looks mistyped.
    check("FROM other\nENV A=$JAVA_HOME", &[]);
    check("FROM other\nARG VERSION\nENV A=$VERSON", &[Rule::UndefinedVar]);
    check("FROM other\nENV A=$PAHT", &[Rule::UndefinedVar]);
}

#[test]
fn values() {
    check("FROM a\nWORKDIR b\nWORKDIR c", &[Rule::WorkdirRelativePath]);
    check("FROM a\nWORKDIR /b\nWORKDIR c", &[]);
    check("FROM a AS x\nWORKDIR /b\nFROM x\nWORKDIR c", &[]);
    check("FROM a\nARG D=d\nWORKDIR $D", &[Rule::WorkdirRelativePath]);
    check("FROM a\nARG D=/d\nWORKDIR $D/x", &[]);
    check("FROM a\nARG D\nWORKDIR $D", &[]);
    check("FROM a\nWORKDIR $JAVA_HOME", &[]);
    check("FROM a\nWORKDIR ${JAVA_HOME:-x}", &[]);
    check("FROM a\nEXPOSE 80/TCP 81/$P 82", &[Rule::ExposeProtoCasing]);
    check("FROM a\nARG P=UDP\nEXPOSE 80/$P", &[Rule::ExposeProtoCasing]);
    check("FROM a\nEXPOSE 80:80 127.0.0.1:80:80/tcp", &[Rule::ExposeInvalidFormat; 2]);
    check("FROM a\nEXPOSE ${PORT:-80} 80-90", &[]);
}

#[test]
fn secrets() {
    for name in ["API_KEY", "apikey", "GITHUB_TOKEN", "secret_message", "AUTH", "DB_PASSWORD", "passwd"] {
        check(&format!("FROM a\nARG {name}"), &[Rule::SecretsUsedInArgOrEnv]);
        check(&format!("FROM a\nENV {name}=x"), &[Rule::SecretsUsedInArgOrEnv]);
        check(&format!("ARG {name}\nFROM a"), &[]);
    }
    for name in ["PUBLIC_KEY", "MONKEY", "TOKENS", "KEYRING", "AUTHOR", "SECRET_FILE", "TOKEN_VERSION"] {
        check(&format!("FROM a\nARG {name}\nENV {name}=x"), &[]);
    }
}

#[test]
fn ignored_files() {
    let on = "# check=experimental=all\nFROM a\n";
    let check = |line: &str, expected: &[Rule]| check(&format!("{on}{line}"), expected);
    let rule = [Rule::CopyIgnoredFile];
    check("COPY hidden /x", &rule);
    check("COPY ./hidden/x /hidden/ /x/", &[Rule::CopyIgnoredFile, Rule::CopyIgnoredFile]);
    check("ADD a.log /x", &rule);
    check("ARG N=a\nADD $N.log /x", &rule);
    check("ADD $N.log /x", &[]);
    check("COPY . other /x/", &[]);
    check("COPY --from=b hidden /x", &[]);
    check("COPY <<hidden /x\nhidden", &[]);
    let text = "# check=experimental=all\nFROM a\nCOPY hidden /x\n";
    assert_eq!(lint_with(text, "hidden\n!hidden/x\n", &base), []);
    super::tests::check("FROM a\nCOPY hidden /x", &[]);
}

#[test]
fn own_rules() {
    check("FROM a\nADD https://h/x /y", &[Rule::RebitAddWithoutChecksum]);
    check("FROM a\nADD --checksum=sha256:0 https://h/x /y", &[]);
    check("FROM a\nADD https://h/x.git#main /y", &[Rule::RebitAddWithoutChecksum]);
    check(&format!("FROM a\nADD https://h/x.git#{}:d /y", "a".repeat(40)), &[]);
    check("FROM a\nRUN apt-get update", &[Rule::RebitAptUpdateAlone]);
    check("FROM a\nRUN apt-get -y update && apt-get -y --no-install-recommends install b", &[]);
    check("FROM a\nRUN apt-get update && apt-get -o A::B=c -qq install b", &[]);
    check("FROM a\nRUN echo apt-get-update", &[]);
    check("FROM a\nRUN echo $(date) > /x", &[Rule::RebitClockInRun]);
    check("FROM a\nRUN make V=`date -u +%s`", &[Rule::RebitClockInRun]);
    check("FROM a\nRUN date > /built", &[Rule::RebitClockInRun]);
    check("FROM a\nRUN cat update > /built; candidate > x", &[]);
    check("FROM a\nRUN x; date > /built", &[Rule::RebitClockInRun]);
    check("FROM a\nRUN echo $(date -d @0) $(update) $(date -r /x)", &[]);
    check("FROM a\nRUN echo $(date -u -d @$SOURCE_DATE_EPOCH)", &[]);
    check("FROM a\nRUN curl -fsSL https://h/x | sh", &[Rule::RebitPipedScript]);
    check("FROM a\nRUN wget -O- https://h/x | sudo -E bash -", &[Rule::RebitPipedScript]);
    check("FROM a\nRUN <<E\nset -e\ncurl https://h/x | sh\nE", &[Rule::RebitPipedScript]);
    check("FROM a\nRUN curl https://h/x | tee sh; ssh h", &[]);
}

#[test]
fn settings() {
    let text = |check: &str| format!("# check={check}\nFROM a\nCMD b\nENV a b");
    check(&text("skip=jsonargsrecommended"), &[Rule::LegacyKeyValueFormat]);
    check(&text("skip=all"), &[]);
    let found = lint_with(&text("error=true"), "", &base);
    assert_eq!(found.iter().map(Diagnostic::is_error).collect::<Vec<_>>(), [true, true]);
    // The build argument takes the place of the directive.
    let parsed = parse(&text("skip=all;error=true"));
    let given = Check::parse("skip=LegacyKeyValueFormat").unwrap();
    let none = |_: &str| None;
    let options =
        LintOptions { check: Some(&given), build_args: &BTreeMap::new(), ignore: None, base: &none };
    let found = lint(&text("skip=all;error=true"), &parsed.file, &options);
    assert_eq!((rules(&found), found[0].is_error()), (vec![Rule::JsonArgsRecommended], false));
}

#[test]
fn places_are_exact() {
    let check = |text: &str, expected: &str| {
        let found = lint_with(text, "", &base);
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        assert_eq!(&text[found[0].span.range()], expected, "{text:?}");
    };
    check("FROM a \\\n as \\\n b", "as");
    check("FROM base\nARG x\nCOPY x$xx \\\n ${x} /y", "$xx");
    check("FROM base\nENV A=1/${xy}/2", "${xy}");
    check("FROM base\nENV A=${xy%.}", "${xy");
    check("FROM a\nENV a=1 my_token=2", "my_token");
    check("FROM a\nRUN true && curl x |  sh", "curl");
    check("FROM a\nRUN x $(date)", "$(date)");
}

#[test]
fn many_findings_do_not_fail_a_build() {
    let text = format!("FROM base\n{}", "COPY $x /y\n".repeat(crate::MAX_DIAGNOSTICS + 10));
    let found = lint_with(&text, "", &base);
    assert_eq!(found.len(), crate::MAX_DIAGNOSTICS + 1);
    assert_eq!(found.last().unwrap().code, Code::TooManyDiagnostics);
    assert!(found.iter().all(|found| !found.is_error()));
}

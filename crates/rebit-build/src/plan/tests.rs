use std::collections::BTreeMap;

use rebit_oci::config::ImageConfig;
use rebit_oci::{Digest, Reference};

use super::*;
use crate::graph::{CopyOp, Op, RunMountKind, RunNetwork, RunOp, Sharing, SourcePath};

/// Every image exists but `missing`; `triggers` has `ONBUILD` instructions, `set` a config.
struct TestBases;

impl Bases for TestBases {
    fn base(
        &self,
        reference: &Reference,
        _platform: &BuildPlatform,
    ) -> Result<(Digest, ImageConfig), BasesError> {
        let mut config = ImageConfig::scratch("amd64", "linux");
        match reference.familiar_name().as_str() {
            "missing" => return Err(BasesError::NotFound),
            "triggers" => config.config.on_build = vec!["RUN first".into(), "COPY a /b".into()],
            "set" => {
                config.config.env = vec!["PATH=/bin".into(), "A=base".into()];
                config.config.cmd = Some(vec!["sh".into()]);
                config.config.working_dir = Some("/work dir".into());
                config.config.user = Some("web".into());
            }
            _ => {}
        }
        Ok((Digest::of(reference.to_string().as_bytes()), config))
    }
}

fn options(args: &[(&str, &str)]) -> PlanOptions {
    let platform = BuildPlatform { os: "linux".into(), architecture: "amd64".into(), variant: None };
    PlanOptions {
        target: None,
        build_args: args.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        platform: platform.clone(),
        build_platform: platform,
        epoch: None,
        context_epoch: None,
        labels: BTreeMap::new(),
        contexts: BTreeMap::new(),
        offline: false,
        allow_insecure: false,
        limits: RunLimits::default(),
        fixers: crate::fix::Fixers::default(),
    }
}

fn plan_with(text: &str, options: &PlanOptions) -> Result<Planned, PlanError> {
    let parsed = rebit_dockerfile::parse(text);
    assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
    plan(&parsed.file, options, &TestBases)
}

fn graph(text: &str) -> Graph {
    plan_with(text, &options(&[])).unwrap().graph
}

fn target(text: &str) -> StagePlan {
    graph(text).stages.pop().unwrap()
}

fn problem(text: &str) -> String {
    plan_with(text, &options(&[])).unwrap_err().to_string()
}

fn runs(stage: &StagePlan) -> Vec<&RunOp> {
    stage.steps.iter().filter_map(|step| if let Op::Run(run) = &step.op { Some(run) } else { None }).collect()
}

fn copies(stage: &StagePlan) -> Vec<&CopyOp> {
    stage
        .steps
        .iter()
        .filter_map(|step| if let Op::Copy(copy) = &step.op { Some(copy) } else { None })
        .collect()
}

fn env<'a>(run: &'a RunOp, name: &str) -> Option<&'a str> {
    run.env.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[test]
fn only_what_the_target_needs_is_planned_and_in_order() {
    let order = |text: &str| graph(text).stages.iter().map(|stage| stage.index).collect::<Vec<_>>();
    assert_eq!(order("FROM a AS x\nFROM b AS y\nFROM scratch\nCOPY --from=x /a /b\n"), [0, 2]);
    assert_eq!(
        order("FROM a AS x\nFROM x AS y\nFROM scratch AS z\nFROM y\nCOPY --from=2 / /\n"),
        [0, 1, 2, 3]
    );
    let mut options = options(&[]);
    options.target = Some("X".into());
    let text = "FROM a AS x\nFROM missing\n";
    assert_eq!(plan_with(text, &options).unwrap().graph.stages.len(), 1);
    options.target = Some("nope".into());
    assert_eq!(plan_with(text, &options).unwrap_err().to_string(), "there is no stage `nope`");
}

#[test]
fn arguments_come_from_the_caller_then_the_default_then_the_global() {
    let text = "ARG V=global\nARG BASE=img\nFROM ${BASE}:$V\nARG V\nARG W=${V}-x\nARG NONE\nRUN x\nENV V=env\nRUN y\n";
    let check = |args: &[(&str, &str)], base: &str, first: [Option<&str>; 3], then: Option<&str>| {
        let planned = plan_with(text, &options(args)).unwrap();
        let stage = planned.graph.stages.last().unwrap();
        let Base::Image { reference, .. } = &stage.base else { panic!("not an image") };
        assert_eq!(reference, base);
        let runs = runs(stage);
        assert_eq!(["V", "W", "NONE"].map(|name| env(runs[0], name)), first);
        assert_eq!(env(runs[1], "V"), then);
    };
    check(&[], "docker.io/library/img:global", [Some("global"), Some("global-x"), None], Some("env"));
    let args = [("V", "arg"), ("NONE", "1")];
    check(&args, "docker.io/library/img:arg", [Some("arg"), Some("arg-x"), Some("1")], Some("env"));
}

#[test]
fn platform_arguments_have_to_be_declared() {
    let stage = target("FROM a\nRUN x\nARG TARGETARCH TARGETPLATFORM\nRUN y\n");
    let runs = runs(&stage);
    assert_eq!(env(runs[0], "TARGETARCH"), None);
    assert_eq!(
        (env(runs[1], "TARGETARCH"), env(runs[1], "TARGETPLATFORM")),
        (Some("amd64"), Some("linux/amd64"))
    );
}

///
#[test]
fn unused_build_arguments_are_named() {
    let args = [("USED", "1"), ("UNUSED", "1"), ("http_proxy", "p")];
    let planned = plan_with("FROM a\nARG USED\nRUN x\n", &options(&args)).unwrap();
    assert_eq!(planned.unused_build_args, ["UNUSED"]);
    let stage = planned.graph.stages.last().unwrap();
    assert_eq!(runs(stage)[0].proxy_env, [("http_proxy".to_owned(), "p".to_owned())]);
    assert_eq!(env(runs(stage)[0], "http_proxy"), None);
}

#[test]
fn configs_are_inherited_and_changed() {
    let stage = target(
        "FROM set\nENV B=$A C='x y'\nLABEL l=$B\nEXPOSE 80 8000-8001/udp\nVOLUME /v\nSTOPSIGNAL SIGINT\nWORKDIR sub\nUSER me:us\nENTRYPOINT [\"/e\"]\nSHELL [\"/sh\", \"-x\"]\nRUN a b\n",
    );
    let config = &stage.config;
    assert_eq!(config.env, ["PATH=/bin", "A=base", "B=base", "C=x y"]);
    assert_eq!(config.labels["l"], "base");
    assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp", "8000/udp", "8001/udp"]);
    assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/v"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(config.working_dir.as_deref(), Some("/work dir/sub"));
    assert_eq!(config.user.as_deref(), Some("me:us"));
    assert_eq!(config.entrypoint, Some(vec!["/e".to_owned()]));
    assert_eq!(config.cmd, None, "an ENTRYPOINT resets the base's CMD");
    let run = runs(&stage)[0];
    assert_eq!(run.args, ["/sh", "-x", "a b"]);
    assert_eq!((run.working_dir.as_str(), run.user.as_str()), ("/work dir/sub", "me:us"));
}

#[test]
fn a_command_of_the_stage_survives_its_entry_point() {
    let stage = target("FROM set\nCMD x y\nENTRYPOINT [\"/e\"]\n");
    assert_eq!(stage.config.cmd.unwrap(), ["/bin/sh", "-c", "x y"]);
}

#[test]
fn health_checks_are_written_in_nanoseconds() {
    let stage = target("FROM a\nHEALTHCHECK --interval=5s --retries=3 CMD x y\n");
    let check = stage.config.healthcheck.unwrap();
    assert_eq!(check.test.unwrap(), ["CMD-SHELL", "x y"]);
    assert_eq!((check.interval, check.retries, check.timeout), (5_000_000_000, 3, 0));
    assert_eq!(target("FROM a\nHEALTHCHECK NONE\n").config.healthcheck.unwrap().test.unwrap(), ["NONE"]);
}

#[test]
fn triggers_of_the_base_run_first_and_are_gone_after() {
    let stage = target("FROM triggers\nRUN then\nONBUILD RUN later $x\n");
    assert_eq!(runs(&stage).iter().map(|run| run.args[2].as_str()).collect::<Vec<_>>(), ["first", "then"]);
    assert_eq!(copies(&stage).len(), 1);
    assert_eq!(stage.config.on_build, ["RUN later $x"]);
    let twice = graph("FROM triggers AS a\nFROM a\nRUN x\n");
    assert_eq!(runs(twice.target().unwrap()).len(), 1, "triggers fire once");
}

#[test]
fn copies_are_made_absolute() {
    let check = |line: &str, dest: &str| {
        let stage = target(&format!("FROM a\nWORKDIR /w\n{line}\n"));
        assert_eq!(copies(&stage)[0].dest, dest, "{line}");
    };
    check("COPY a b", "/w/b");
    check("COPY a b/", "/w/b/");
    check("COPY . .", "/w/");
    check("COPY a ..", "/");
    check("COPY a /x/../y//z/.", "/y/z/");
    check("COPY a /", "/");
    check("COPY [\"a b\", \"c d/\"]", "/w/c d/");
}

#[test]
fn copies_have_flags() {
    let copy = |line: &str| copies(&target(&format!("FROM a\n{line}\n")))[0].clone();
    let excludes = copy("COPY --exclude=*.o --exclude=!a.o a b").excludes;
    assert_eq!(excludes, ["*.o", "!a.o"]);
    let flags = |line: &str| {
        let copy = copy(line);
        (copy.unpack, copy.parents, copy.link)
    };
    assert_eq!(flags("COPY a b"), (false, false, false));
    assert_eq!(flags("COPY --parents --link a b"), (false, true, true));
    assert_eq!(flags("COPY --parents=false --link=false a b"), (false, false, false));
    assert_eq!(flags("COPY --link --chown=1:2 a b"), (false, false, true));
    // As in BuildKit, modes make it a plain copy.
    assert_eq!(flags("COPY --link --chmod=600 --chown=web a b"), (false, false, false));
    assert_eq!(flags("ADD a b"), (true, false, false));
    assert_eq!(flags("ADD --unpack --link a b"), (true, false, true));
    assert_eq!(flags("ADD --unpack=false a b"), (false, false, false));
}

#[test]
fn heredocs_are_inline_files_and_scripts() {
    let stage =
        target("FROM a\nENV N=1\nCOPY <<a <<\"b\" /d/\n$N\na\n$N\nb\nRUN <<EOF\n#!/usr/bin/env x\ny\nEOF\n");
    let contents: Vec<&str> = copies(&stage)[0]
        .sources
        .iter()
        .map(|source| if let SourcePath::Inline { content, .. } = source { content.as_str() } else { "path" })
        .collect();
    assert_eq!(contents, ["1\n", "$N\n"]);
    let script = runs(&stage)[0].script.as_ref().unwrap();
    assert_eq!((script.path.as_str(), script.content.as_str()), ("/dev/pipes/EOF", "#!/usr/bin/env x\ny\n"));
}

#[test]
fn the_network_is_the_hosts_unless_someone_says_no() {
    let network = |text: &str, offline| {
        let options = PlanOptions { offline, ..options(&[]) };
        runs(plan_with(text, &options).unwrap().graph.target().unwrap())[0].network
    };
    assert_eq!(network("FROM a\nRUN x\n", false), RunNetwork::Host);
    assert_eq!(network("FROM a\nRUN --network=none x\n", false), RunNetwork::None);
    assert_eq!(network("FROM a\nRUN x\n", true), RunNetwork::None);
    assert_eq!(network("FROM a\nRUN --network=host x\n", true), RunNetwork::Host);
}

#[test]
fn the_epoch_has_an_order_of_sources() {
    let epoch = |text: &str, args: &[(&str, &str)], environment| {
        plan_with(text, &PlanOptions { epoch: environment, ..options(args) })
            .map(|planned| planned.graph.epoch)
    };
    let (plain, with_default) = ("FROM a\n", "ARG SOURCE_DATE_EPOCH=5\nFROM a\n");
    assert_eq!(epoch(plain, &[], None).unwrap(), DEFAULT_EPOCH);
    assert_eq!(epoch(with_default, &[], None).unwrap(), 5);
    assert_eq!(epoch(with_default, &[], Some(6)).unwrap(), 6);
    assert_eq!(epoch(with_default, &[("SOURCE_DATE_EPOCH", "7")], Some(6)).unwrap(), 7);
    assert!(epoch(plain, &[("SOURCE_DATE_EPOCH", "x")], None).is_err());
    assert!(epoch(plain, &[("SOURCE_DATE_EPOCH", "-1")], None).is_err());
}

#[test]
fn what_is_not_executed_stops_the_plan_by_name() {
    let check = |line: &str, what: &str| {
        assert_eq!(problem(&format!("FROM a\n{line}\n")), format!("{what} is not supported"), "{line}");
    };
    check("RUN --device=a/b=c x", "RUN --device=a/b=c");
}

#[test]
fn a_step_runs_unconfined_only_where_the_caller_allows_it() {
    let text = "FROM a\nRUN --security=insecure x\nRUN --security=sandbox y\n";
    assert_eq!(problem(text), "RUN --security=insecure is not allowed");
    let allowed = PlanOptions { allow_insecure: true, ..options(&[]) };
    let graph = plan_with(text, &allowed).unwrap().graph;
    let insecure: Vec<bool> = runs(graph.target().unwrap()).iter().map(|run| run.insecure).collect();
    assert_eq!(insecure, [true, false]);
}

#[test]
fn each_stage_has_a_platform() {
    let text = "FROM --platform=$BUILDPLATFORM a AS one\nFROM one AS two\nFROM --platform=linux/aarch64 scratch\n\
                COPY --from=two / /\nFROM a\nCOPY --from=2 / /\nCOPY --from=two / /\n";
    let platform: BuildPlatform = "linux/arm/v7".parse().unwrap();
    let graph = plan_with(text, &PlanOptions { platform, ..options(&[]) }).unwrap().graph;
    let mut platforms: Vec<String> =
        graph.stages.iter().map(|stage| format!("{} {}", stage.index, stage.platform)).collect();
    platforms.sort();
    assert_eq!(platforms, ["0 linux/amd64", "1 linux/amd64", "2 linux/arm64", "3 linux/arm/v7"]);
    assert_eq!(problem("FROM --platform=x a\n"), "`x` is not a platform such as linux/amd64");
}

#[test]
fn problems_are_named_where_they_are() {
    let check = |text: &str, message: &str, at: &str| {
        let error = plan_with(text, &options(&[])).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
        assert_eq!(&text[error.span.range()], at, "{text}");
    };
    check("FROM missing:1\n", "base image `missing:1` is not available", "missing:1");
    check("FROM a\nCOPY --from=1 /a /b\n", "stage `1` is not an earlier stage", "--from=1");
    check("FROM a AS x\nCOPY --from=x /a /b\n", "stage `x` is not an earlier stage", "--from=x");
    check("FROM a\nCOPY a b /c\n", "more than one source needs a destination that ends with `/`: `/c`", "/c");
    check("FROM a\nARG m=9\nCOPY --chmod=$m a b\n", "`9` is not a mode for --chmod", "--chmod=$m");
    check("FROM a\nCOPY --exclude=[ a b\n", "`[` is not a pattern for --exclude", "--exclude=[");
    check(
        "FROM a\nADD --checksum=sha256:0 a b\n",
        "`a` is not a remote source, which --checksum needs",
        "--checksum=sha256:0",
    );
    check(
        "FROM a\nADD --checksum=sha256:0 a b c/\n",
        "`--checksum` is not possible with more than one source",
        "--checksum=sha256:0",
    );
    check(
        "FROM a\nCOPY --link --chown=web a b\n",
        "`web` is not an owner for --link, which takes numbers only",
        "--chown=web",
    );
    check("FROM a\nEXPOSE x\n", "`x` is not a port, a range or `port/protocol`", "x");
    check("FROM a\nENV a=${b:?no}\n", "cannot expand `${b:?no}`: b: no", "${b:?no}");
    check("FROM $none\n", "the base name `$none` is empty after expansion", "$none");
}

#[test]
fn mounts_are_typed_and_have_places() {
    let stage =
        |flag: &str| target(&format!("FROM a AS s\nFROM b\nWORKDIR /w\nENV X=x\nRUN --mount={flag} y\n"));
    let check = |flag: &str, place: Option<&str>, holds: &dyn Fn(&RunMountKind) -> bool| {
        let stage = stage(flag);
        let mount = &runs(&stage)[0].mounts[0];
        assert_eq!(mount.target.as_deref(), place, "{flag}");
        assert!(holds(&mount.kind), "{flag}: {:?}", mount.kind);
    };
    check(
        "type=bind,from=s,source=a,target=b",
        Some("/w/b"),
        &|kind| matches!(kind, RunMountKind::Bind { from: CopySource::Stage(0), source, writable: false } if source == "/a"),
    );
    check(
        "target=/c,rw",
        Some("/c"),
        &|kind| matches!(kind, RunMountKind::Bind { from: CopySource::Context, source, writable: true } if source == "/"),
    );
    check("type=cache,target=/c/$X,mode=0700,uid=3,sharing=locked", Some("/c/x"), &|kind| {
        matches!(kind, RunMountKind::Cache { id, from: None, sharing: Sharing::Locked, owner, .. }
            if id == "/c/x" && (owner.mode, owner.uid, owner.gid) == (0o700, 3, 0))
    });
    check("type=tmpfs,target=/t,size=4096", Some("/t"), &|kind| {
        matches!(kind, RunMountKind::Tmpfs { size: Some(4096) })
    });
    check(
        "type=secret,id=k",
        Some("/run/secrets/k"),
        &|kind| matches!(kind, RunMountKind::Secret { id, env: None, required: false, owner } if id == "k" && owner.mode == 0o400),
    );
    check(
        "type=secret,id=k,env=K,required",
        None,
        &|kind| matches!(kind, RunMountKind::Secret { env: Some(env), required: true, .. } if env == "K"),
    );
    check(
        "type=ssh,uid=3,mode=0666",
        None,
        &|kind| matches!(kind, RunMountKind::Ssh { id, owner, .. } if id == "default" && (owner.mode, owner.uid) == (0o666, 3)),
    );
    let graph = graph("FROM a AS s\nFROM b\nRUN --mount=from=s,target=/s x\n");
    assert_eq!(graph.stages.len(), 2, "a mounted stage is needed");
    assert_eq!(
        problem("FROM a\nRUN --mount=target=/ x\n"),
        "`/` is not a place for a mount: it would cover the whole root"
    );
}

#[test]
fn named_contexts_come_before_stages_and_images() {
    let mut options = options(&[]);
    options.contexts.insert("files".into(), NamedContext::Files);
    options.contexts.insert("base".into(), NamedContext::Image("set".into()));
    let text = "FROM a AS files\nFROM base\nCOPY --from=files /x /y\nRUN --mount=from=base,target=/m z\n";
    let graph = plan_with(text, &options).unwrap().graph;
    assert_eq!(graph.stages.len(), 1, "the stage is hidden by the context");
    let stage = graph.target().unwrap();
    assert!(
        matches!(&stage.base, Base::Image { reference, .. } if reference == "docker.io/library/set:latest")
    );
    assert_eq!(copies(stage)[0].from, CopySource::Named("files".into()));
    assert!(matches!(runs(stage)[0].sources().next(), Some(CopySource::Image { .. })));
    let graph = plan_with("FROM files\n", &options).unwrap().graph;
    assert!(matches!(&graph.target().unwrap().base, Base::Context(name) if name == "files"));
}

#[test]
fn a_stage_inherits_the_arguments_of_the_one_it_starts_from() {
    let stage = target("FROM a AS one\nARG A=1\nENV E=2\nFROM one\nRUN x\n");
    assert_eq!((env(runs(&stage)[0], "A"), env(runs(&stage)[0], "E")), (Some("1"), Some("2")));
    assert!(stage.steps[0].created_by.contains("|1 A=1"), "{}", stage.steps[0].created_by);
}

#[test]
fn signals_are_names_and_numbers() {
    for signal in ["9", "37", "SIGINT", "int", "sigterm", "SIGRTMIN+3", "RTMAX-1", "SIGRTMIN"] {
        assert_eq!(
            target(&format!("FROM a\nSTOPSIGNAL {signal}\n")).config.stop_signal.as_deref(),
            Some(signal)
        );
    }
    for signal in ["SIGNONE", "0", "-1", "SIG", "RTMIN+99"] {
        assert_eq!(problem(&format!("FROM a\nSTOPSIGNAL {signal}\n")), format!("`{signal}` is not a signal"));
    }
}

#[test]
fn sources_that_come_over_the_network_are_planned() {
    let source = |line: &str| {
        let stage = target(&format!("FROM scratch\nARG U=https://u:p@host\n{line}\n"));
        let copy = copies(&stage)[0].clone();
        copy.remotes().collect::<Vec<_>>().join(", ")
    };
    assert_eq!(source("ADD $U/f.tar /d/"), "https://host/f.tar");
    assert_eq!(source("ADD a $U/x.git#v1:d git@h:y /d/"), "https://host/x.git#v1:d, git@h:y");
    let digest = Digest::of(b"");
    assert_eq!(source(&format!("ADD --checksum={digest} $U/f /f")), format!("https://host/f ({digest})"));
    assert_eq!(source("ADD --checksum=AB $U/x.git /f"), "https://host/x.git (commit ab)");
    let graph = graph("FROM scratch\nARG U=https://u:p@host\nADD $U/f $U/x.git?submodules=0 /d/\n");
    let json = serde_json::to_string(&graph.target().unwrap().steps[1]).unwrap();
    assert!(json.contains("https://host/f") && !json.contains("u:p") && !graph.reads_context(), "{json}");

    let fails = |line: &str, expected: &str| {
        let problem = problem(&format!("FROM scratch\n{line}\n"));
        assert!(problem.contains(expected), "{line}: {problem}");
    };
    fails("ADD --keep-git-dir=true --checksum=ab https://h/x.git?keep-git-dir=0 /d", "what the address says");
    fails("ADD --checksum=ab https://h/x.git?checksum=cd /d", "names both `cd` and `ab`");
    fails("ADD --checksum=xyz https://h/x.git /d", "is not a commit");
    fails("ADD --keep-git-dir=true file /d", "--keep-git-dir");
    fails("ADD https://h/ /d/", "ends in the name of a file");
    fails("COPY https://u:p@h/f /d", "`https://h/f` is not a path");
}

#[test]
fn an_epoch_may_be_that_of_the_context() {
    let epoch = |text: &str, args: &[(&str, &str)], context: Option<i64>| {
        let options = PlanOptions { context_epoch: context, ..options(args) };
        plan_with(text, &options).map(|planned| planned.graph.epoch)
    };
    let text = "FROM scratch\n";
    assert_eq!(epoch(text, &[("SOURCE_DATE_EPOCH", "context")], Some(5)).unwrap(), 5);
    assert_eq!(epoch("ARG SOURCE_DATE_EPOCH=context\nFROM scratch\n", &[], Some(5)).unwrap(), 5);
    assert_eq!(epoch(text, &[], Some(5)).unwrap(), DEFAULT_EPOCH);
    assert!(epoch(text, &[("SOURCE_DATE_EPOCH", "context")], None).is_err());
}

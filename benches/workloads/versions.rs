//! W3: ten versions of an application on one base, as images with layers that GNU gzip made, brought into stores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rebit_oci::Digest;

use crate::measure::{Figures, header, line, run, size_of};
use crate::peers::has;
use crate::rebit;

const VERSIONS: usize = 10;
/// Most bytes of the application.
const BYTES: u64 = 120_000_000;

pub(crate) fn compare(dir: &Path, rootfs: &Path) {
    let root = dir.join("application");
    let layouts = make(dir, &root, rootfs);
    let registry: u64 = size_of(&dir.join("registry"), &[]);
    println!("\nW3: {VERSIONS} versions, a registry keeps {:.1} MB of gzip layers", registry as f64 / 1e6);
    header("store");
    let ours = grow(&dir.join("versions"), |number| {
        let source = format!("oci:{}", layouts[number].display());
        rebit(dir, "versions", &["import", &source, &format!("store:bench/app:{number}")])
    });
    line("rebit", "ten imports", &ours, &ours);
    for (state, args) in [("gc --recipes", &["gc", "--recipes"][..]), ("gc again", &["gc"])] {
        let mut figures = run(&mut rebit(dir, "versions", args));
        figures.growth = size_of(&dir.join("versions"), &["loose", "scratch"]);
        line("rebit", state, &figures, &figures);
    }
    for peer in PEERS {
        if !has(peer.program) {
            println!("missing: {}", peer.program);
            continue;
        }
        let command = |words: &str, number: usize| {
            let words = words.replace("{n}", &number.to_string());
            let mut command = Command::new(peer.program);
            command.args(words.split(' ')).current_dir(dir).env("RESTIC_PASSWORD", "bench").env("HOME", dir);
            command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
            command
        };
        if let Some(init) = peer.init {
            run(&mut command(init, 0));
        }
        let theirs = grow(&dir.join(peer.store), |number| command(peer.add, number));
        line(peer.program, peer.what, &theirs, &ours);
    }
}

/// Another keeper of versions.
struct Peer {
    program: &'static str,
    what: &'static str,
    /// Where it keeps them.
    store: &'static str,
    init: Option<&'static str>,
    /// Adds version `{n}`.
    add: &'static str,
}

const PEERS: &[Peer] = &[
    Peer {
        program: "restic",
        what: "ten trees",
        store: "restic",
        init: Some("init -r restic -q"),
        add: "-r restic -q backup trees/{n}",
    },
    Peer {
        program: "borg",
        what: "ten trees",
        store: "borg",
        init: Some("init -e none borg"),
        add: "create borg::{n} trees/{n}",
    },
    Peer {
        program: "casync",
        what: "ten trees",
        store: "casync",
        init: None,
        add: "make --store=casync/default.castr casync/{n}.caidx trees/{n}",
    },
    Peer {
        program: "skopeo",
        what: "ten copies",
        store: "skopeo",
        init: None,
        add: "--insecure-policy copy -q oci:layout-{n} oci:skopeo:{n}",
    },
];

fn grow(store: &Path, command: impl Fn(usize) -> Command) -> Figures {
    let mut sum = Figures::default();
    (0..VERSIONS).for_each(|number| sum.add(&run(&mut command(number))));
    sum.growth = size_of(store, &["loose", "scratch"]);
    sum
}

/// Writes each version as an OCI layout and as a directory; the layers are shared by hard links, in `registry` once each.
fn make(dir: &Path, root: &Path, rootfs: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(dir.join("registry")).unwrap();
    fs::create_dir_all(dir.join("casync")).unwrap();
    fs::create_dir_all(root.join("app")).unwrap();
    let mut files = application(root);
    files.sort();
    let shell = |script: String| run(Command::new("sh").args(["-ec", &script]).current_dir(dir));
    let base = layer(dir, rootfs);
    let mut layouts = Vec::new();
    for number in 0..VERSIONS {
        for path in files.iter().skip(number).step_by(40) {
            let mut content = fs::read(path).unwrap();
            content.extend_from_slice(format!("\nversion {number}\n").as_bytes());
            fs::write(path, content).unwrap();
        }
        shell(
            "tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf app.tar -C application app"
                .to_owned(),
        );
        let app = layer(dir, &dir.join("app.tar"));
        shell(format!(
            "mkdir -p trees/{number}; tar -xf {} -C trees/{number} --exclude=./dev; tar -xf app.tar -C trees/{number}",
            rootfs.display()
        ));
        layouts.push(layout(dir, number, &[base, app]));
    }
    layouts
}

/// Copies of the machine's own programs and their data.
fn application(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut bytes = 0;
    let mut pending: Vec<PathBuf> =
        ["/usr/lib/python3", "/usr/lib/python3.11", "/usr/share/perl", "/usr/lib/git-core", "/usr/include"]
            .map(PathBuf::from)
            .into();
    while let Some(directory) = pending.pop() {
        let mut entries: Vec<_> = fs::read_dir(&directory).into_iter().flatten().flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let found = entry.metadata().unwrap();
            if found.is_dir() {
                pending.push(entry.path());
            } else if entry.file_type().unwrap().is_file() && bytes + found.len() < BYTES {
                let target = root.join("app").join(entry.path().strip_prefix("/usr").unwrap());
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::copy(entry.path(), &target).unwrap();
                bytes += found.len();
                files.push(target);
            }
        }
    }
    files
}

/// A layer in the registry: its diff id, and its digest and size as a blob.
fn layer(dir: &Path, tar: &Path) -> (Digest, Digest, usize) {
    let plain = fs::read(tar).unwrap();
    let output = Command::new("gzip").args(["-6", "-n", "-c"]).arg(tar).output().unwrap();
    let digest = Digest::of(&output.stdout);
    fs::write(dir.join("registry").join(digest.to_string().trim_start_matches("sha256:")), &output.stdout)
        .unwrap();
    (Digest::of(&plain), digest, output.stdout.len())
}

fn layout(dir: &Path, number: usize, layers: &[(Digest, Digest, usize)]) -> PathBuf {
    let path = dir.join(format!("layout-{number}"));
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.to_string().trim_start_matches("sha256:")), bytes).unwrap();
        (digest, bytes.len())
    };
    let ids: Vec<String> = layers.iter().map(|(id, ..)| format!("\"{id}\"")).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"version":"{number}"}}}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    );
    let (config, size) = put(config.as_bytes());
    let kind = "application/vnd.oci.image";
    let described: Vec<String> = layers
        .iter()
        .map(|(_, digest, size)| {
            let name = digest.to_string();
            let name = name.trim_start_matches("sha256:");
            fs::hard_link(dir.join("registry").join(name), blobs.join(name)).unwrap();
            format!(r#"{{"mediaType":"{kind}.layer.v1.tar+gzip","digest":"{digest}","size":{size}}}"#)
        })
        .collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json","digest":"{config}","size":{size}}},"layers":[{}]}}"#,
        described.join(",")
    );
    let (manifest, size) = put(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}.manifest.v1+json","digest":"{manifest}","size":{size}}}]}}"#
    );
    fs::write(path.join("index.json"), index).unwrap();
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    path
}

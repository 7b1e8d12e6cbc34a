//! What this process is given: environment, home, clock, platform. Nothing else in the program looks at them.

use std::env;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::SystemTime;

use rebit_build::graph::BuildPlatform;
use rebit_build::plan::MAX_EPOCH;
use rebit_store::{OpenRecipe, Store, StoreError, StoreOptions};

use crate::error::CommandError;
use crate::flags::Flags;

/// Where the store is: the flag or `REBIT_STORE`, else the user's data directory.
pub(crate) fn store_path(flags: &Flags) -> Result<PathBuf, CommandError> {
    if let Some(path) = &flags.store {
        return Ok(path.clone());
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/share")))
        .map(|data| data.join("rebit"))
        .ok_or_else(|| {
            CommandError::usage("there is no home directory to keep the store in").hint("use --store DIR")
        })
}

/// Opens the store; it is made when it does not exist.
pub(crate) fn create_store(flags: &Flags) -> Result<Store, CommandError> {
    open(flags, true)
}

/// Opens the store, which has to exist.
pub(crate) fn open_store(flags: &Flags) -> Result<Store, CommandError> {
    open(flags, false)
}

/// Opens the store, and says by type what the store says of that.
pub(crate) fn try_open(flags: &Flags) -> Result<Result<Store, StoreError>, CommandError> {
    let path = store_path(flags)?;
    Ok(Store::open(&path, &options(flags, false)))
}

fn open(flags: &Flags, create: bool) -> Result<Store, CommandError> {
    let path = store_path(flags)?;
    Ok(Store::open(&path, &options(flags, create))?)
}

/// How the store is opened.
pub(crate) fn options(flags: &Flags, create: bool) -> StoreOptions {
    let recipes = Some(rebit_layer::recipe::open as OpenRecipe);
    StoreOptions { create, max_bytes: flags.store_limit, recipes, ..StoreOptions::default() }
}

/// The present time. It is used for ages only and never reaches an image.
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// `SOURCE_DATE_EPOCH` of the environment; `context` means the time that is given, if there is one.
pub(crate) fn source_date_epoch(context: Option<i64>) -> Result<Option<i64>, CommandError> {
    let Some(text) = env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text == "context"
        && let Some(epoch) = context
    {
        return Ok(Some(epoch));
    }
    let epoch =
        text.to_str().and_then(|text| text.parse().ok()).filter(|epoch| (0..=MAX_EPOCH).contains(epoch));
    let invalid =
        || CommandError::usage(format!("SOURCE_DATE_EPOCH is not a number of seconds: `{}`", text.display()));
    epoch.map(Some).ok_or_else(invalid)
}

/// The value of an environment variable, for `--build-arg NAME`.
pub(crate) fn variable(name: &str) -> Result<Option<String>, CommandError> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(CommandError::usage(format!("the environment variable `{name}` is not UTF-8 text")))
        }
    }
}

/// The value of an environment variable as bytes, for secrets.
pub(crate) fn variable_bytes(name: &str) -> Option<Vec<u8>> {
    env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec)
}

/// The platform of this machine, in Go's words.
pub(crate) fn native_platform() -> BuildPlatform {
    let (architecture, variant) = match env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "x86" => ("386", None),
        "arm" => ("arm", Some("v7".to_owned())),
        "powerpc64" => ("ppc64le", None),
        other => (other, None),
    };
    BuildPlatform { os: env::consts::OS.to_owned(), architecture: architecture.to_owned(), variant }
}

/// Reads `OS/ARCH[/VARIANT]`.
pub(crate) fn parse_platform(text: &str) -> Result<BuildPlatform, CommandError> {
    text.parse()
        .map_err(|error: rebit_build::platform::ParsePlatformError| CommandError::usage(error.to_string()))
}

/// The proxies that the environment names. `HTTP_PROXY` in capitals may come from a request to a web server, and is taken as long
/// as this is not its program.
pub(crate) fn proxies() -> rebit_remote::Proxies {
    let value = |names: &[&str]| names.iter().find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
    let is_cgi = env::var_os("REQUEST_METHOD").is_some();
    rebit_remote::Proxies {
        http: value(if is_cgi { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] }),
        https: value(&["https_proxy", "HTTPS_PROXY"]),
        except: value(&["no_proxy", "NO_PROXY"]),
        hosts: Vec::new(),
    }
}

/// The file that apt's configuration begins with: `APT_CONFIG`.
pub(crate) fn apt_config() -> Option<PathBuf> {
    env::var_os("APT_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where distributions keep the certificates of authorities.
const AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Most bytes of a file of certificates.
const MAX_AUTHORITIES: u64 = 16 << 20;

/// The file and the directory of further authorities: `SSL_CERT_FILE`, `SSL_CERT_DIR`.
pub(crate) fn further_authorities() -> (Option<PathBuf>, Option<PathBuf>) {
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    (path("SSL_CERT_FILE"), path("SSL_CERT_DIR"))
}

/// The certificates of the machine's authorities and of those that the environment names, as PEM. What cannot be read is left out: a
/// server that needs it is not trusted.
pub(crate) fn authorities() -> Vec<u8> {
    let mut files: Vec<PathBuf> = Vec::new();
    files.extend(AUTHORITIES.iter().map(PathBuf::from).find(|path| path.is_file()));
    let (file, directories) = further_authorities();
    files.extend(file);
    for directory in directories.iter().flat_map(env::split_paths) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    let mut pem = Vec::new();
    for path in files {
        if let Ok(file) = std::fs::File::open(path) {
            let mut content = Vec::new();
            if file.take(MAX_AUTHORITIES).read_to_end(&mut content).is_ok() {
                pem.extend(content);
                pem.push(b'\n');
            }
        }
    }
    pem
}

/// Where programs are looked for.
pub(crate) fn search_path() -> std::ffi::OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// The user's SSH agent.
pub(crate) fn ssh_agent() -> Option<PathBuf> {
    env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The user's list of SSH hosts.
pub(crate) fn known_hosts() -> Option<PathBuf> {
    env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh/known_hosts"))
}

/// How many processors this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// The directory for temporary files.
pub(crate) fn temporary_directory() -> PathBuf {
    env::temp_dir()
}

/// Directories for temporary files that may be on different file systems.
pub(crate) fn temporary_directories() -> Vec<PathBuf> {
    ["/dev/shm".into(), env::temp_dir(), "/tmp".into(), "/var/tmp".into()].into()
}

/// The resolver configuration of this machine, for steps that use its network.
pub(crate) fn resolv_conf() -> Option<Vec<u8>> {
    std::fs::read("/etc/resolv.conf").ok().filter(|content| content.len() <= 64 << 10)
}

/// Files that may hold the user's credentials for registries, the first one first.
pub(crate) fn auth_files() -> Vec<PathBuf> {
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut files = Vec::new();
    files.extend(path("REGISTRY_AUTH_FILE"));
    files.extend(docker_config());
    files.extend(path("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")));
    let user = rustix::process::getuid().as_raw();
    files.push(PathBuf::from(format!("/run/containers/{user}/auth.json")));
    files.extend(configuration_directory().map(|directory| directory.join("containers/auth.json")));
    files
}

/// Docker's own file, which `rebit login` writes.
pub(crate) fn docker_config() -> Option<PathBuf> {
    let directory = env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".docker"));
    directory.or_else(home).map(|directory| directory.join("config.json"))
}

fn configuration_directory() -> Option<PathBuf> {
    let set = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")))
}

/// The configurations of registries that are there, later ones counting more.
pub(crate) fn registries_files() -> Vec<PathBuf> {
    if let Some(file) = env::var_os("CONTAINERS_REGISTRIES_CONF").filter(|value| !value.is_empty()) {
        return vec![PathBuf::from(file)];
    }
    let own = configuration_directory().map(|directory| directory.join("containers"));
    let system = PathBuf::from("/etc/containers");
    let in_directory = |directory: &PathBuf| {
        let entries = std::fs::read_dir(directory.join("registries.conf.d")).into_iter().flatten().flatten();
        let is_conf = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "conf");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_conf).collect();
        files.sort();
        files
    };
    let mut files = Vec::new();
    // The user's file takes the place of the system's; further ones add to either.
    let main = own.iter().chain([&system]).map(|directory| directory.join("registries.conf"));
    files.extend(main.into_iter().find(|path| path.is_file()));
    files.extend(in_directory(&system));
    files.extend(own.iter().flat_map(in_directory));
    files
}

/// Files that may say which images may be taken; the first one that is there counts.
pub(crate) fn policy_files() -> Vec<PathBuf> {
    let own = configuration_directory().map(|directory| directory.join("containers/policy.json"));
    own.into_iter().chain([PathBuf::from("/etc/containers/policy.json")]).collect()
}

/// Directories with a directory for each registry host, in which `*.crt` are certificates of authorities, and `*.cert`
/// with `*.key` are this machine's own.
pub(crate) fn certificate_directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> =
        ["/etc/docker/certs.d", "/etc/containers/certs.d"].iter().map(PathBuf::from).collect();
    directories.extend(configuration_directory().map(|directory| directory.join("containers/certs.d")));
    directories
}

//! What this machine's apt is told: where packages come from, whose signature counts, through which proxy, and as whom.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rebit_distro::apt_conf::AptConf;
use rebit_distro::auth::Logins;
use rebit_distro::sources::{parse_list, parse_paragraphs};
use rebit_distro::{DistroError, Source};
use rebit_remote::Proxies;

use crate::environment;

/// Where the keys of distributions are; those of Debian's archives count when nothing else is said.
const KEYRINGS: &str = "/usr/share/keyrings";
/// Largest file of configuration.
const LIMIT: u64 = 16 << 20;

/// The configuration of this machine's apt; what apt takes for granted where there is no apt.
pub(crate) struct Apt {
    conf: AptConf,
    logins: Logins,
    /// What could not be read or is not done, for people.
    pub(crate) notes: Vec<String>,
}

/// The configuration, read when it is first needed: who has everything pinned and stored needs none.
#[derive(Default)]
pub(crate) struct LazyApt(OnceLock<Apt>);

impl LazyApt {
    pub(crate) fn get(&self) -> Result<&Apt, DistroError> {
        if let Some(apt) = self.0.get() {
            return Ok(apt);
        }
        let apt = Apt::read()?;
        Ok(self.0.get_or_init(|| apt))
    }
}

impl Apt {
    /// Reads the configuration in apt's order: the file of `APT_CONFIG`, the parts, the main file.
    fn read() -> Result<Self, DistroError> {
        let mut conf = AptConf::default();
        if let Some(path) = environment::apt_config() {
            add(&mut conf, &path)?;
        }
        let is_part = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let stem = name.strip_suffix(".conf").unwrap_or(name);
            !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        for path in files(&conf.path("Dir::Etc::parts"))?.into_iter().filter(is_part) {
            add(&mut conf, &path)?;
        }
        let main = conf.path("Dir::Etc::main");
        add(&mut conf, &main)?;
        let mut apt = Self { conf, logins: Logins::default(), notes: Vec::new() };
        apt.read_logins()?;
        let asks = ["Proxy-Auto-Detect", "ProxyAutoDetect"].iter().find_map(|name| {
            apt.conf.get(&format!("Acquire::http::{name}")).map(|program| format!("{name} \"{program}\""))
        });
        apt.notes.extend(asks.map(|text| format!("apt's {text} is not asked for a proxy")));
        Ok(apt)
    }

    fn read_logins(&mut self) -> Result<(), DistroError> {
        let is_conf = |path: &PathBuf| path.extension().is_some_and(|end| end == "conf");
        let parts = files(&self.conf.path("Dir::Etc::netrcparts"))?;
        for path in [self.conf.path("Dir::Etc::netrc")].into_iter().chain(parts.into_iter().filter(is_conf)) {
            match read(&path) {
                Ok(text) => match self.logins.add(&text.unwrap_or_default()) {
                    0 => {}
                    more => {
                        self.notes.push(format!(
                            "`{}`: {more} entries above the limit are left out",
                            path.display()
                        ));
                    }
                },
                // They are often root's to read alone, and mostly not needed.
                Err(DistroError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                    self.notes.push(format!("`{}` is not for this user to read", path.display()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The sources, in the order in which apt reads them; none where there is no apt.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, DistroError> {
        let list = self.conf.path("Dir::Etc::sourcelist");
        let mut sources = match read(&list)? {
            Some(text) => parse_list(&text, &list.display().to_string())?,
            None => Vec::new(),
        };
        for path in files(&self.conf.path("Dir::Etc::sourceparts"))? {
            let name = path.display().to_string();
            let parse = match path.extension().and_then(|end| end.to_str()) {
                Some("list") => parse_list,
                Some("sources") => parse_paragraphs,
                _ => continue,
            };
            if let Some(text) = read(&path)? {
                sources.extend(parse(&text, &name)?);
            }
        }
        let expired = !self.conf.is_on("Acquire::Check-Valid-Until");
        sources.iter_mut().for_each(|source| source.expired = source.expired.or(Some(expired)));
        Ok(sources)
    }

    /// Files of keys that count where nothing else is said.
    pub(crate) fn keyrings(&self) -> Result<Vec<PathBuf>, DistroError> {
        let is_keyring = |path: &PathBuf| path.extension().is_some_and(|end| end == "gpg" || end == "asc");
        let trusted = files(&self.conf.path("Dir::Etc::trustedparts"))?;
        let mut paths: Vec<PathBuf> = trusted.into_iter().filter(is_keyring).collect();
        let debian = Path::new(KEYRINGS).join("debian-archive-keyring.gpg");
        paths.extend(Some(debian).filter(|path| path.is_file()));
        Ok(paths)
    }

    /// An address with the name and password that its server wants to see, if any.
    pub(crate) fn with_login(&self, url: &str) -> String {
        match (self.logins.find(url), url.split_once("://")) {
            (Some(login), Some((scheme, rest))) => {
                format!("{scheme}://{}:{}@{rest}", escaped(&login.name), escaped(&login.password))
            }
            _ => url.to_owned(),
        }
    }

    /// The proxies: apt's own, else those of the environment. What apt is told of `http` counts for `https` where nothing else does.
    pub(crate) fn proxies(&self) -> Proxies {
        let environment = environment::proxies();
        let direct = |text: &str| text.eq_ignore_ascii_case("DIRECT");
        let of = |names: &[&str], other: Option<String>| {
            let found = names.iter().find_map(|name| self.conf.get(name)).filter(|text| !text.is_empty());
            found.map_or(other, |text| (!direct(text)).then(|| text.to_owned()))
        };
        let (http, https) = ("Acquire::http::Proxy", "Acquire::https::Proxy");
        let mut hosts = Vec::new();
        for (scheme, name) in [("http", http), ("https", https), ("https", http)] {
            let below = self.conf.below(name).filter(|(_, proxy)| !proxy.is_empty());
            hosts.extend(
                below.map(|(host, proxy)| {
                    (scheme, host.to_owned(), (!direct(proxy)).then(|| proxy.to_owned()))
                }),
            );
        }
        Proxies {
            http: of(&[http], environment.http),
            https: of(&[https, http], environment.https),
            except: environment.except,
            hosts,
        }
    }
}

/// Text as it can stand before the `@` of an address.
fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn add(conf: &mut AptConf, path: &Path) -> Result<(), DistroError> {
    let Some(text) = read(path)? else { return Ok(()) };
    let wrong = |error: rebit_distro::apt_conf::AptConfError| DistroError::Configuration {
        file: path.display().to_string(),
        reason: error.to_string(),
    };
    conf.add(&text).map_err(wrong)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DistroError + use<'_> {
    move |source| DistroError::Io { path: path.display().to_string(), source }
}

fn read(path: &Path) -> Result<Option<String>, DistroError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_error(path))?,
    };
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).map_err(io_error(path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The files of a directory by name; none when it is missing.
fn files(directory: &Path) -> Result<Vec<PathBuf>, DistroError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io_error(directory))?,
    };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apt(conf: &str, logins: &str) -> Apt {
        let mut apt = Apt { conf: AptConf::default(), logins: Logins::default(), notes: Vec::new() };
        apt.conf.add(conf).unwrap();
        apt.logins.add(logins);
        apt
    }

    #[test]
    fn proxies_are_those_that_apt_has() {
        // D-19
        let text = "Acquire::http::Proxy \"http://p:1\"; Acquire::http::Proxy::a.test \"DIRECT\"; Acquire::https::Proxy::b.test \"http://q:2\";";
        let found = apt(text, "").proxies();
        assert_eq!((found.http.as_deref(), found.https.as_deref()), (Some("http://p:1"), Some("http://p:1")));
        let hosts: Vec<_> =
            found.hosts.iter().map(|(scheme, host, proxy)| format!("{scheme} {host} {proxy:?}")).collect();
        assert_eq!(hosts, ["http a.test None", "https b.test Some(\"http://q:2\")", "https a.test None"]);
        let direct = apt("Acquire::http::Proxy \"DIRECT\";", "").proxies();
        assert_eq!((direct.http, direct.https), (None, None));
    }

    #[test]
    fn a_login_goes_into_the_address_it_is_for() {
        // D-18
        let apt = apt("", "machine a.test login me password p@ss/w:rd");
        assert_eq!(apt.with_login("https://a.test/x"), "https://me:p%40ss%2Fw%3Ard@a.test/x");
        for url in ["http://a.test/x", "https://b.test/x", "file:/x"] {
            assert_eq!(apt.with_login(url), url);
        }
    }
}

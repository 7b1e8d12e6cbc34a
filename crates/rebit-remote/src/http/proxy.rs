//! Which proxy a request goes through.

use std::net::IpAddr;

use rebit_dockerfile::remote::redacted;
use ureq::Proxy;

use super::HttpError;
use super::address::Address;
use crate::Proxies;

impl Proxies {
    /// The proxy for `address`, if it is not to be asked directly. The machine itself is always asked directly.
    pub(super) fn for_address(&self, address: &Address) -> Result<Option<Proxy>, HttpError> {
        let scheme = if address.tls { "https" } else { "http" };
        let of_host = self
            .hosts
            .iter()
            .find(|(of, host, _)| *of == scheme && host.eq_ignore_ascii_case(address.host()));
        let proxy = match of_host {
            Some((_, _, proxy)) => proxy,
            None if address.tls => &self.https,
            None => &self.http,
        };
        let Some(proxy) = proxy.as_deref().filter(|proxy| !proxy.is_empty()) else { return Ok(None) };
        let (host, port) = (address.host(), address.port());
        let except = self.except.as_deref().unwrap_or_default();
        if is_loopback(host) || except.split(',').any(|entry| is_named(entry.trim(), host, port)) {
            return Ok(None);
        }
        let full = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
        Proxy::new(&full).map(Some).map_err(|_| HttpError::BadProxy { proxy: redacted(&full) })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an entry of the list of exceptions names a host.
fn is_named(entry: &str, host: &str, port: u16) -> bool {
    if let (Some((network, bits)), Ok(address)) = (entry.split_once('/'), host.parse::<IpAddr>()) {
        return network.parse().is_ok_and(|network| is_within(address, network, bits));
    }
    let entry = entry.to_ascii_lowercase();
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, number)) if !name.contains(':') || name.ends_with(']') => (name, number.parse().ok()),
        _ => (entry.as_str(), None),
    };
    let name = name.trim_start_matches("*.").trim_start_matches(['.', '[']).trim_end_matches(']');
    if name.is_empty() || wanted.is_some_and(|wanted: u16| wanted != port) {
        return false;
    }
    name == "*" || host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_within(address: IpAddr, network: IpAddr, bits: &str) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let Ok(bits) = bits.parse::<u32>() else { return false };
    bits <= width && (bits == 0 || address >> (width - bits) == network >> (width - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_name_hosts_and_what_is_below_them() {
        for (entry, url, expected) in [
            ("host", "http://host/", true),
            ("host", "http://a.host/", true),
            ("host", "http://ahost/", false),
            (".host", "http://a.host/", true),
            ("*.host", "http://a.host/", true),
            ("HOST", "http://host/", true),
            ("host:80", "http://host/", true),
            ("host:81", "http://host/", false),
            ("host:443", "https://host/", true),
            ("*", "http://host/", true),
            ("", "http://host/", false),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("0.0.0.0/0", "http://11.1.2.3/", true),
            ("10.0.0.0/99", "http://10.1.2.3/", false),
            ("fd00::/8", "http://[fd12::1]/", true),
            ("fd12::1", "http://[fd12::1]/", true),
            ("10.1.2.3", "http://10.1.2.3/", true),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(is_named(entry, address.host(), address.port()), expected, "{entry} {url}");
        }
    }

    #[test]
    fn the_scheme_decides_and_the_machine_itself_needs_none() {
        let proxies = Proxies {
            http: Some("proxy:3128".into()),
            https: Some("http://u:p@secure:3129".into()),
            except: Some("a, b".into()),
            hosts: vec![("http", "own".into(), Some("own-proxy".into())), ("http", "direct".into(), None)],
        };
        let host = |url: &str| {
            let proxy = proxies.for_address(&Address::parse(url).unwrap()).unwrap();
            proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
        };
        assert_eq!(host("http://x/").as_deref(), Some("proxy:3128"));
        assert_eq!(host("https://x/").as_deref(), Some("secure:3129"));
        assert_eq!(host("http://own/").as_deref(), Some("own-proxy:80"));
        assert_eq!(host("https://direct/").as_deref(), Some("secure:3129"));
        for url in
            ["http://direct/", "http://b/", "http://localhost:1/", "http://127.0.0.2/", "http://[::1]/"]
        {
            assert_eq!(host(url), None, "{url}");
        }
        assert!(!format!("{proxies:?}").contains("u:p"));
    }
}

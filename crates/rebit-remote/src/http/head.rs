//! What a server says of what it sends.

use ureq::http::HeaderMap;

/// Status and fields of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// The address that answered, without credentials.
    pub url: String,
    /// 200, or 304 when the request said what is known already.
    pub status: u16,
    pub(super) fields: HeaderMap,
}

impl Head {
    /// A field by its name, when it is there and text.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.to_str().ok()
    }

    /// All fields of a name that are text.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Whether another try may get another answer.
    pub(crate) fn is_transient(&self) -> bool {
        super::error::may_pass(self.status)
    }

    /// How long the server wants the next try to wait.
    pub(crate) fn wait(&self) -> Option<std::time::Duration> {
        self.retry_after().map(std::time::Duration::from_secs)
    }

    /// Whether the server says that what is known already is still right; nothing was sent then.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.status == 304
    }

    /// `ETag`: compares with what the server has later.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.field("etag")
    }

    /// `Last-Modified`, as the server writes it.
    #[must_use]
    pub fn last_modified(&self) -> Option<&str> {
        self.field("last-modified")
    }

    /// The type in `Content-Type`, in lower case and without parameters.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let value = self.field("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// The file name in `Content-Disposition` (RFC 6266, without `filename*`); never one with a directory.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        let value = self.field("content-disposition")?;
        let parameter = value.split(';').skip(1).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("filename").then_some(value.trim())
        })?;
        let name = match parameter.strip_prefix('"') {
            Some(quoted) => quoted.trim_end_matches('"').replace('\\', ""),
            None => parameter.to_owned(),
        };
        let name = name.rsplit('/').next().unwrap_or_default();
        (!matches!(name, "" | "." | "..") && !name.contains(char::is_control)).then(|| name.to_owned())
    }

    /// `Retry-After` in seconds; a date is not understood.
    pub(super) fn retry_after(&self) -> Option<u64> {
        self.field("retry-after")?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let head = |name: &'static str, value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(name, value.parse().unwrap());
            Head { url: String::new(), status: 200, fields }
        };
        for (value, expected) in [
            ("attachment; filename=a.tar", Some("a.tar")),
            ("attachment; FileName=\"a b.tar\"; x=y", Some("a b.tar")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=dir/", None),
            ("attachment", None),
            ("inline; filename*=UTF-8''x", None),
        ] {
            assert_eq!(head("content-disposition", value).file_name().as_deref(), expected, "{value}");
        }
        assert_eq!(head("content-type", "Text/Plain; charset=x").media_type().as_deref(), Some("text/plain"));
        assert_eq!(head("retry-after", "7").retry_after(), Some(7));
        assert_eq!(head("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT").retry_after(), None);
    }
}

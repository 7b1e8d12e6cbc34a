//! Files that hold other files: what is in them, as one model for all formats, and how two of them differ.
//!
//! | format | fields | members |
//! |---|---|---|
//! | gzip | time, name, flags | the content |
//! | Zstandard, xz, bzip2 | | the content |
//! | zip, jar, whl | comment | entries with time, mode, method |
//! | tar | | entries with time, owner, mode |
//! | ar, deb | | entries with time, owner, mode |
//! | compiled Python | interpreter, time, size or hash of the source | the code |
//! | PNG | | chunks |
//! | ELF | kind, entry point | sections |
//!
//! Readers borrow from the bytes they are given; what is compressed is only unpacked when its compressed bytes differ.

mod elf;
mod packed;
mod png;
mod pyc;
mod unix;
mod zip;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use rebit_layer::codec::decode::{self, DecodeLimits};

use super::content::explain_into;
use super::{Budget, Cause, Finding, Ignored};

/// What a file holds.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    /// What it is called, e.g. `zip`.
    pub(super) kind: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) members: Vec<Member<'a>>,
}

/// Something that an archive says of itself or of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) cause: Option<Cause>,
    pub(super) ignorable: Option<Ignored>,
}

impl Field {
    pub(super) fn new(name: &'static str, value: impl ToString) -> Self {
        Self { name, value: value.to_string(), cause: None, ignorable: None }
    }

    pub(super) fn of(name: &'static str, value: impl ToString, cause: Cause) -> Self {
        Self { cause: Some(cause), ..Self::new(name, value) }
    }

    /// A time, in seconds since 1970.
    pub(super) fn time(seconds: i64) -> Self {
        let shown = match seconds {
            0 => "none (0)".to_owned(),
            _ if seconds.unsigned_abs() < 1 << 40 => crate::time::rfc3339(seconds),
            _ => seconds.to_string(),
        };
        Self { ignorable: Some(Ignored::ArchiveTime), ..Self::of("time", shown, Cause::Time) }
    }
}

#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    pub(super) content: Content<'a>,
}

/// The bytes of a member, or how to come by them.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Plain(&'a [u8]),
    /// A stream that says itself how it is compressed, and what of it is not its header.
    Stream {
        whole: &'a [u8],
        body: &'a [u8],
    },
    /// Deflate without a header, as zip has it.
    Deflate(&'a [u8]),
    /// What cannot be unpacked, compared as it is.
    Opaque(&'a [u8]),
}

impl<'a> Content<'a> {
    fn raw(&self) -> &'a [u8] {
        match self {
            Self::Plain(bytes) | Self::Deflate(bytes) | Self::Opaque(bytes) => bytes,
            Self::Stream { body, .. } => body,
        }
    }

    /// Unpacks at most what the budget has left; `None` when it is damaged or larger.
    fn unpack(&self, budget: &mut Budget) -> Option<Cow<'a, [u8]>> {
        let limits = DecodeLimits { output: budget.bytes, ..DecodeLimits::default() };
        let mut out = Vec::new();
        let read = match self {
            Self::Plain(bytes) | Self::Opaque(bytes) => return Some(Cow::Borrowed(bytes)),
            Self::Stream { whole, .. } => {
                decode::open(*whole, limits).and_then(|mut from| from.read_to_end(&mut out))
            }
            Self::Deflate(bytes) => flate2::read::DeflateDecoder::new(*bytes)
                .take(budget.bytes.saturating_add(1))
                .read_to_end(&mut out),
        };
        let fits = read.is_ok() && out.len() as u64 <= budget.bytes;
        budget.bytes = budget.bytes.saturating_sub(out.len() as u64);
        fits.then_some(Cow::Owned(out))
    }
}

/// Reads a file as an archive; `None` when it is none that is known, or damaged.
pub(super) fn open<'a>(path: &str, bytes: &'a [u8]) -> Option<Archive<'a>> {
    packed::open(bytes)
        .or_else(|| elf::open(bytes))
        .or_else(|| png::open(bytes))
        .or_else(|| unix::open_ar(bytes))
        .or_else(|| pyc::open(path, bytes))
        .or_else(|| zip::open(bytes))
        .or_else(|| unix::open_tar(bytes))
}

/// Most members of an archive that are read.
pub(super) const MAX_MEMBERS: usize = 20_000;

/// Compares two archives of one format. If nothing is found, what differs is between the members.
pub(super) fn compare(
    place: &str,
    a: &Archive<'_>,
    b: &Archive<'_>,
    budget: &mut Budget,
    out: &mut Vec<Finding>,
) {
    fields(place, a.kind, &a.fields, &b.fields, out);
    let (in_a, in_b) = (numbered(a), numbered(b));
    let (order_a, order_b): (Vec<_>, Vec<_>) = (common(a, &in_b), common(b, &in_a));
    if order_a != order_b {
        out.push(Finding::new(place, format!("{} order of members", a.kind)).because([Cause::Order]));
    }
    let mut repacked = false;
    for (key, at) in &in_a {
        let inside = format!("{place}!{}", key.0);
        match (a.members.get(*at), in_b.get(key).and_then(|at| b.members.get(*at))) {
            (Some(x), Some(y)) => repacked |= member(&inside, a.kind, x, y, budget, out),
            _ => out.push(Finding::new(inside, format!("{} member only in the first", a.kind))),
        }
        if out.len() >= budget.findings as usize || !budget.take_member() {
            out.push(Finding::new(place, "not looked into further: too many differences or members"));
            return;
        }
    }
    for key in in_b.keys().filter(|key| !in_a.contains_key(*key)).take(budget.findings as usize) {
        let place = format!("{place}!{}", key.0);
        out.push(Finding::new(place, format!("{} member only in the second", a.kind)));
    }
    if repacked {
        let finding = Finding::new(place, format!("{} compressed in another way", a.kind));
        out.push(finding.because([Cause::Compression]).ignorable(Ignored::Compression));
    }
}

/// A member's name and how many of that name come before it.
type Key<'m> = (&'m str, u32);

fn numbered<'m>(archive: &'m Archive<'_>) -> BTreeMap<Key<'m>, usize> {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut numbered = BTreeMap::new();
    for (at, member) in archive.members.iter().enumerate() {
        let count = seen.entry(&member.name).or_default();
        numbered.insert((member.name.as_str(), *count), at);
        *count += 1;
    }
    numbered
}

/// The names of an archive that another has too, in their order.
fn common<'m>(archive: &'m Archive<'_>, other: &BTreeMap<Key<'_>, usize>) -> Vec<&'m str> {
    let names = archive.members.iter().map(|member| member.name.as_str());
    names.filter(|name| other.contains_key(&(*name, 0))).collect()
}

fn fields(place: &str, kind: &str, a: &[Field], b: &[Field], out: &mut Vec<Finding>) {
    let of = |fields: &[Field], name: &str| fields.iter().find(|field| field.name == name).cloned();
    let names: std::collections::BTreeSet<&str> = a.iter().chain(b).map(|field| field.name).collect();
    for name in names {
        let (x, y) = (of(a, name), of(b, name));
        if x == y {
            continue;
        }
        let Some(known) = x.as_ref().or(y.as_ref()) else { continue };
        let text =
            |field: &Option<Field>| field.as_ref().map_or("none".to_owned(), |field| field.value.clone());
        let finding = Finding::new(place, format!("{kind} {name}")).values(&text(&x), &text(&y));
        out.push(Finding { ignorable: known.ignorable, ..finding.because(known.cause) });
    }
}

/// Compares two members; returns whether they have the same content in another compression.
fn member(
    place: &str,
    kind: &str,
    a: &Member<'_>,
    b: &Member<'_>,
    budget: &mut Budget,
    out: &mut Vec<Finding>,
) -> bool {
    fields(place, kind, &a.fields, &b.fields, out);
    if a.content.raw() == b.content.raw() && same_form(&a.content, &b.content) {
        return false;
    }
    let (Some(x), Some(y)) = (a.content.unpack(budget), b.content.unpack(budget)) else {
        out.push(Finding::new(place, "content, not looked into: damaged or too large to unpack"));
        return false;
    };
    if x == y {
        return true;
    }
    explain_into(place, &x, &y, budget, out);
    false
}

fn same_form(a: &Content<'_>, b: &Content<'_>) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

#[cfg(test)]
mod tests;

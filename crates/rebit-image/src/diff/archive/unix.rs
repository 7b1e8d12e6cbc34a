//! tar and ar.

use super::{Archive, Content, Field, MAX_MEMBERS, Member};
use crate::diff::{Cause, lines};

pub(super) fn open_tar(bytes: &[u8]) -> Option<Archive<'_>> {
    if bytes.get(257..262)? != b"ustar" {
        return None;
    }
    let mut archive = tar::Archive::new(bytes);
    let mut members = Vec::new();
    for entry in archive.entries().ok()? {
        let entry = entry.ok()?;
        if members.len() >= MAX_MEMBERS {
            return None;
        }
        let header = entry.header();
        // A number that is left empty is 0.
        let mut fields = vec![
            Field::time(i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(i64::MAX)),
            Field::of("mode", format!("{:04o}", header.mode().unwrap_or(0)), Cause::Owner),
            Field::of(
                "owner",
                format!("{}:{}", header.uid().unwrap_or(0), header.gid().unwrap_or(0)),
                Cause::Owner,
            ),
            Field::new("type", format!("{:?}", header.entry_type())),
        ];
        let name = |name: Option<&[u8]>| lines::shown(name.unwrap_or_default());
        let names = format!("{}:{}", name(header.username_bytes()), name(header.groupname_bytes()));
        fields.push(Field::of("owner name", names, Cause::Owner));
        if let Some(target) = entry.link_name_bytes() {
            fields.push(Field::new("link target", lines::shown(&target)));
        }
        let start = usize::try_from(entry.raw_file_position()).ok()?;
        let length = usize::try_from(header.entry_size().ok()?).ok()?;
        // A hard link may say a length and have no content.
        let length = if header.entry_type().is_hard_link() { 0 } else { length };
        let content = bytes.get(start..start.checked_add(length)?)?;
        members.push(Member {
            name: lines::shown(&entry.path_bytes()),
            fields,
            content: Content::Plain(content),
        });
    }
    Some(Archive { kind: "tar", fields: Vec::new(), members })
}

pub(super) fn open_ar(bytes: &[u8]) -> Option<Archive<'_>> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n")?;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_first_chunk::<60>()?;
        let text = |range: std::ops::Range<usize>| {
            let text = String::from_utf8_lossy(header.get(range).unwrap_or_default());
            text.trim_end().to_owned()
        };
        if header.get(58..) != Some(b"`\n") || members.len() >= MAX_MEMBERS {
            return None;
        }
        let length: usize = text(48..58).parse().ok()?;
        let content = after.get(..length)?;
        let fields = vec![
            Field::time(text(16..28).parse().unwrap_or(0)),
            Field::of("owner", format!("{}:{}", text(28..34), text(34..40)), Cause::Owner),
            Field::of("mode", text(40..48), Cause::Owner),
        ];
        members.push(Member {
            name: lines::printable(&text(0..16)),
            fields,
            content: Content::Plain(content),
        });
        // Members begin at even offsets; the last one may lack its padding.
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    Some(Archive { kind: "ar", fields: Vec::new(), members })
}

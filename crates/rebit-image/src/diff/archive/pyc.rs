//! Compiled Python modules (PEP 552).

use super::{Archive, Content, Field, Member};
use crate::diff::Ignored;

pub(super) fn open<'a>(path: &str, bytes: &'a [u8]) -> Option<Archive<'a>> {
    let (header, code) = bytes.split_first_chunk::<16>()?;
    let [m0, m1, b'\r', b'\n', f0, f1, f2, f3, time @ .., s0, s1, s2, s3] = header else { return None };
    if !path.ends_with(".pyc") {
        return None;
    }
    let number = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
    let flags = number([*f0, *f1, *f2, *f3]);
    let mut fields = vec![
        Field::new("interpreter", u16::from_le_bytes([*m0, *m1])),
        Field::new("checked by", if flags & 1 == 0 { "time" } else { "hash" }),
    ];
    if flags & 1 == 0 {
        let time = Field::time(i64::from(number(*time)));
        fields.push(Field { name: "source time", ignorable: Some(Ignored::PycTime), ..time });
        fields.push(Field::new("source size", number([*s0, *s1, *s2, *s3])));
    } else {
        let hash = time.iter().chain([s0, s1, s2, s3]).map(|byte| format!("{byte:02x}"));
        fields.push(Field::new("source hash", hash.collect::<String>()));
    }
    let code = Member { name: "code".to_owned(), fields: Vec::new(), content: Content::Plain(code) };
    Some(Archive { kind: "pyc", fields, members: vec![code] })
}

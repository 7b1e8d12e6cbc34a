use super::*;

fn frame() -> Vec<u8> {
    let members = [
        Member {
            id: ObjectId::of(b"one"),
            kind: MemberKind::Plain,
            offset: 0,
            length: 3,
            size: 3,
            edges: vec![],
        },
        Member {
            id: ObjectId::of(b"two"),
            kind: MemberKind::Chunked,
            offset: 3,
            length: 3,
            size: 99,
            edges: vec![ObjectId::of(b"one")],
        },
    ];
    encode_frame(&members, Codec::Plain, b"onetwo", 6)
}

// S-12, S-13
#[test]
fn entries_round_trip() {
    let bytes = frame();
    let entry = Entry::decode(&bytes).unwrap();
    assert_eq!(entry.header.entry_length(), bytes.len() as u64);
    let members = entry.members().unwrap();
    assert_eq!(members.len(), 2);
    assert_eq!(members[1].edges, [ObjectId::of(b"one")]);
    assert_eq!(entry.payload().unwrap(), b"onetwo");

    let row =
        BlobRow { digest: Digest::of(b"x"), object: ObjectId::of(b"x"), size: 1, form: BlobForm::Composite };
    assert_eq!(Entry::decode(&encode_blobs(&[row])).unwrap().blobs().unwrap(), [row]);
    let edges = (ObjectId::of(b"a"), vec![ObjectId::of(b"b")]);
    let bytes = encode_edges(std::slice::from_ref(&edges));
    assert_eq!(Entry::decode(&bytes).unwrap().edges().unwrap(), [edges]);
}

// S-14
#[test]
fn every_flipped_bit_and_every_cut_is_seen() {
    let bytes = frame();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Entry::decode(&damaged).is_err(), "bit {bit} was taken");
    }
    for length in 0..bytes.len() {
        assert!(Entry::decode(&bytes[..length]).is_err(), "{length} bytes were taken");
    }
}

// The fuzz target in small, so that it runs with every build.
#[test]
fn anything_between_right_checksums_is_decoded_or_refused() {
    let good = frame();
    for seed in 0..20_000_u64 {
        let mut bytes = good.clone();
        let noise = blake3::hash(&seed.to_le_bytes());
        for pair in noise.as_bytes().chunks_exact(4).take(1 + seed as usize % 8) {
            let at = usize::from(u16::from_le_bytes([pair[0], pair[1]])) % bytes.len();
            bytes[at] = pair[2] & if pair[3] < 128 { 3 } else { 255 };
        }
        seal_for_fuzzing(&mut bytes);
        if let Ok(entry) = Entry::decode(&bytes) {
            let _any = (entry.members(), entry.blobs(), entry.edges());
            if let Ok(payload) = entry.payload() {
                assert_eq!(payload.len(), entry.header.raw as usize);
            }
        }
    }
}

#[test]
fn a_table_that_does_not_fit_is_refused() {
    let member = |offset, length, size| Member {
        id: ObjectId::of(b""),
        kind: MemberKind::Plain,
        offset,
        length,
        size,
        edges: vec![],
    };
    for bad in [member(0, 7, 7), member(7, 0, 0), member(u32::MAX, 1, 1), member(0, 3, 4)] {
        let bytes = encode_frame(&[bad], Codec::Plain, b"onetwo", 6);
        assert_eq!(Entry::decode(&bytes).unwrap().members(), Err(EntryError::Table));
    }
    let bytes = assemble(EntryKind::Frame, Codec::Plain, 1, &[0; 20], b"", 0);
    assert_eq!(Entry::decode(&bytes).unwrap().members(), Err(EntryError::Table));
    let bytes = assemble(EntryKind::Edges, Codec::Plain, 1, &[255; 36], b"", 0);
    assert_eq!(Entry::decode(&bytes).unwrap().edges(), Err(EntryError::Table));
    let bytes = assemble(EntryKind::Frame, Codec::Zstd, 0, &[], b"not zstd", 100);
    assert_eq!(Entry::decode(&bytes).unwrap().payload(), Err(EntryError::Payload));
}

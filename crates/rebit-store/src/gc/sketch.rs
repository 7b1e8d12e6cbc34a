//! Which objects are nearly the same.

/// A number for each byte, without any pattern.
static GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let (mut state, mut at) = (0_u64, 0);
    while at < table.len() {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = value ^ (value >> 31);
        at += 1;
    }
    table
}

/// A number that two contents have in common, with all likelihood, when few of their bytes differ, and hardly ever otherwise.
///
/// It is made of the least of two hashes of all runs of 64 bytes: most runs of contents that are nearly the same are the same. One
/// would not do: texts with the same licence at their head often share the least of one.
pub(super) fn sketch(content: &[u8]) -> u64 {
    let (mut hash, mut one, mut two) = (0_u64, u64::MAX, u64::MAX);
    for (at, byte) in content.iter().enumerate() {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if at >= 63 {
            one = one.min(hash);
            two = two.min(hash.wrapping_mul(0xd6e8_feb8_6659_fd93));
        }
    }
    one ^ two.rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_the_same_has_one_sketch() {
        let text: Vec<u8> = (0..4000).flat_map(|n| format!("{n} {}\n", n * n).into_bytes()).collect();
        let mut more = text.clone();
        more.extend_from_slice(b"version 2\n");
        assert_eq!(sketch(&text), sketch(&more));
        // Of edits in a hundred places, each in a copy of its own, nearly all leave it as it is.
        let same = (0..100).filter(|n| {
            let mut edited = text.clone();
            edited[n * 300] ^= 1;
            sketch(&edited) == sketch(&text)
        });
        assert!(same.count() > 90);
        let head = &text[..400];
        let others: std::collections::HashSet<u64> = (0..100_u64)
            .map(|n| {
                let rest = (0..4000).flat_map(|m| format!("{m} {}\n", m * n + 7).into_bytes());
                sketch(&head.iter().copied().chain(rest).collect::<Vec<_>>())
            })
            .collect();
        assert!(others.len() > 95, "{}", others.len());
    }
}

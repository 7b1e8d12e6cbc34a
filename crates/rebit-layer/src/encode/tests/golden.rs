//! Digests that layer format 1 promises. A change here is a new format.

use super::*;

/// Name, lower tree, upper tree, epoch, and the digests: diff id, gzip, zstd.
type Golden = (&'static str, &'static str, &'static str, i64, [&'static str; 3]);

const EPOCH: i64 = 315_532_800;

const GOLDEN: [Golden; 10] = [
    (
        "empty",
        "",
        "",
        EPOCH,
        [
            "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
            "62539018952ddec37a4fcf8d77171cfbcd5b21fc3520f32028cd9cfdae546a31",
            "475029fc2ab1f7150ea3ec148920e24d90c54bdd49a2a8afbed5f5127ef1f6fb",
        ],
    ),
    (
        "one file",
        "",
        "f 644 0:0 etc/hostname = rebit",
        EPOCH,
        [
            "7d0c4596ce8d05de53d2a7a01b2bb9aab16b631240912e27909919365a16171f",
            "b1ddb6fd543886ec2dd7bd1b85836e672933314e13fdf4378c266796d4bd89f7",
            "919557461eff840c06f4e5862c3cc91fd794c018e625c8a786ff1fd1772ed917",
        ],
    ),
    (
        "every kind",
        "",
        "d 1777 0:0 tmp\nf 4755 0:0 bin/su = su\nl 0:0 sbin = bin\nc 666 0:0 dev/null = 1,3\n\
         b 660 0:6 dev/sda = 8,0\np 600 1:1 run/pipe\nf 644 0:0 empty = ",
        EPOCH,
        [
            "a6d5f717a3a220654b0fc506d1c16a521571c4fbc45338822f1917a265793bf3",
            "78303fe8988dfce9ffd67c1ec974e2736d5ba78a3ea3070d2bc2accc83d2f58a",
            "373a2de5fe53a9f4380699ec59e5d77aa9c3997a066629e1b75aa853a5904928",
        ],
    ),
    (
        "removals and replacements",
        "f 644 0:0 a/gone = 1\nf 644 0:0 b/c = 2\nf 644 0:0 d = 3\nf 644 0:0 e/f = 4\nf 644 0:0 -x = 5",
        "d 755 0:0 a\nf 644 0:0 b = file\nf 644 0:0 d/now = dir",
        EPOCH,
        [
            "1ba7eeb71a60cfa50e40d1e5842efd6227fe4d69983397dd80f927db95ae3e78",
            "4d1e7117e7c10c086710b2b8a2564ed1add008fb253cd7855f7dc40d8ff4a4dd",
            "1273e976480e738344c6af9cacec8e760d4d2b2812ed5de809ef921c59b5b5fb",
        ],
    ),
    (
        "hard links",
        "f 644 0:0 old = x\nh old2 = old",
        "f 644 0:0 old = x\nh old2 = old\nh new = old\nf 755 2:2 z/one = y*1000\nh a/two = z/one",
        EPOCH,
        [
            "7b5c82f6b151d7293383664471d807bc9de4440abc89d1e3fbe39e5ac7f3df5e",
            "55fda227aea18de6d3debcd9f5b0ed74c125d8211c5aa520c33472c39d16981a",
            "c82ff1ad07e7cf3f59542caa920ad6ed1a065bfdb4619c24d3123111dffcf87c",
        ],
    ),
    (
        "long names",
        "",
        "f 644 0:0 dddddddddddddddddddddddddddddddddddddddddddddddddd/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee/name = prefix\n\
         f 644 0:0 nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn = pax\n\
         l 0:0 l = tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt\n\
         f 644 0:0 \u{fc}ml\u{e4}ut = raw",
        EPOCH,
        [
            "d7923adc8b88cea8586dcf58c6c49cab01fc2e3b2f412889d33048489a8df97b",
            "e7ef2ddebfe4193a7ac1489f64e00ff6fb6156039eaca43f63c590e5e6cc9035",
            "16e41344afde196e0984dd8abdd0f20a725a5b25595374a770c0c8f1eb3cfe2b",
        ],
    ),
    (
        "large numbers",
        "",
        "f 644 2097151:2097151 fits = x\nf 644 2097152:4294967295 not = x\nc 600 0:0 dev = 4095,1048575",
        -1,
        [
            "bc01bcaaf555f565dc66f936112f2c07f9f823b42be2695239f51445e1964ac2",
            "c93ba495eb629a5c9709d3b65fabe00f1498d975a5f77ffe4a83c3e74dfbecbd",
            "6f77767f7f7fbf18c3e1caee3a24577c9974d30e057c27a554e35179dd019dc4",
        ],
    ),
    (
        "attributes",
        "",
        "f 755 0:0 ping = x\nx ping = security.capability abcdefgh\nx ping = user.note b\nx ping = user.a b c",
        0,
        [
            "1a76606a5d58f7e731b50df8412a5c9c4744ae48462663b139af349f3cfbe6c9",
            "5c53f470b514de89b277fe6449ecfd39cfc12c599b6468b030b44bfb35df99e5",
            "15cf0e14e89a12ed02d6c9ecc98d9edaad2ce69168842860ab1521011d4d73da",
        ],
    ),
    (
        "root",
        "d 755 0:0 /",
        "d 1750 5:5 /\nf 644 0:0 a = b",
        EPOCH,
        [
            "0c24a2651f88bf33165ee1f2a2910bc13d3f53f64db8c8dafae37e27dacb9f5e",
            "6fdd0de8d55886ee4df74680ed92f3e16fd80f2264a9370e59352dfdc831b8d5",
            "d4a0c99772d8fb185269068cfe821cb1cafcc5ff8c7645ae8d2bdaa2ec503ebc",
        ],
    ),
    (
        "several segments",
        "",
        "f 644 0:0 a = the quick brown fox *40000\nf 644 0:0 b = jumps over *120000\nf 644 0:0 c/d = the lazy dog *300000\n\
         f 644 0:0 e = 0123456789abcdef*70000\nf 644 0:0 f = x*1500000\nf 644 0:0 g = yz*500000",
        EPOCH,
        [
            "ebb5ba47400f13b4feb0734809e38cefe5ba76273cf602910454e5693f8e8cb2",
            "bc9d3165a5b5a51903abb49b8e300ce892bd1ef5082a04063f1f52efc65b3281",
            "e0344563c466b944df02071513d03955b52489bcb98011953f343c4122b613f3",
        ],
    ),
];

/// Text with some variety: 1.5 MB that match finders have work with.
fn varied() -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::new();
    while bytes.len() < 1_500_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(format!("{:x} the line {} ", state >> 20, state >> 28).as_bytes());
        if state >> 27 == 3 {
            let from = (state >> 8) as usize % bytes.len();
            let again = bytes[from..bytes.len().min(from + 300)].to_vec();
            bytes.extend_from_slice(&again);
        }
    }
    bytes
}

// L-41, L-42, L-44
#[test]
fn encoders_have_golden_digests() {
    let varied = varied();
    let found =
        ALL.map(|compression| Digest::of(&codec::encode_segment(compression, &varied).unwrap()).hex());
    let expected = [
        "730aaffc2dddfc7a1b54930a0a13512c1359dce98146b730091f57b7eebdfdac",
        "22f11730324fdffd2c207143727a7db58a7976d2d8cb3ddb8e6218508ab8d833",
        "bb99443f1e83d3dd1902d4d54d85a38a5b84c744b5bef84e7798c8b6d17a5695",
    ];
    assert_eq!(found, expected);
}

// L-1, L-44, L-45
#[test]
fn layers_have_golden_digests() {
    let mut wrong = String::new();
    for (name, lower, upper, epoch, expected) in GOLDEN {
        let objects = MemoryObjects::new();
        let (lower, upper) = (tree(lower, &objects), tree(upper, &objects));
        let changes = diff(&lower, &upper, Compare::IgnoreMtime).with_ancestors(&upper);
        let found = ALL.map(|compression| {
            let options = EncodeOptions { epoch, ..options(compression) };
            encode_layer(&changes, &objects, &objects, &NoSegmentCache, &options).unwrap()
        });
        let [plain, gzip, zstd] = &found;
        // Without compression the blob is the stream.
        assert_eq!(plain.digest, plain.diff_id.0);
        assert!(gzip.diff_id == plain.diff_id && zstd.diff_id == plain.diff_id);
        let digests = [plain, gzip, zstd].map(|layer| layer.digest.hex());
        if digests != expected {
            wrong += &format!("{name}: {} parts {digests:#?}\n", plain.parts.len());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

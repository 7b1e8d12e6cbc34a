use std::os::unix::fs::FileExt as _;
use std::process::Command;

use proptest::prelude::*;
use rebit_oci::object::{MemoryObjects, ObjectSource};

use super::*;
use crate::{Tree, testing};

/// The image of a whole tree, with its contents end to end in one data file.
fn whole(text: &str) -> (Vec<u8>, Vec<u8>) {
    let objects = MemoryObjects::new();
    let tree = testing::tree(text, &objects);
    whole_tree(&tree, &objects)
}

fn whole_tree(tree: &Tree, objects: &MemoryObjects) -> (Vec<u8>, Vec<u8>) {
    let changes = Changeset::full(tree);
    let mut data = Vec::new();
    let mut places = BTreeMap::new();
    for (_, node) in tree.iter() {
        if let Kind::File { object, size, .. } = &node.kind
            && *size > 0
        {
            let block = u32::try_from(data.len() / BLOCK).unwrap();
            places.insert(*object, Place { file: 0, block });
            data.extend(&objects.read(object).unwrap()[..]);
            data.resize(data.len().next_multiple_of(BLOCK), 0);
        }
    }
    let blocks = u32::try_from(data.len() / BLOCK).unwrap();
    let image = image(&changes, tree.root(), &[blocks], |object| places.get(object).copied()).unwrap();
    (image, data)
}

fn many(count: usize) -> String {
    (0..count).map(|number| format!("f 644 0:0 many/{number:0>40} = x\n")).collect()
}

const KINDS: &str = "
    d 755 1:2 a
    f 640 3:4 a/file = hello
    h a/again = a/file
    f 4755 0:0 a/large = 0123456789abcdef*10000
    f 644 0:0 a/empty =
    l 0:0 a/link = file
    d 700 70000:80000 a/!first
    c 620 0:5 a/tty = 5,300
    p 600 0:0 a/pipe
    x a/file = user.note value
    x a = user.other of-a-directory
";

#[test]
fn an_image_begins_with_the_magic_number_and_is_whole_blocks() {
    let (image, _) = whole(KINDS);
    assert_eq!(image.len() % BLOCK, 0);
    assert_eq!(image[1024..1028], [0xe2, 0xe1, 0xf5, 0xe0]);
}

#[test]
fn the_same_changes_make_the_same_image() {
    let text = format!("{KINDS}\n{}", many(300));
    assert!(whole(&text).0 == whole(&text).0);
}

/// What `fsck.erofs` says against an image: nothing when it is fine. It reads every content.
fn faults(image: &[u8], data: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (at, beside) = (directory.path().join("image"), directory.path().join("data"));
    std::fs::write(&at, image).unwrap();
    std::fs::write(&beside, data).unwrap();
    let out =
        Command::new("fsck.erofs").arg("--device").arg(&beside).arg("--extract").arg(&at).output().unwrap();
    if out.status.success() {
        return String::new();
    }
    String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout)
}

fn has_fsck() -> bool {
    let there = Command::new("fsck.erofs").arg("-V").output().is_ok();
    if !there {
        testing::skipped(format_args!("needs fsck.erofs"));
    }
    there
}

#[test]
fn the_tools_of_the_file_system_find_no_fault() {
    if !has_fsck() {
        return;
    }
    let long = format!("l 0:0 long = {}\nd 755 0:0 empty\n", "t".repeat(4095));
    for text in [String::new(), KINDS.to_owned(), many(700), long] {
        let (image, data) = whole(&text);
        assert_eq!(faults(&image, &data), "", "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nor_in_any_tree(tree in testing::random_tree()) {
        if has_fsck() {
            let (image, data) = whole_tree(&tree, &testing::random_objects());
            prop_assert_eq!(faults(&image, &data), "");
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let objects = MemoryObjects::new();
    let tree = testing::tree("f 644 0:0 a = x\n", &objects);
    let changes = Changeset::full(&tree);
    let make = |files: &[u32]| image(&changes, tree.root(), files, |_| None);
    assert_eq!(make(&[1]), Err(ErofsError::NoPlace { path: testing::path("a") }));
    assert_eq!(make(&[1; 17]), Err(ErofsError::DataFiles { count: 17 }));
    let mut orphan = Changeset::new();
    orphan.insert(testing::path("a/b"), Change::Remove);
    let result = image(&orphan, tree.root(), &[], |_| None);
    assert_eq!(result, Err(ErofsError::NoDirectory { path: testing::path("a/b") }));
}

#[test]
fn a_content_is_found_where_the_inode_says() {
    let (image, data) = whole("f 644 0:0 a = 0123456789abcdef*600\nf 644 0:0 b = second\n");
    // The extent of `b` begins after the three blocks of `a`.
    let at = image.windows(8).position(|index| index == [0, 0, 1, 0, 3, 0, 0, 0]);
    assert!(at.is_some());
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&data, 0).unwrap();
    let mut read = [0; 6];
    file.read_exact_at(&mut read, 3 * BLOCK_SIZE).unwrap();
    assert_eq!(&read, b"second");
}

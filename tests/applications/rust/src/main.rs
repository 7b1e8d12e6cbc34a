//! Counts the letters of its arguments.

fn main() {
    let mut buffer = itoa::Buffer::new();
    for word in std::env::args().skip(1) {
        println!("{word} {}", buffer.format(word.chars().count()));
    }
}

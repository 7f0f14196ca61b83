//! The yardstick of `benches/ratios.rs`: the least that a program of this language can do.

fn main() {
    println!("hello");
}

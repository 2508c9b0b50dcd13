//! Panics in the way that its argument names; the report shows message and place.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use uio_extension::{Arguments, println};

uio_extension::main!(run);

fn run(arguments: Arguments) -> i32 {
    let numbers: Vec<u32> = (1..=3).collect();
    let count = arguments.len();
    match arguments.last() {
        Some("index") => black_box(numbers[black_box(7)]) as i32,
        Some("panic") => panic!("asked to, with {count} arguments"),
        Some("unwrap") => black_box(None::<i32>).unwrap(),
        Some("divide") => 1 / black_box(0),
        Some("memory") => black_box(Vec::<u8>::with_capacity(black_box(1 << 40))).len() as i32,
        _ => {
            println!("usage: rust_panic index|panic|unwrap|divide|memory");
            2
        }
    }
}

//! Prints its arguments and the guest's threads, sorted by CPU time.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use core::cmp::Reverse;

use uio_extension::{Arguments, Thread, println};

uio_extension::main!(run);

/// More threads than small guests have.
const THREADS_MAX: usize = 64;

fn run(arguments: Arguments) -> i32 {
    println!("hello from Rust, {:?} after boot", uio_extension::time());
    for (index, argument) in arguments.enumerate() {
        println!("  argument {index} is {argument:?}");
    }
    let mut threads = vec![Thread::default(); THREADS_MAX];
    let count = uio_extension::threads(&mut threads);
    threads.truncate(count);
    threads.sort_by_key(|thread| Reverse(thread.0.cpu_time_ns));
    for thread in &threads {
        println!("{:>12} ns  {:<16} {:?}", thread.0.cpu_time_ns, thread.name(), thread.state());
    }
    if count > THREADS_MAX {
        println!("and {} more", count - THREADS_MAX);
    }
    0
}

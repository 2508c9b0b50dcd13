//! What Rust code makes objects hold: vtables, slices with bounds checks, matches, statics, generics.

use core::sync::atomic::{AtomicU64, Ordering};

unsafe extern "C" {
    fn host_mix(value: u64) -> u64;
}

static COUNTER: AtomicU64 = AtomicU64::new(7);
static WORDS: [&str; 6] = ["zero", "one", "two", "three", "four", "a much longer one"];
static FUNCTIONS: [fn(u64) -> u64; 3] = [double, Shape::<3>::scale, mixed];

trait Area {
    fn area(&self, unit: u64) -> u64;
    fn name(&self) -> &'static str {
        "unnamed"
    }
}

struct Square(u64);
struct Shape<const SIDES: u64>(u64);

impl Area for Square {
    fn area(&self, unit: u64) -> u64 {
        self.0.wrapping_mul(self.0).wrapping_mul(unit)
    }
    fn name(&self) -> &'static str {
        "square"
    }
}

impl<const SIDES: u64> Area for Shape<SIDES> {
    fn area(&self, unit: u64) -> u64 {
        self.0.wrapping_mul(SIDES).wrapping_add(unit)
    }
}

impl<const SIDES: u64> Shape<SIDES> {
    fn scale(value: u64) -> u64 {
        value.wrapping_mul(SIDES)
    }
}

fn double(value: u64) -> u64 {
    value.wrapping_mul(2)
}

#[inline(never)]
fn mixed(value: u64) -> u64 {
    // SAFETY: the host's function takes and returns an integer, and has no other effect.
    unsafe { host_mix(value) }
}

#[inline(never)]
fn classify(value: u64) -> &'static str {
    match value % 9 {
        0 => "nought",
        1 => WORDS[1],
        2 => "a pair",
        3 => "three of them",
        4 => WORDS[4],
        5 => "five",
        6 => "half a dozen",
        7 => "seven",
        _ => "many",
    }
}

#[inline(never)]
fn sorted(seed: u64) -> [u64; 17] {
    let mut values = [0; 17];
    let mut state = seed;
    for value in &mut values {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *value = state >> 40;
    }
    for end in (1..values.len()).rev() {
        for index in 0..end {
            if values[index] > values[index + 1] {
                values.swap(index, index + 1);
            }
        }
    }
    values
}

/// Computes something from `seed` and the calls before.
#[unsafe(no_mangle)]
pub extern "C" fn rust_run(seed: u64) -> u64 {
    let shapes: [&dyn Area; 3] = [&Square(seed), &Shape::<5>(seed), &Shape::<6>(3)];
    let mut sum = COUNTER.fetch_add(1, Ordering::Relaxed);
    for (index, shape) in shapes.iter().enumerate() {
        let step = FUNCTIONS[(seed as usize + index) % FUNCTIONS.len()];
        sum =
            sum.wrapping_mul(31).wrapping_add(step(shape.area(seed))).wrapping_add(shape.name().len() as u64);
    }
    for byte in classify(seed).bytes().chain(WORDS[seed as usize % WORDS.len()].bytes()) {
        sum = sum.wrapping_mul(131).wrapping_add(u64::from(byte));
    }
    let values = sorted(seed);
    sum ^= values[seed as usize % values.len()];
    let product = u128::from(sum) * u128::from(seed | 1);
    (product >> 64) as u64 ^ product as u64
}

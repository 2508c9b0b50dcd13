//! A tenant's program for MorphOS: section `bpffilter`, function `main`, legacy maps, a constant, a panic that cannot
//! happen.
#![no_std]
#![no_main]

/// What the program is called with.
#[repr(C)]
pub struct Context {
    data: u64,
    data_end: u64,
    port: u32,
}

/// A map.
#[repr(C)]
pub struct Definition {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    id: u32,
    pinning: u32,
}

const HASH: u32 = 1;
const ARRAY: u32 = 2;

const fn map(kind: u32, key_size: u32, value_size: u32, max_entries: u32) -> Definition {
    Definition { kind, key_size, value_size, max_entries, map_flags: 0, id: 0, pinning: 0 }
}

#[unsafe(link_section = "maps")]
#[unsafe(no_mangle)]
static mut PKTCOUNTER: Definition = map(ARRAY, 4, 8, 2);

#[unsafe(link_section = "maps")]
#[unsafe(no_mangle)]
static mut CONNECTIONS: Definition = map(HASH, 16, 12, 1028);

static NEEDLE: [u8; 8] = *b"leetcode";

fn lookup<Key, Value>(map: *mut Definition, key: &Key) -> Option<&'static mut Value> {
    type Helper<Key, Value> = unsafe extern "C" fn(*mut Definition, *const Key) -> *mut Value;
    // SAFETY: helper 1 has this signature.
    unsafe { core::mem::transmute::<usize, Helper<Key, Value>>(1)(map, key).as_mut() }
}

#[inline(never)]
fn mixed(left: u32, right: u32) -> u32 {
    (left ^ right).rotate_left(7).wrapping_mul(0x9e37_79b1)
}

/// Passes packets that do not begin with the needle; `bytes[index]` may not panic, as the compiler sees.
#[unsafe(link_section = "bpffilter")]
#[unsafe(no_mangle)]
pub extern "C" fn main(context: &Context) -> u32 {
    if context.data + 8 > context.data_end {
        return 0;
    }
    // SAFETY: these bytes are there, see above.
    let bytes = unsafe { core::slice::from_raw_parts(context.data as *const u8, 8) };
    let mut same = 0;
    for index in 0..NEEDLE.len() {
        // SAFETY: a static. Volatile, so that it is not a constant of the code.
        if unsafe { core::ptr::read_volatile(&NEEDLE[index]) } == bytes[index] {
            same += 1;
        }
    }
    if let Some(count) = lookup::<u32, u64>(&raw mut PKTCOUNTER, &0) {
        *count += u64::from(mixed(same, context.port));
    }
    if let Some(connection) = lookup::<[u32; 4], [u32; 3]>(&raw mut CONNECTIONS, &[same, 0, 0, context.port]) {
        connection[0] += 1;
    }
    if same == 8 { 1 } else { 2 }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

//! An ELF object that a person wants to load: any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = uio_objects::parse(data, "fuzz");
});

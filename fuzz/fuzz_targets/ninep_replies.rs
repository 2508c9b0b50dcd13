//! Replies of a 9P server: any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = uio_files::ninep::exercise::replies::<parking_lot::RawMutex>(data);
});

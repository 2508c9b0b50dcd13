//! An eBPF object that a person wants to load: any bytes. What is read is rewritten for our context as well.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uio_bpf_objects::{TypeInfo, key_type, linux_context, parse, parse_flat, value_type};

fuzz_target!(|data: &[u8]| {
    let _ = parse_flat(data, "fuzz", 64);
    if let Ok(info) = TypeInfo::decode(data) {
        let _ = info.render(data);
    }
    let Ok(mut object) = parse(data, "fuzz") else { return };
    for map in &object.image.maps {
        for info in [key_type(map), value_type(map)] {
            let _ = info.render(&map.initial);
            let _ = info.parse("{ 1, { 2 } }");
        }
    }
    let _ = linux_context::convert(&mut object);
});

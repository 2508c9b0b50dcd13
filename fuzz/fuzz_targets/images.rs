//! An uploaded extension: any bytes. The linker refuses it or links it; it never panics or writes outside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uio_linker::{Bases, Resolver, Target, link, plan};
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::ExtensionImage;

/// Knows one function, as a guest would.
struct OneExport;

impl Resolver for OneExport {
    fn resolve(&self, name: &str, hint: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
        Ok(match name {
            "uio_print" => Some(Target::Address(GuestAddress(0xffff_ffff_8020_0000))),
            _ => hint.map(Target::Address),
        })
    }

    fn candidates(&self, visit: &mut dyn FnMut(&str)) {
        visit("uio_print");
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(image) = postcard::from_bytes::<ExtensionImage>(data) else { return };
    let Ok(plan) = plan(&image, &OneExport) else { return };
    let bases = Bases {
        text: GuestAddress(0xffff_ffff_c000_1000),
        read_only: GuestAddress(0xffff_ffff_d000_1000),
        data: GuestAddress(0xffff_ffff_e000_1000),
    };
    let pages = plan.pages();
    if let Ok(linked) = link(&plan, bases) {
        assert!(linked.text.len() <= pages.text as usize * 4096);
        assert!(linked.read_only.len() <= pages.read_only as usize * 4096);
        assert!(linked.data.len() <= pages.data as usize * 4096);
    }
});

//! Who this guest is: its image's build-id and the machine.

/// Build-id of the image: from the note that the linker makes.
#[cfg(not(test))]
#[must_use]
pub fn build_id() -> [u8; 20] {
    unsafe extern "C" {
        static __build_id_note: [u8; 36];
    }
    // SAFETY: the linker script puts the note there: 12 bytes of header, "GNU\0", 20 bytes of id.
    let note = unsafe { &__build_id_note };
    let mut id = [0; 20];
    id.copy_from_slice(&note[16..]);
    id
}

/// A test process has none.
#[cfg(test)]
#[must_use]
pub fn build_id() -> [u8; 20] {
    [0; 20]
}

/// The kind of machine, by what its buses show.
#[must_use]
pub fn machine() -> &'static str {
    if crate::virtio::has_pci() { "q35" } else { "microvm" }
}

//! The bytes that a domain calls to leave through a gate.

use crate::backend::Backend;
use crate::scan::{Finding, Policy, scan};

/// Room for the longest stub.
pub const STUB_BYTES_MAX: usize = 32;

/// Gates that can be named. Far more than a kernel exports; with the upper half zero or all ones, an index or
/// its complement is free of forbidden sequences.
pub const GATE_INDEX_MAX: u32 = 0xffff;

/// The interrupt vector of the gate from ring 3.
pub const RING3_VECTOR: u8 = 0x81;

/// Where a stub leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StubKind {
    /// To the gate of this crate in the same ring.
    Ring0(Backend),
    /// By [`RING3_VECTOR`] to the kernel's handler, which finds the index in `eax` and the arguments in their
    /// registers (`rcx` included: `int`, unlike `syscall`, keeps it), and returns in `rax`.
    Ring3,
}

/// Code of a stub. Position-independent; put it into the domain's text, executable and read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    bytes: [u8; STUB_BYTES_MAX],
    length: usize,
}

impl Stub {
    const EMPTY: Self = Self { bytes: [0; STUB_BYTES_MAX], length: 0 };

    /// The code.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    // At most 5 + 2 + 10 + 3 + 3 bytes are pushed, which fit.
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

/// Why there is no stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StubError {
    /// The index is above [`GATE_INDEX_MAX`].
    IndexTooLarge {
        /// The index.
        gate_index: u32,
    },
    /// Every encoding holds a forbidden sequence, because of the gate's address.
    Forbidden {
        /// What the last encoding tried holds.
        finding: Finding,
    },
}

/// Makes the stub of a gate. Clobbers `rax` and `r11`, as any call may; at most [`STUB_BYTES_MAX`] bytes.
///
/// # Errors
/// [`StubError`].
pub fn stub(kind: StubKind, gate_index: u32) -> Result<Stub, StubError> {
    let (address, policy) = match kind {
        StubKind::Ring0(backend) => (Some(super::routines(backend).entry), Policy::Ring0Strict),
        StubKind::Ring3 => (None, Policy::Ring3),
    };
    assemble(address, policy, gate_index)
}

fn assemble(address: Option<u64>, policy: Policy, gate_index: u32) -> Result<Stub, StubError> {
    if gate_index > GATE_INDEX_MAX {
        return Err(StubError::IndexTooLarge { gate_index });
    }
    let mut last = None;
    for (complement_index, complement_address) in [(false, false), (true, false), (false, true), (true, true)]
    {
        let candidate = encode(address, gate_index, complement_index, complement_address);
        match scan(candidate.as_bytes(), policy).next() {
            None => return Ok(candidate),
            Some(finding) => last = Some(finding),
        }
    }
    match last {
        Some(finding) => Err(StubError::Forbidden { finding }),
        // Unreachable: the loop ran and did not return.
        None => Err(StubError::IndexTooLarge { gate_index }),
    }
}

fn encode(address: Option<u64>, gate_index: u32, complement_index: bool, complement_address: bool) -> Stub {
    let mut stub = Stub::EMPTY;
    stub.push(&[0xb8]); // mov eax, imm32
    if complement_index {
        stub.push(&(!gate_index).to_le_bytes());
        stub.push(&[0xf7, 0xd0]); // not eax
    } else {
        stub.push(&gate_index.to_le_bytes());
    }
    let Some(address) = address else {
        stub.push(&[0xcd, RING3_VECTOR, 0xc3]); // int; ret
        return stub;
    };
    stub.push(&[0x49, 0xbb]); // movabs r11, imm64
    if complement_address {
        stub.push(&(!address).to_le_bytes());
        stub.push(&[0x49, 0xf7, 0xd3]); // not r11
    } else {
        stub.push(&address.to_le_bytes());
    }
    stub.push(&[0x41, 0xff, 0xe3]); // jmp r11
    stub
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL_TEXT: u64 = 0xffff_ffff_8010_0040;

    #[test]
    fn encodes_the_usual_case() {
        let stub = assemble(Some(KERNEL_TEXT), Policy::Ring0Strict, 7).unwrap();
        let expected =
            [0xb8, 7, 0, 0, 0, 0x49, 0xbb, 0x40, 0x00, 0x10, 0x80, 0xff, 0xff, 0xff, 0xff, 0x41, 0xff, 0xe3];
        assert_eq!(stub.as_bytes(), expected);
        let ring3 = stub_bytes_of_ring3(0x1234);
        assert_eq!(ring3.as_bytes(), [0xb8, 0x34, 0x12, 0, 0, 0xcd, 0x81, 0xc3]);
    }

    fn stub_bytes_of_ring3(index: u32) -> Stub {
        stub(StubKind::Ring3, index).unwrap()
    }

    #[test]
    fn every_index_has_a_clean_stub() {
        for index in 0..=GATE_INDEX_MAX {
            for (address, policy) in [(Some(KERNEL_TEXT), Policy::Ring0Strict), (None, Policy::Ring3)] {
                let stub = assemble(address, policy, index).unwrap();
                assert_eq!(scan(stub.as_bytes(), policy).next(), None, "{index:#x}");
            }
        }
        // 0x300f would be `wrmsr`.
        let avoided = assemble(Some(KERNEL_TEXT), Policy::Ring0Strict, 0x300f).unwrap();
        assert_eq!(avoided.as_bytes()[..7], [0xb8, 0xf0, 0xcf, 0xff, 0xff, 0xf7, 0xd0]);
    }

    #[test]
    fn an_address_that_spells_wrpkru_is_complemented() {
        let stub = assemble(Some(0xffff_ffff_ef01_0f00), Policy::Ring0Strict, 1).unwrap();
        assert!(stub.as_bytes().ends_with(&[0x49, 0xf7, 0xd3, 0x41, 0xff, 0xe3]));
        assert!(stub.as_bytes().len() <= STUB_BYTES_MAX);
    }

    #[test]
    fn hopeless_addresses_and_large_indices_are_errors() {
        // wrmsr in the address, and the complement of wrmsr too.
        let hopeless = u64::from_le_bytes([0x0f, 0x30, 0xf0, 0xcf, 0, 0, 0, 0]);
        let error = assemble(Some(hopeless), Policy::Ring0Strict, 1).unwrap_err();
        assert!(matches!(error, StubError::Forbidden { .. }));
        let error = assemble(Some(KERNEL_TEXT), Policy::Ring0Strict, 0x1_0000);
        assert_eq!(error, Err(StubError::IndexTooLarge { gate_index: 0x1_0000 }));
    }
}

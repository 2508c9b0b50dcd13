//! eBPF for tests: programs written in slots, objects and packages made of them.

use uio_protocol::bpf::{MapKind, MapSpec, ObjectImage, ProgramImage, ProgramKind};
use uio_protocol::error::RpcError;
use uio_protocol::event::Event;
use uio_protocol::fault::Outcome;
use uio_protocol::maps::{MapEntry, MapId, MapInfo};
use uio_protocol::programs::{ProgramId, ProgramInfo, TestRun};
use uio_protocol::rpc::{Reply, Request, RunId};
use uio_verifier::Proof;
use uio_verifier::certificate::encode_package;

use super::Shell;

/// `r0 = 2; exit`
pub(crate) const PASS: [u64; 2] = [0x0000_0002_0000_00b7, EXIT];

/// `exit`
pub(crate) const EXIT: u64 = 0x95;

/// `r0 = 0`
pub(crate) const ZERO: u64 = 0xb7;

/// Loads the address of a map into a register.
pub(crate) fn load_map(register: u64, map: u32) -> [u64; 2] {
    [0x5018 | register << 8 | u64::from(map) << 32, 0]
}

/// Puts a key of 4 bytes at the top of the stack and its address into R2.
pub(crate) fn key_on_stack(key: u32) -> [u64; 3] {
    // *(u32 *)(r10-4) = key; r2 = r10; r2 += -4
    [0x0000_0000_fffc_0a62 | u64::from(key) << 32, 0xa2bf, 0xffff_fffc_0000_0207]
}

/// Calls a helper.
pub(crate) fn call(helper: u32) -> u64 {
    0x85 | u64::from(helper) << 32
}

/// Adds 1 to the value of 8 bytes at key 0 of map 0 and returns what it was; 0 without such an entry.
pub(crate) fn count() -> Vec<u64> {
    let mut slots = load_map(1, 0).to_vec();
    slots.extend(key_on_stack(0));
    // if r0 == 0 goto +5
    slots.extend([call(1), 0x0000_0000_0005_0015]);
    // r1 = *(u64 *)r0; r2 = r1; r2 += 1; *(u64 *)r0 = r2; r0 = r1; exit; r0 = 0; exit
    slots.extend([0x0179, 0x12bf, 0x0000_0001_0000_0207, 0x207b, 0x10bf, EXIT, ZERO, EXIT]);
    // The jump goes behind the first exit.
    slots[6] = 0x0000_0000_0006_0015;
    slots
}

pub(crate) fn program(name: &str, kind: ProgramKind, slots: &[u64]) -> ProgramImage {
    let (name, target) = (name.to_string(), String::new());
    ProgramImage { name, kind, target, slots: slots.to_vec(), functions: vec![0] }
}

pub(crate) fn object(maps: Vec<MapSpec>, programs: Vec<ProgramImage>) -> ObjectImage {
    ObjectImage { name: "object".to_string(), maps, programs }
}

/// A map with keys of 4 and values of 8 bytes.
pub(crate) fn map(name: &str, kind: MapKind, max_entries: u32, pinned: bool) -> MapSpec {
    MapSpec {
        name: name.to_string(),
        kind,
        key_bytes: 4,
        value_bytes: 8,
        max_entries,
        flags: 0,
        read_only: false,
        pinned,
        inner: None,
        initial: Vec::new(),
        key_type: Vec::new(),
        value_type: Vec::new(),
    }
}

/// A package without certificate. The programs' paths never meet, so that their proofs say nothing.
pub(crate) fn package(object: &ObjectImage) -> Vec<u8> {
    let proofs = vec![Proof::default().encode(); object.programs.len()];
    encode_package(None, &postcard::to_allocvec(object).unwrap(), &proofs).unwrap()
}

pub(crate) const SESSION: u32 = 1;

/// Requests about eBPF.
impl Shell {
    pub(crate) fn try_programs(
        &mut self,
        object: &ObjectImage,
        interpret: bool,
    ) -> Result<Vec<ProgramInfo>, RpcError> {
        let upload = self.upload(SESSION, &package(object));
        match self.ask(SESSION, &Request::LoadPrograms { upload, name: None, interpret, rollback: false })? {
            Reply::Programs { programs, more: false } => Ok(programs),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn load_programs(&mut self, object: &ObjectImage, interpret: bool) -> Vec<ProgramInfo> {
        self.try_programs(object, interpret).unwrap()
    }

    pub(crate) fn programs(&mut self) -> Vec<ProgramInfo> {
        match self.ask(SESSION, &Request::Programs { skip: 0 }) {
            Ok(Reply::Programs { programs, more: false }) => programs,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn maps(&mut self) -> Vec<MapInfo> {
        match self.ask(SESSION, &Request::Maps { skip: 0 }) {
            Ok(Reply::Maps { maps, more: false }) => maps,
            other => panic!("{other:?}"),
        }
    }

    /// Runs a program on data.
    pub(crate) fn test(&mut self, program: ProgramId, data: &[u8], repeat: u32) -> TestRun {
        let request = Request::TestProgram { program, data: data.to_vec(), repeat, budget_ms: 1000 };
        let run = self.start(SESSION, &request);
        self.tested(run)
    }

    /// What came of a test.
    pub(crate) fn tested(&mut self, run: RunId) -> TestRun {
        let (_, outcome) = self.finish(SESSION, run);
        let found = self.events.iter().find_map(|(_, event)| match event {
            Event::Tested { run: tested, test } if *tested == run => Some(test.clone()),
            _ => None,
        });
        let test = found.unwrap_or_else(|| panic!("no result, {outcome:?}"));
        assert_eq!(outcome, Outcome::Returned(test.value.cast_signed()));
        test
    }

    pub(crate) fn unload_program(&mut self, program: ProgramId) -> Result<(), RpcError> {
        self.ask(SESSION, &Request::UnloadProgram(program)).map(|reply| assert_eq!(reply, Reply::Done))
    }

    pub(crate) fn map_entries(&mut self, map: MapId) -> Vec<MapEntry> {
        let mut all = Vec::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            match self.ask(SESSION, &Request::MapEntries { map, cursor: from }) {
                Ok(Reply::MapEntries { entries, next }) => {
                    all.extend(entries);
                    cursor = next;
                }
                other => panic!("{other:?}"),
            }
        }
        all
    }

    pub(crate) fn map_update(
        &mut self,
        map: MapId,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> Result<Reply, RpcError> {
        let (key, value) = (key.to_vec(), value.to_vec());
        self.ask(SESSION, &Request::MapUpdate { map, key, value, flags })
    }

    pub(crate) fn map_lookup(&mut self, map: MapId, key: &[u8]) -> Result<Vec<u8>, RpcError> {
        match self.ask(SESSION, &Request::MapLookup { map, key: key.to_vec(), offset: 0 })? {
            Reply::Bytes(bytes) => Ok(bytes),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn map_delete(&mut self, map: MapId, key: &[u8]) -> Result<Reply, RpcError> {
        self.ask(SESSION, &Request::MapDelete { map, key: key.to_vec() })
    }
}

//! eBPF programs: loaded whole or not at all, run by both engines, shown, removed.

use uio_protocol::bpf::{MapKind, ProgramKind};
use uio_protocol::error::RpcError;
use uio_protocol::fault::Outcome;
use uio_protocol::programs::{Engine, ProgramError, ProgramId, ProgramPart};
use uio_protocol::rpc::{Reply, Request};

use crate::support::bpf::{EXIT, PASS, SESSION, ZERO, call, count, load_map, map, object, package, program};
use crate::support::{Shell, with_machine};

const RAW: ProgramKind = ProgramKind::Raw { memory_bytes: 16 };

fn pass() -> uio_protocol::bpf::ObjectImage {
    object(vec![], vec![program("pass", ProgramKind::Packet, &PASS)])
}

fn refused(error: RpcError) -> ProgramError {
    match error {
        RpcError::Program(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_is_loaded_run_counted_and_unloaded() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let before = shell.pages();
        for interpret in [false, true] {
            let info = shell.load_programs(&pass(), interpret).remove(0);
            assert_eq!(
                (info.name.as_str(), info.kind, info.slots, info.run_count),
                ("pass", ProgramKind::Packet, 2, 0)
            );
            assert_eq!(info.engine, if interpret { Engine::Interpreter } else { Engine::Jit });
            assert_eq!(info.code_bytes == 0, interpret);
            let test = shell.test(info.id, b"a packet of some length", 1);
            assert_eq!((test.value, test.runs, test.stopped), (2, 1, None));
            assert_eq!(test.data, b"a packet of some length");
            let test = shell.test(info.id, &[], 1000);
            assert_eq!((test.runs, test.data), (1000, vec![0; 64]));
            let counted = shell.programs().remove(0);
            assert_eq!((counted.run_count, counted.running, counted.faults), (1001, 0, 0));
            assert!(counted.run_time_ns > 0);
            shell.unload_program(info.id).unwrap();
            assert_eq!(shell.programs(), []);
            assert_eq!(shell.unload_program(info.id), Err(RpcError::NoProgram(info.id)));
        }
        assert_eq!(shell.pages(), before, "pages are lost");
    });
}

#[test]
fn code_is_executable_and_not_writable() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let info = shell.load_programs(&pass(), false).remove(0);
        let regions = shell.machine.state().space.regions();
        let code = regions.iter().find(|region| region.start == info.code).expect("a region");
        assert_eq!(code.owner, "program pass code");
        assert!(code.access.execute && !code.access.write);
    });
}

#[test]
fn what_the_guest_keeps_is_shown() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let info = shell.load_programs(&pass(), false).remove(0);
        let mut dump = |part, offset| match shell
            .ask(SESSION, &Request::ProgramDump { program: info.id, part, offset })
        {
            Ok(Reply::Bytes(bytes)) => bytes,
            other => panic!("{other:?}"),
        };
        let slots: Vec<u8> = PASS.iter().flat_map(|slot| slot.to_le_bytes()).collect();
        assert_eq!(dump(ProgramPart::Instructions, 0), slots);
        assert_eq!(dump(ProgramPart::Instructions, 8), slots[8..]);
        assert_eq!(dump(ProgramPart::Instructions, 16), []);
        let code = dump(ProgramPart::Code, 0);
        assert_eq!(code.len(), info.code_bytes as usize);
        assert_eq!(code.last(), Some(&0xc3), "machine code ends with a return");
        assert_eq!(dump(ProgramPart::Code, info.code_bytes), []);
        assert_eq!(dump(ProgramPart::CodeOffsets, 0).len(), 2 * 4);
        assert_eq!(dump(ProgramPart::Proof, 0).len(), info.proof_bytes as usize);
        assert_eq!(dump(ProgramPart::Proof, u32::MAX), []);
    });
}

#[test]
fn loading_is_all_or_nothing() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let before = shell.pages();
        let good = || program("good", RAW, &PASS);
        // Falls off its end; reads what is not there; leaks R1.
        let bad = [
            program("end", RAW, &[ZERO]),
            program("read", RAW, &[0x0000_0000_0100_1079, EXIT]),
            program("pointer", RAW, &[0x10bf, EXIT]),
            program("empty", RAW, &[]),
        ];
        for bad in bad {
            let name = bad.name.clone();
            let maps = vec![map("counts", MapKind::Hash, 16, true)];
            let error = shell.try_programs(&object(maps, vec![good(), bad]), false).unwrap_err();
            match refused(error) {
                ProgramError::Unproven { program, .. } => assert_eq!(program, name),
                other => panic!("{name}: {other:?}"),
            }
            assert_eq!((shell.programs().len(), shell.maps().len(), shell.pages()), (0, 0, before), "{name}");
        }
        // The second map cannot be made.
        let maps = vec![map("good", MapKind::Hash, 16, true), map("bad", MapKind::Hash, 0, true)];
        let error = shell.try_programs(&object(maps, vec![good()]), false).unwrap_err();
        assert!(matches!(refused(error), ProgramError::BadMap { map, .. } if map == "bad"));
        assert_eq!((shell.maps().len(), shell.pages()), (0, before));
    });
}

#[test]
fn without_memory_nothing_is_loaded() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let pages = shell.pages();
        shell.machine.state().space.pages_max = Some(pages);
        assert!(matches!(shell.try_programs(&pass(), false), Err(RpcError::OutOfMemory { .. })));
        assert_eq!(shell.programs(), []);
        // The interpreter needs no pages, its run does.
        let info = shell.load_programs(&pass(), true).remove(0);
        let request = Request::TestProgram { program: info.id, data: vec![], repeat: 1, budget_ms: 0 };
        assert!(matches!(shell.ask(SESSION, &request), Err(RpcError::OutOfMemory { .. })));
        assert_eq!(shell.programs()[0].running, 0);
        shell.machine.state().space.pages_max = None;
        assert_eq!(shell.test(info.id, &[], 1).value, 2);
    });
}

#[test]
fn what_is_no_package_is_refused() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let good = package(&pass());
        for bytes in [&b"nonsense"[..], &[], &good[..good.len() - 1], &[&good[..], b"x"].concat()] {
            let upload = shell.upload(SESSION, bytes);
            let load = Request::LoadPrograms { upload, name: None, interpret: false, rollback: false };
            let error = shell.ask(SESSION, &load).unwrap_err();
            assert!(matches!(refused(error), ProgramError::BadObject { .. }));
            // The upload is used up.
            assert_eq!(shell.ask(SESSION, &load), Err(RpcError::NoUpload(upload)));
        }
        assert_eq!(shell.programs(), []);
    });
}

#[test]
fn the_policy_decides_before_anything_is_read() {
    with_machine(&[], |shell| {
        let policy = b"require-signature yes\n".to_vec();
        shell.machine.state().boot_files.insert("/etc/uio/policy".to_string(), policy);
        shell.hello(SESSION);
        let error = shell.try_programs(&pass(), false).unwrap_err();
        assert!(matches!(refused(error), ProgramError::NotAdmitted { .. }));
        match shell.ask(SESSION, &Request::BpfFeatures) {
            Ok(Reply::BpfFeatures(features)) => assert!(features.signature_required),
            other => panic!("{other:?}"),
        }
        // Nothing that a shell writes changes it.
        let path = "/etc/uio/policy".to_string();
        let write =
            Request::WriteFile { path, offset: 0, truncate: true, bytes: b"require-signature no\n".to_vec() };
        assert_eq!(shell.ask(SESSION, &write), Ok(Reply::Done));
        assert!(shell.try_programs(&pass(), false).is_err());
    });
}

#[test]
fn a_policy_that_cannot_be_read_admits_nothing() {
    with_machine(&[], |shell| {
        shell.machine.state().boot_files.insert("/etc/uio/policy".to_string(), b"allow everything".to_vec());
        shell.hello(SESSION);
        let error = shell.try_programs(&pass(), false).unwrap_err();
        assert!(matches!(refused(error), ProgramError::NotAdmitted { .. }));
        let log = shell.ask(SESSION, &Request::Log { from: 0 }).unwrap();
        assert!(format!("{log:?}").contains("no program is admitted"), "{log:?}");
    });
}

#[test]
fn names_are_given() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let two = object(vec![], vec![program("a", RAW, &PASS), program("b", RAW, &PASS)]);
        for (object, names) in [(pass(), vec!["mine"]), (two, vec!["mine.a", "mine.b"])] {
            let upload = shell.upload(SESSION, &package(&object));
            let name = Some("mine".to_string());
            match shell
                .ask(SESSION, &Request::LoadPrograms { upload, name, interpret: true, rollback: false })
            {
                Ok(Reply::Programs { programs, .. }) => {
                    assert_eq!(programs.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), names);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn data_fits_the_kind() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        // r0 = *(u8 *)(r1+0); *(u8 *)(r1+1) = 7; exit
        let raw = program("raw", RAW, &[0x1071, 0x0000_0007_0001_0172, EXIT]);
        // r0 = *(u64 *)(r1+0); exit
        let timer = program("timer", ProgramKind::Timer, &[0x1079, EXIT]);
        let tracing = program("tracing", ProgramKind::Tracing, &[0x1079, EXIT]);
        for interpret in [false, true] {
            let all = object(vec![], vec![raw.clone(), timer.clone(), tracing.clone()]);
            let ids: Vec<ProgramId> =
                shell.load_programs(&all, interpret).iter().map(|info| info.id).collect();
            let test = shell.test(ids[0], &[9, 1, 2], 1);
            assert_eq!(test.value, 9);
            assert_eq!(test.data, [9, 7, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(shell.test(ids[1], &5_u64.to_le_bytes(), 1).value, 5);
            assert_eq!(shell.test(ids[2], &6_u64.to_le_bytes(), 1).value, 6);
            let mut start = |program, bytes: usize| {
                shell.ask(
                    SESSION,
                    &Request::TestProgram { program, data: vec![0; bytes], repeat: 1, budget_ms: 0 },
                )
            };
            for (id, most) in [(ids[0], 16), (ids[1], 16), (ids[2], 168)] {
                let expected = ProgramError::BadTestData { bytes: most + 1, least: 0, most };
                assert_eq!(start(id, most as usize + 1), Err(RpcError::Program(expected)));
            }
            assert!(matches!(start(ids[0], 20_000), Err(RpcError::Limit { .. })));
        }
    });
}

#[test]
fn a_packet_has_bounds_and_can_be_changed() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        // r2 = *(u64 *)(r1+0); r3 = *(u64 *)(r1+8); r4 = r2; r4 += 2; if r4 > r3 goto +4;
        // *(u8 *)(r2+1) = 0x55; r0 = *(u8 *)(r2+0); exit; (jump) r0 = -1; exit
        let slots = [
            0x1279,
            0x0008_1379,
            0x24bf,
            0x0000_0002_0000_0407,
            0x0000_0000_0003_342d,
            0x0000_0055_0001_0272,
            0x2071,
            EXIT,
            0xffff_ffff_0000_00b7,
            EXIT,
        ];
        for interpret in [false, true] {
            let object = object(vec![], vec![program("change", ProgramKind::Packet, &slots)]);
            let info = shell.load_programs(&object, interpret).remove(0);
            let test = shell.test(info.id, &[3, 4, 5], 10);
            assert_eq!((test.value, test.data), (3, vec![3, 0x55, 5]));
            let short = shell.test(info.id, &[3], 1);
            assert_eq!((short.value, short.data), (u64::MAX, vec![3]));
        }
    });
}

#[test]
fn one_off_programs_print_and_leave_nothing() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let before = shell.pages();
        // The stack holds "hi%d\0"; r1 = r10 - 8; r2 = 5; r3 = 42; call trace_printk; exit
        let text = u64::from_le_bytes(*b"hi%d\0\0\0\0");
        let slots = [
            0x0118 | (text & 0xffff_ffff) << 32,
            (text >> 32) << 32,
            0x0000_0000_fff8_1a7b,
            0xa1bf,
            0xffff_fff8_0000_0107,
            0x0000_0005_0000_02b7,
            0x0000_002a_0000_03b7,
            call(6),
            EXIT,
        ];
        let maps = vec![map("own", MapKind::Hash, 16, false), map("shared", MapKind::Hash, 16, true)];
        let both = object(maps, vec![program("hi", RAW, &slots), program("other", RAW, &PASS)]);
        let mut once = |name: &str, interpret| {
            let upload = shell.upload(SESSION, &package(&both));
            let program = name.to_string();
            let (data, budget_ms, rollback) = (vec![], 1000, false);
            let request = Request::RunOnce { upload, program, interpret, rollback, data, budget_ms };
            match shell.ask(SESSION, &request)? {
                Reply::Started(run) => Ok((shell.tested(run), shell.output(SESSION, run))),
                other => panic!("{other:?}"),
            }
        };
        for interpret in [false, true] {
            let (test, printed) = once("hi", interpret).unwrap();
            assert_eq!((test.value, printed.as_str()), (4, "hi42\n"));
        }
        assert_eq!(once("other", false).unwrap().0.value, 2);
        let names = vec!["hi".to_string(), "other".to_string()];
        for missing in ["", "nothing"] {
            let error = refused(once(missing, false).unwrap_err());
            let (name, programs) = (missing.to_string(), names.clone());
            assert_eq!(error, ProgramError::NoSuchProgram { name, programs });
        }
        shell.step(1);
        assert_eq!(shell.programs(), []);
        let left: Vec<String> = shell.maps().into_iter().map(|map| map.name).collect();
        assert_eq!(left, ["shared"], "pinned maps stay");
        assert_eq!(shell.pages(), before);
    });
}

#[test]
fn programs_call_each_other_through_an_array() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        // r2 = map 0; r3 = 1; call tail_call; r0 = 99; exit
        let [first, second] = load_map(2, 0);
        let caller = [first, second, 0x0000_0001_0000_03b7, call(12), 0x0000_0063_0000_00b7, EXIT];
        for interpret in [false, true] {
            let before = shell.pages();
            let mut jumps = map("jumps", MapKind::ProgArray, 4, false);
            jumps.value_bytes = 4;
            let both = object(
                vec![jumps],
                vec![
                    program("caller", ProgramKind::Packet, &caller),
                    program("target", ProgramKind::Packet, &PASS),
                ],
            );
            let ids: Vec<ProgramId> =
                shell.load_programs(&both, interpret).iter().map(|info| info.id).collect();
            let jumps = shell.maps()[0].id;
            assert_eq!(shell.test(ids[0], &[], 1).value, 99);
            let key = 1_u32.to_le_bytes();
            shell.map_update(jumps, &key, &ids[1].0.to_le_bytes(), 0).unwrap();
            assert_eq!(shell.test(ids[0], &[], 1).value, 2);
            assert_eq!(shell.map_lookup(jumps, &key).unwrap(), ids[1].0.to_le_bytes());
            assert_eq!(shell.map_entries(jumps).len(), 1);
            let held = RpcError::ProgramInUse { runs: 0, held_by: vec!["jumps".to_string()] };
            assert_eq!(shell.unload_program(ids[1]), Err(held));
            shell.map_delete(jumps, &key).unwrap();
            assert_eq!(shell.test(ids[0], &[], 1).value, 99);
            shell.unload_program(ids[1]).unwrap();
            // With the array, what it still holds goes.
            let again = shell.load_programs(&object(vec![], vec![both.programs[1].clone()]), interpret);
            shell.map_update(jumps, &key, &again[0].id.0.to_le_bytes(), 0).unwrap();
            shell.unload_program(ids[0]).unwrap();
            assert_eq!(shell.maps(), []);
            shell.unload_program(again[0].id).unwrap();
            shell.step(1);
            assert_eq!(shell.pages(), before, "code is lost");
        }
    });
}

#[test]
fn a_program_that_runs_is_not_unloaded_and_a_lost_session_ends_its_runs() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        shell.hello(2);
        let maps = vec![map("counts", MapKind::Array, 1, false)];
        let object = object(maps, vec![program("count", RAW, &count())]);
        let info = shell.load_programs(&object, false).remove(0);
        let request = Request::TestProgram { program: info.id, data: vec![], repeat: 5_000, budget_ms: 0 };
        let start = shell.send(2, &request);
        let unload = shell.send(SESSION, &Request::UnloadProgram(info.id));
        assert!(matches!(shell.response(2, start), Ok(Reply::Started(_))));
        // Both were served before the thread had its first turn.
        assert_eq!(shell.response(SESSION, unload), Err(RpcError::ProgramInUse { runs: 1, held_by: vec![] }));
        assert_eq!(shell.ask(2, &Request::Bye), Ok(Reply::Done));
        let ended = |shell: &mut Shell| (shell.programs()[0].running == 0).then_some(());
        shell.wait(ended);
        shell.unload_program(info.id).unwrap();
        assert_eq!(shell.maps(), []);
    });
}

#[test]
fn an_interrupted_test_has_no_result() {
    with_machine(&[], |shell| {
        shell.hello(SESSION);
        let info = shell.load_programs(&pass(), true).remove(0);
        let request = Request::TestProgram { program: info.id, data: vec![], repeat: 1, budget_ms: 0 };
        let id = shell.send(SESSION, &request);
        let Ok(Reply::Started(run)) = shell.response(SESSION, id) else { panic!("not started") };
        // Its thread is told to end before its first turn, or has ended.
        let _ = shell.ask(SESSION, &Request::Interrupt(run));
        let (_, outcome) = shell.finish(SESSION, run);
        let interrupted = matches!(outcome, Outcome::Ended(_));
        let tested = shell.events.iter().any(|(_, event)| {
            matches!(event, uio_protocol::event::Event::Tested { run: tested, .. } if *tested == run)
        });
        assert_eq!(tested, !interrupted);
        assert_eq!(shell.programs()[0].running, 0);
    });
}

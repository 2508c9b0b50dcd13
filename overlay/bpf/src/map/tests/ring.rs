//! Ring buffers against a queue of records.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use proptest::prelude::*;
use uio_protocol::bpf::MapKind;

use super::map;
use crate::map::access::finish_record;
use crate::map::{AccessError, Map};

const CAPACITY: u32 = 4096;

fn drain(map: &Map, bytes_max: usize) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let consumed = map
        .drain(bytes_max, |record| {
            records.push(record.to_vec());
            ControlFlow::Continue(())
        })
        .expect("a ring buffer");
    assert_eq!(consumed as usize, records.len());
    records
}

fn output(map: &Map, record: &[u8]) -> Result<(), AccessError> {
    // SAFETY: the record may be read for its length.
    unsafe { map.output(record.as_ptr(), record.len() as u64) }
}

#[derive(Clone, Debug)]
enum Step {
    Output(u16),
    /// Reserved, filled, and finished at once or later.
    Reserve(u16),
    Finish {
        which: usize,
        discard: bool,
    },
    Drain(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..1500u16).prop_map(Step::Output),
        2 => (0..1500u16).prop_map(Step::Reserve),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, discard)| Step::Finish { which, discard }),
        3 => (1..6000usize).prop_map(Step::Drain),
    ];
    prop::collection::vec(step, 0..200)
}

enum State {
    Reserved,
    Committed,
    Discarded,
}

proptest! {
    #[test]
    fn is_a_queue_of_records(steps in steps()) {
        let map = map(MapKind::RingBuffer, 0, 0, CAPACITY);
        // Records not consumed yet, with their bytes and state.
        let mut model: VecDeque<(Vec<u8>, State, *mut u8)> = VecDeque::new();
        let mut fill = 0u8;
        let mut lost = 0;
        for step in steps {
            fill = fill.wrapping_add(1);
            match step {
                Step::Output(bytes) => {
                    let record = std::vec![fill; usize::from(bytes)];
                    match output(&map, &record) {
                        Ok(()) => model.push_back((record, State::Committed, std::ptr::null_mut())),
                        Err(error) => {
                            prop_assert_eq!(error, AccessError::Full);
                            lost += 1;
                        }
                    }
                }
                Step::Reserve(bytes) => {
                    let record = map.reserve(u64::from(bytes), 1);
                    if record.is_null() {
                        lost += 1;
                    } else {
                        // SAFETY: a reserved record of so many bytes.
                        unsafe { record.write_bytes(fill, usize::from(bytes)) };
                        model.push_back((std::vec![fill; usize::from(bytes)], State::Reserved, record));
                    }
                }
                Step::Finish { which, discard } => {
                    let mut reserved: Vec<_> =
                        model.iter_mut().filter(|entry| matches!(entry.1, State::Reserved)).collect();
                    if !reserved.is_empty() {
                        let at = which % reserved.len();
                        let entry = &mut reserved[at];
                        // SAFETY: reserved and not finished.
                        unsafe { finish_record(entry.2, discard) };
                        entry.1 = if discard { State::Discarded } else { State::Committed };
                    }
                }
                Step::Drain(bytes_max) => {
                    let mut records = VecDeque::from(drain(&map, bytes_max));
                    while !records.is_empty() {
                        let (record, state, _) = model.pop_front().expect("no more records than went in");
                        match state {
                            State::Committed => prop_assert_eq!(Some(record), records.pop_front()),
                            State::Discarded => {}
                            State::Reserved => prop_assert!(false, "a reserved record came out"),
                        }
                    }
                }
            }
            let state = map.ring_state().unwrap();
            prop_assert_eq!(state.lost, lost);
            prop_assert!(state.available_bytes <= u64::from(CAPACITY));
            let least: u64 = model.iter().map(|entry| (entry.0.len() as u64 + 8).next_multiple_of(8)).sum();
            // Discarded records at the front may have been consumed already.
            if model.iter().all(|entry| !matches!(entry.1, State::Discarded)) {
                prop_assert!(state.available_bytes >= least);
            }
        }
        for entry in &mut model {
            if matches!(entry.1, State::Reserved) {
                // SAFETY: reserved and not finished.
                unsafe { finish_record(entry.2, false) };
                entry.1 = State::Committed;
            }
        }
        let rest: Vec<Vec<u8>> = model
            .into_iter()
            .filter(|entry| matches!(entry.1, State::Committed))
            .map(|entry| entry.0)
            .collect();
        prop_assert_eq!(drain(&map, usize::MAX), rest);
        prop_assert_eq!(map.ring_state().unwrap().available_bytes, 0);
    }
}

#[test]
fn holds_what_it_has_room_for() {
    let map = map(MapKind::RingBuffer, 0, 0, CAPACITY);
    assert!(map.reserve(u64::from(CAPACITY), 0).is_null(), "the header needs room too");
    assert!(map.reserve(u64::MAX, 0).is_null());
    let whole = map.reserve(u64::from(CAPACITY) - 8, 0);
    assert!(!whole.is_null());
    assert!(map.reserve(0, 0).is_null());
    // SAFETY: reserved above.
    unsafe { finish_record(whole, false) };
    assert_eq!(drain(&map, usize::MAX).len(), 1);
    for _ in 0..CAPACITY / 16 {
        output(&map, &[1; 8]).unwrap();
    }
    assert_eq!(output(&map, &[1; 8]), Err(AccessError::Full));
    assert_eq!(map.ring_state().unwrap().lost, 4);
}

#[test]
fn a_visitor_may_stop() {
    let map = map(MapKind::RingBuffer, 0, 0, CAPACITY);
    for number in 0..3u8 {
        output(&map, &[number]).unwrap();
    }
    let mut seen = Vec::new();
    let consumed = map.drain(usize::MAX, |record| {
        seen.push(record[0]);
        if record[0] == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((consumed, seen), (Ok(1), std::vec![0, 1]));
    assert_eq!(drain(&map, usize::MAX), [[1], [2]], "the record at which it stopped stays");
    assert_eq!(
        super::map(MapKind::Queue, 0, 4, 1).drain(1, |_| ControlFlow::Continue(())),
        Err(AccessError::Invalid)
    );
}

#[test]
fn gives_up_what_a_stopped_run_reserved() {
    let map = map(MapKind::RingBuffer, 0, 0, CAPACITY);
    let stopped = std::ptr::without_provenance(0x1000);
    let other = std::ptr::without_provenance(0x2000);
    let kept = map.reserve(8, crate::map::access::owner_of(other));
    assert!(!map.reserve(8, crate::map::access::owner_of(stopped)).is_null());
    output(&map, b"after").unwrap();
    map.abandon(stopped);
    assert!(drain(&map, usize::MAX).is_empty(), "the other run still writes");
    // SAFETY: reserved above.
    unsafe {
        kept.write_bytes(3, 8);
        finish_record(kept, false);
    }
    assert_eq!(drain(&map, usize::MAX), [[3; 8].to_vec(), b"after".to_vec()]);
}

#[test]
fn consumer_and_producer_at_once() {
    let map = map(MapKind::RingBuffer, 0, 0, CAPACITY);
    let records = if cfg!(miri) { 300 } else { 100_000u32 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..records {
                while output(&map, &number.to_le_bytes()).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < records {
            for record in drain(&map, usize::MAX) {
                assert_eq!(record, next.to_le_bytes());
                next += 1;
            }
        }
    });
}

//! First programs.
use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};
use uio_verifier::analysis::{Options, analyse};

fn object(slots: Vec<u64>, kind: ProgramKind) -> ObjectImage {
    ObjectImage { name: "t".into(), maps: vec![], programs: vec![ProgramImage { name: "main".into(), kind, target: String::new(), slots, functions: vec![0] }] }
}
fn i(op: u8, dst: u64, src: u64, off: i16, imm: i32) -> u64 {
    u64::from(op) | dst << 8 | src << 12 | u64::from(off as u16) << 16 | u64::from(imm as u32) << 32
}

#[test]
fn pass() {
    let o = object(vec![i(0xb7, 0, 0, 0, 2), i(0x95, 0, 0, 0, 0)], ProgramKind::Packet);
    let a = analyse(&o, 0, &Options::default()).unwrap();
    println!("{a:?}");
}
#[test]
fn packet() {
    let o = object(vec![
        i(0x79, 2, 1, 0, 0), i(0x79, 3, 1, 8, 0), i(0xbf, 4, 2, 0, 0), i(0x07, 4, 0, 0, 14),
        i(0xb7, 0, 0, 0, 1), i(0x2d, 4, 3, 1, 0), i(0x71, 0, 2, 13, 0), i(0x95, 0, 0, 0, 0)], ProgramKind::Packet);
    let a = analyse(&o, 0, &Options { keep_states: true, ..Options::default() }).unwrap();
    println!("{a:#?}");
    let mut bad = o.clone();
    bad.programs[0].slots[6] = i(0x71, 0, 2, 14, 0);
    let r = analyse(&bad, 0, &Options::default()).unwrap_err();
    println!("{}", r.render("t", &|_| None));
}
#[test]
fn counted_loop() {
    let o = object(vec![
        i(0xb7, 6, 0, 0, 0), i(0xb7, 0, 0, 0, 0), i(0x0f, 0, 6, 0, 0), i(0x07, 6, 0, 0, 1), i(0xa5, 6, 0, -3, 100), i(0x95, 0, 0, 0, 0)], ProgramKind::Packet);
    let a = analyse(&o, 0, &Options::default()).unwrap();
    println!("{a:?}");
    assert!(a.checked.fuel.is_empty());
}

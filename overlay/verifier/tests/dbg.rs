use uio_bpf_objects::parse;
use uio_bpf_samples::*;
use uio_verifier::analysis::*;
#[test]
fn dbg() {
    let name = std::env::var("S").unwrap();
    let p = parse(&object(&name, Cpu::V3), "x").unwrap();
    let i: usize = std::env::var("I").map_or(0, |x| x.parse().unwrap());
    for m in [15, 16] {
        let r = analyse(
            &p.image,
            i,
            &Options { context: ContextLayout::LinuxXdp, max_states: m, ..Options::default() },
        );
        match r {
            Ok(a) => println!("OK {:?}", a.checked),
            Err(r) => println!("{}", r.render("x", &|_| None)),
        }
    }
}

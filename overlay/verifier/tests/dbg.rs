use std::time::Instant;
use uio_bpf_objects::parse;
use uio_bpf_samples::*;
use uio_verifier::analysis::*;
#[test]
fn perf() {
    for (n, b) in [
        ("nat".to_string(), object("nat", Cpu::V3)),
        ("string_matcher".into(), object("string_matcher", Cpu::V3)),
        ("port".into(), object("port_filter", Cpu::V3)),
    ]
    .into_iter()
    .chain([10, 100, 1000, 10000, 40000].map(|r| (format!("fw{r}"), firewall(r, Cpu::V3))))
    {
        let p = parse(&b, "x").unwrap();
        let layout = match p.source.programs[0].layout {
            uio_bpf_objects::ContextLayout::Native => ContextLayout::Native,
            _ => ContextLayout::LinuxXdp,
        };
        let mut best = [u128::MAX; 2];
        let mut last = None;
        for _ in 0..5 {
            let t = Instant::now();
            let a = analyse(&p.image, 0, &Options { context: layout, ..Options::default() }).unwrap();
            best[0] = best[0].min(t.elapsed().as_micros());
            let mut o = p.image.clone();
            o.programs = vec![a.program.clone()];
            let t = Instant::now();
            uio_verifier::check(&o, 0, &a.proof).unwrap();
            best[1] = best[1].min(t.elapsed().as_micros());
            last = Some(a);
        }
        let a = last.unwrap();
        println!(
            "{n}: {} slots: analyse {} us, check {} us, proof {} bytes {} states, {:?}",
            a.program.slots.len(),
            best[0],
            best[1],
            a.proof.encode().len(),
            a.proof.states(),
            a.checked.statistics
        );
    }
}

//! Cost of gates: `cargo bench -p uio-isolation --features measure`.

use std::process::ExitCode;

use uio_isolation::measure::{CrossingTicks, MeasureError, gate_cycles};

fn main() -> ExitCode {
    let cycles = match gate_cycles() {
        Ok(cycles) => cycles,
        Err(error) => {
            eprintln!("nothing measured: {error:?}");
            return ExitCode::FAILURE;
        }
    };
    println!("time stamp ticks per operation, minimum of interleaved rounds, loops included");
    println!("one core cycle was {:.3} ticks during the measurement", cycles.ticks_per_core_cycle);
    print("without isolation", &cycles.unisolated);
    match cycles.isolated {
        Ok(ticks) => print("PKU", &ticks),
        Err(MeasureError::NoPku) => {
            println!("PKU: not measured, this processor offers no protection keys (CPUID.7.ECX.OSPKE is 0)");
        }
        Err(error) => println!("PKU: not measured: {error:?}"),
    }
    println!("FlexOS on a Xeon Silver 4114, as published: 62 shared stack, 108 separate stack");
    ExitCode::SUCCESS
}

fn print(title: &str, ticks: &CrossingTicks) {
    println!("{title}:");
    if let Some(pair) = ticks.register_pair {
        println!("  two writes of the register     {pair:8.1}");
    }
    println!("  enter a domain and return      {:8.1}", ticks.enter);
    println!("  gate crossing, separate stack  {:8.1}", ticks.crossing);
    println!("  gate crossing, shared stack    {:8.1}", ticks.crossing_shared_stack);
}

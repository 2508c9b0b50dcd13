//! Tells the tests whether this machine enforces protection keys, so that those that need it show as
//! ignored elsewhere instead of passing.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(has_pku)");
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if cpuinfo.split_whitespace().any(|flag| flag == "ospke") {
        println!("cargo:rustc-cfg=has_pku");
    }
}

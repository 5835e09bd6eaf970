//! Lets the linker keep functions whose code is the same once: 1.5 % of the shipped binary.
//!
//! Only where Rust brings its own linker, which knows the option, and nobody chose another one. A Rust that a distribution
//! built may not bring it, and links by the system's, which would refuse.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script what it builds by its environment"
)]

use std::env;
use std::path::Path;
use std::process::Command;

/// Where Rust keeps the linker that it calls by itself on this target, since 1.90.
const LINKER: &str = "lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld.lld";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_LINKER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let target = "x86_64-unknown-linux-gnu";
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let other = env::var_os("RUSTC_LINKER").is_some() || flags.contains("link");
    if is("PROFILE", "release") && is("TARGET", target) && is("HOST", target) && !other && brings_its_linker()
    {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}

fn brings_its_linker() -> bool {
    let Some(rustc) = env::var_os("RUSTC") else { return false };
    let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output() else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    output.status.success() && Path::new(sysroot.trim_end()).join(LINKER).is_file()
}

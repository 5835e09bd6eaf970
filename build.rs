//! Lets the linker keep functions whose code is the same once: 1.5 % of the shipped binary.
//!
//! Only where Rust brings its own linker, which knows the option, and nobody chose another one.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script what it builds by its environment"
)]

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_LINKER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let brings_its_linker = is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_ENV", "gnu");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let other = env::var_os("RUSTC_LINKER").is_some() || flags.contains("link");
    if is("PROFILE", "release") && brings_its_linker && !other {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}

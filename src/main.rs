//! The `tixing` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tixing::cli::main()
}

//! The `wavetank` binary: parse, run, exit code.

use std::process::ExitCode;

/// Objects are small and many: mimalloc halves the cost of making one (measured by the project).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wavetank::cli::main()
}

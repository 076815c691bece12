//! The program `quorate-node`: a sandbox stage, or a command line that is parsed, run and ended.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    // A stage of the sandbox must stay small and single-threaded: it is told apart before anything else.
    if let Some(code) = quorate_node::sandbox::intercept() {
        return code;
    }
    cli::main()
}

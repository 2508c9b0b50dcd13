//! `uio-shell`: starts unikernels, attaches to them, and stops them.
#![forbid(unsafe_code)]

mod verbs;

use std::process::ExitCode;

use clap::Parser;
use uio_shell::cli::{Cli, Verb};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Verb::Demo { batch } => verbs::demo(batch),
        Verb::Run(arguments) => verbs::run(&arguments),
        Verb::Attach(arguments) => verbs::attach(&arguments),
        Verb::Ps { json } => verbs::ps(json),
        Verb::Stop { name, force } => verbs::stop(&name, force),
        Verb::Doctor { json } => verbs::doctor(json),
        Verb::Bench { suite } => verbs::bench(suite),
        Verb::Verify(arguments) => verbs::verify(&arguments),
        Verb::Sign(arguments) => verbs::sign(&arguments),
        Verb::Serve(arguments) => verbs::serve(&arguments),
        Verb::Key { verb } => verbs::key(&verb),
        Verb::VerifyWorker => verbs::verify_worker(),
        Verb::Guard { parent, program, arguments } => verbs::guard(parent, &program, &arguments),
    };
    result.unwrap_or_else(|failure| {
        failure.show();
        ExitCode::FAILURE
    })
}

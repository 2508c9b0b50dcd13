//! The command line of `uio-shell`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::machine::RunOptions;

mod verification;

pub use verification::{KeyVerb, ServeArguments, SignArguments, VerifyArguments};

/// Start a unikernel, look inside while it runs, load code into it
#[derive(Debug, Parser)]
#[command(
    name = "uio-shell",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  uio-shell demo                        see all of it on a guest of its own
  uio-shell run count --detach          build and start the image `count` in the background
  uio-shell attach                      open a prompt on it
  uio-shell attach -e info -e threads   run two commands and leave
  uio-shell stop count                  power it off"
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Verb,
}

/// What to do
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a guest and show everything that can be done with it while it runs
    #[command(after_help = "\
Installs what is missing (QEMU, clang) when run as root, builds the image `count`, runs each command of the
tour on it, and leaves you at the prompt. The guest is stopped when you leave.")]
    Demo {
        /// No prompt at the end; the exit status says whether every step worked
        #[arg(long)]
        batch: bool,
    },
    /// Start a guest
    #[command(after_help = "\
Examples:
  uio-shell run count                             in the foreground, with its serial log; Ctrl-C stops it
  uio-shell run count --detach --share .          in the background, this folder at /host
  uio-shell run ./my-image --machine microvm --mem 64M")]
    Run(RunArguments),
    /// Open a prompt on a running guest, or run commands on it
    #[command(after_help = "\
Examples:
  uio-shell attach                                the only running guest
  uio-shell attach count -e threads --json        one JSON object a thread
  uio-shell attach /run/vm/console.sock           a QEMU console that somebody else started
The guest is not paused, and runs on after you leave.")]
    Attach(AttachArguments),
    /// List running guests
    Ps {
        /// One JSON object a guest
        #[arg(long)]
        json: bool,
    },
    /// Power a guest off
    Stop {
        /// The instance
        name: String,
        /// Do not ask the guest
        #[arg(long)]
        force: bool,
    },
    /// Say what this host can do and what it lacks
    Doctor {
        /// One JSON object a finding
        #[arg(long)]
        json: bool,
    },
    /// Measure this machine, beside what others have published
    #[command(after_help = "\
Examples:
  uio-shell bench core                  a table; takes some minutes, stops at Ctrl-C
  uio-shell bench core --json           one JSON object a row, with how it was measured
  uio-shell bench bpf                   eBPF: speed, verification, soundness
Exits 0 if every goal that could be measured is met, else 1.")]
    Bench {
        /// What to measure
        #[command(subcommand)]
        suite: Suite,
    },
    /// Say whether an eBPF object is safe, and if not, where and why
    #[command(after_help = "\
Examples:
  uio-shell verify filter.o                       by both engines; both have to accept
  uio-shell verify filter.o --engines uio -v      by ours only, with the state before every instruction
  uio-shell verify filter.o --service http://127.0.0.1:7000
Exits 0 if it is accepted, else 1.")]
    Verify(VerifyArguments),
    /// Verify an eBPF object and sign a certificate for it
    #[command(after_help = "\
Examples:
  uio-shell sign filter.o --key provider.pem --hook packet:filter --tenant acme --valid 30d
  uio-shell sign filter.o --service http://127.0.0.1:7000 --hook packet:filter --tenant acme --valid 30d
The guest takes it with `prog load filter.o --cert filter.cert`.")]
    Sign(SignArguments),
    /// Verify and sign for others, over HTTP
    #[command(after_help = "\
Examples:
  uio-shell serve --listen 127.0.0.1:7000 --key provider.pem
  curl --data-binary @filter.o 'http://127.0.0.1:7000/v1/verify?name=filter'
  curl http://127.0.0.1:7000/metrics
docs/guide/verification.md describes the API.")]
    Serve(ServeArguments),
    /// Make and show keys to sign with
    Key {
        /// What to do
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Do one job of a verification service (used by `serve`)
    #[command(hide = true)]
    VerifyWorker,
    /// Become a program that dies with its parent (used by `run`)
    #[command(hide = true)]
    Guard {
        /// Process id of the parent
        parent: u32,
        /// What to become
        program: String,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// What `bench` measures
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Suite {
    /// Boot, attach, overlay, extensions, gates, files
    Core {
        /// One JSON object a row
        #[arg(long)]
        json: bool,
    },
    /// eBPF: conformance, speed beside rbpf and C, analysis and check, soundness
    Bpf {
        /// One JSON object a row
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `run`
#[derive(Args, Debug)]
pub struct RunArguments {
    /// What to start
    #[command(flatten)]
    pub options: RunOptions,
    /// Run in the background; returns when the guest answers
    #[arg(long, short)]
    pub detach: bool,
    /// This is the background process (used by `--detach`)
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub keeper: bool,
    /// The process that the background process ends with (used by `demo`)
    #[arg(long, hide = true, requires = "keeper", value_name = "PID")]
    pub owner: Option<u32>,
}

/// Arguments of `attach`
#[derive(Args, Debug)]
pub struct AttachArguments {
    /// Instance name, or the socket of a QEMU console [default: the only running instance]
    pub target: Option<String>,
    /// Run a command; repeat for more. Exits 1 at the first that fails
    #[arg(long, short = 'e', value_name = "CMD")]
    pub execute: Vec<String>,
    /// Run the commands of a file, after those of -e
    #[arg(long, short = 'f', value_name = "SCRIPT")]
    pub file: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Wait until the instance is there
    #[arg(long)]
    pub waitfor: bool,
    /// Image file to read symbols from [default: the one that the instance was started from]
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
}

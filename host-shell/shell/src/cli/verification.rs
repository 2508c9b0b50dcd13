//! Arguments of `verify`, `sign`, `serve` and `key`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use uio_verifier::certificate::Hook;
use uio_verify::client::ServiceUrl;
use uio_verify::{Engines, duration};

/// Arguments of `verify`
#[derive(Args, Debug)]
pub struct VerifyArguments {
    /// Object file, as `clang -target bpf -O2 -g -c` makes it
    pub file: PathBuf,
    /// Engines that have to accept: uio, prevail [default: both]
    #[arg(long, value_name = "LIST")]
    pub engines: Option<Engines>,
    /// Ask a service instead of verifying here
    #[arg(long, value_name = "URL", value_parser = service)]
    pub service: Option<ServiceUrl>,
    /// Reject loops without a proven bound, which fuel would end when they run
    #[arg(long, conflicts_with = "service")]
    pub bounded: bool,
    /// Show the state before every instruction
    #[arg(long, short)]
    pub verbose: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `sign`
#[derive(Args, Debug)]
pub struct SignArguments {
    /// Object file
    pub file: PathBuf,
    /// Key to sign with
    #[arg(long, value_name = "FILE", required_unless_present = "service")]
    pub key: Option<PathBuf>,
    /// Have a service verify and sign, with its key and engines
    #[arg(long, value_name = "URL", value_parser = service, conflicts_with_all = ["key", "engines"])]
    pub service: Option<ServiceUrl>,
    /// File with the token that the service knows this client by
    #[arg(long, value_name = "FILE", requires = "service")]
    pub token: Option<PathBuf>,
    /// Where it may be attached, as in packet:filter; repeat for more
    #[arg(long = "hook", value_name = "KIND:NAME", required = true, value_parser = Hook::parse)]
    pub hooks: Vec<Hook>,
    /// On whose behalf
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// How long from now on, as in 30d
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub valid: Duration,
    /// Version; guests do not go back to a lower one [default: the time, in Unix seconds]
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
    /// Most instructions of one run
    #[arg(long, value_name = "N")]
    pub fuel: Option<u64>,
    /// Most time of one run, as in 50us
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub run_time: Option<Duration>,
    /// Engines that have to accept; uio has to be one [default: both]
    #[arg(long, value_name = "LIST")]
    pub engines: Option<Engines>,
    /// Where to write the certificate [default: the object's name with .cert]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print what was signed as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `serve`
#[derive(Args, Debug)]
pub struct ServeArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7000")]
    pub listen: SocketAddr,
    /// Key to sign with [default: no signing]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Who may have what signed; without it everybody who reaches the service
    #[arg(long, value_name = "FILE", requires = "key")]
    pub clients: Option<PathBuf>,
    /// Engines that have to accept what is signed [default: both]
    #[arg(long, value_name = "LIST")]
    pub engines: Option<Engines>,
    /// Verifications at a time [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Verifications that wait
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub queue: usize,
    /// Most time of one verification
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub job_time: Duration,
    /// Most memory of one verification, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub job_memory: u64,
    /// Largest object, in KiB
    #[arg(long, value_name = "KIB", default_value_t = 8192)]
    pub body: usize,
    /// No line for each request
    #[arg(long, short)]
    pub quiet: bool,
}

/// What `key` does
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a key; nothing is overwritten
    New {
        /// Where to write it: PKCS#8 in PEM, for its owner's eyes only
        file: PathBuf,
    },
    /// Show the public half of a key, and its line for policies
    Show {
        /// The key
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn service(text: &str) -> Result<ServiceUrl, String> {
    ServiceUrl::parse(text).map_err(|error| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

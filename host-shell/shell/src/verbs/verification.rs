//! `verify`, `sign`, `serve` and `key`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use uio_shell::cli::{KeyVerb, ServeArguments, SignArguments, VerifyArguments};
use uio_shell::render::units::time;
use uio_verify::service::{Clients, Config, Limits, Service};
use uio_verify::worker::{ProcessRunner, with_large_stack};
use uio_verify::{
    Engines, Options, Report, Request, Terms, Verification, describe, duration, issue, key, read_object,
    worker,
};

use super::{Failure, INTERRUPTED, Verdict};

/// Name of the hidden verb that the service starts for each job.
const WORKER: &str = "verify-worker";

pub(crate) fn verify(arguments: &VerifyArguments) -> Verdict {
    let (name, file) = read(&arguments.file)?;
    let report = match &arguments.service {
        Some(service) => service.verify(&name, &file, arguments.engines.as_ref(), arguments.verbose)?,
        None => {
            let request = Request {
                engines: arguments.engines.clone().unwrap_or_default(),
                options: Options {
                    fuel: !arguments.bounded,
                    keep_states: arguments.verbose,
                    ..Options::default()
                },
            };
            verify_here(&name, &file, &request)?.report
        }
    };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_value(&report)?)?;
    } else {
        out.write_all(report.render(arguments.verbose).as_bytes())?;
    }
    Ok(if report.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn sign(arguments: &SignArguments) -> Verdict {
    let (name, file) = read(&arguments.file)?;
    let terms = Terms {
        hooks: arguments.hooks.clone(),
        tenant: arguments.tenant.clone(),
        valid: arguments.valid,
        generation: arguments.generation,
        fuel: arguments.fuel,
        run_time: arguments.run_time,
    };
    let (certificate, claims) = match (&arguments.service, &arguments.key) {
        (Some(service), _) => {
            let token = arguments.token.as_deref().map(read_token).transpose()?;
            let signed = service.sign(&name, &file, &terms, token.as_deref())?;
            (signed.certificate, signed.claims)
        }
        (None, Some(path)) => {
            let key = key::load(path)?;
            let engines = arguments.engines.clone().unwrap_or_default();
            let verification = verify_here(&name, &file, &Request { engines, options: Options::default() })?;
            refuse_rejected(&verification.report)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let issued = issue(&verification, &terms, &key, now)?;
            (issued.certificate, describe(&issued.claims, issued.key))
        }
        // The command line requires one of them.
        (None, None) => return Err(Failure { message: "no key to sign with".into(), hint: None }),
    };
    let output = arguments.output.clone().unwrap_or_else(|| arguments.file.with_extension("cert"));
    write_whole(&output, &certificate)?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{claims}")?;
    } else {
        out.write_all(show_claims(&claims).as_bytes())?;
        writeln!(out, "written to   {}", output.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn serve(arguments: &ServeArguments) -> Verdict {
    let key = arguments.key.as_deref().map(key::load).transpose()?;
    let engines = arguments.engines.clone().unwrap_or_default();
    let clients = match &arguments.clients {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| at(path, &error.to_string()))?;
            Some(Clients::parse(&text).map_err(|error| at(path, &error.to_string()))?)
        }
        None => None,
    };
    let defaults = Limits::default();
    let config = Config {
        listen: arguments.listen,
        engines: engines.clone(),
        clients,
        limits: Limits {
            workers: arguments.workers.unwrap_or(defaults.workers).max(1),
            queue: arguments.queue,
            job_time: arguments.job_time,
            job_memory_bytes: arguments.job_memory.saturating_mul(1 << 20),
            body_bytes: arguments.body.saturating_mul(1 << 10),
            ..defaults
        },
        log: !arguments.quiet,
    };
    let signer = key
        .as_ref()
        .map_or_else(|| "does not sign".to_owned(), |key| format!("signs with key {}", key::id(key)));
    let runner = ProcessRunner { program: std::env::current_exe()?, arguments: vec![WORKER.to_owned()] };
    let service = Service::bind(config, key, Box::new(runner))?;
    let stopper = service.stopper();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("verify-signals".into()).spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(INTERRUPTED.into());
            }
            eprintln!("stopping: what runs is finished; once more ends it at once");
            stopper.stop();
        }
    })?;
    println!("http://{}", service.address());
    eprintln!("verifies by {engines}, {signer}; Ctrl-C stops it");
    service.run()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn key(verb: &KeyVerb) -> Verdict {
    let mut out = std::io::stdout().lock();
    match verb {
        KeyVerb::New { file } => {
            let made = key::create(file)?;
            writeln!(out, "{}", key::id(&made))?;
            drop(out);
            eprintln!("`uio-shell key show {}` prints its line for policies", file.display());
        }
        KeyVerb::Show { file, json } => {
            let key = key::load(file)?;
            let (id, public) = (key::id(&key).to_string(), key::public_hex(&key));
            if *json {
                writeln!(out, "{}", json!({ "id": id, "algorithm": "ed25519", "public": public }))?;
            } else {
                let name: String =
                    file.file_stem().map(|stem| stem.to_string_lossy().into()).unwrap_or_default();
                writeln!(
                    out,
                    "id      {id}\npublic  {public}\npolicy  key {} ed25519 {public}",
                    word(&name)
                )?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does one job of a service.
pub(crate) fn verify_worker() -> Verdict {
    worker::serve()?;
    Ok(ExitCode::SUCCESS)
}

fn verify_here(name: &str, file: &[u8], request: &Request) -> Result<Verification, Failure> {
    let subject = read_object(file, name)
        .map_err(|error| Failure { message: error.message, hint: Some(error.suggestion) })?;
    Ok(with_large_stack(|| uio_verify::verify(subject, request))?)
}

/// A report that stands in the way of signing, as an error.
fn refuse_rejected(report: &Report) -> Result<(), Failure> {
    if report.accepted {
        return Ok(());
    }
    eprint!("{}", report.render(false));
    let disagree = report.programs.iter().any(|program| program.disagreement);
    let hint = disagree.then(|| {
        format!("`--engines {}` signs what one engine accepts; guests can require more", uio_only())
    });
    Err(Failure { message: format!("{} was not signed", report.name), hint })
}

fn uio_only() -> Engines {
    "uio".parse().unwrap_or_default()
}

/// An object's name and bytes.
fn read(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let bytes = std::fs::read(path).map_err(|error| at(path, &error.to_string()))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((name, bytes))
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| at(path, &error.to_string()))?;
    Ok(text.trim().to_owned())
}

/// Writes beside and renames: whoever reads the file finds the old one or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let result = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    result.map_err(|error| {
        // Nothing half-written stays behind.
        let _ = std::fs::remove_file(&beside);
        at(path, &error.to_string())
    })
}

fn at(path: &Path, what: &str) -> Failure {
    Failure { message: format!("{}: {what}", path.display()), hint: None }
}

/// A name as a policy's line can hold it.
fn word(name: &str) -> String {
    let word: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(64).collect();
    if word.is_empty() { "key".into() } else { word }
}

fn show_claims(claims: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list =
        |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let bounds = &claims["bounds"];
    let (from, until) = (number(&claims["not_before"]), number(&claims["not_after"]));
    let engines: Vec<String> = claims["engines"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|engine| format!("{} {}", text(&engine["name"]), text(&engine["version"])))
        .collect();
    let mut limits = format!(
        "{} B of stack, {} instructions, {} B of maps",
        number(&bounds["stack_bytes"]),
        number(&bounds["instructions"]),
        number(&bounds["map_bytes"])
    );
    if let Some(fuel) = bounds["fuel"].as_u64() {
        limits.push_str(&format!(", {fuel} instructions a run"));
    }
    if let Some(nanoseconds) = bounds["run_ns"].as_u64() {
        limits.push_str(&format!(", {} a run", time(nanoseconds)));
    }
    let validity =
        time(u64::try_from(Duration::from_secs(until - from.min(until)).as_nanos()).unwrap_or(u64::MAX));
    format!(
        "object       {}\nkey          {}\ntenant       {}, generation {}\nhooks        {}\nvalid        {} to {} ({validity})\n\
         bounds       {limits}\naccepted by  {}\n",
        text(&claims["object"]),
        text(&claims["key"]),
        text(&claims["tenant"]),
        number(&claims["generation"]),
        list(&claims["hooks"]),
        duration::utc(from),
        duration::utc(until),
        engines.join(", "),
    )
}

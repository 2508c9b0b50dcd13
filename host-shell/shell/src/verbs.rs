//! What each verb of the command line does, and how it reports failure.

mod verification;

use std::io::{IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use uio_prerequisites::{QEMU, ensure};
use uio_shell::bench::BenchError;
use uio_shell::cli::{AttachArguments, RunArguments, Suite};
use uio_shell::client::Client;
use uio_shell::commands::{Interrupts, Shell, Target, error_text};
use uio_shell::demo::DemoError;
use uio_shell::host::doctor::examine;
use uio_shell::instance::{Instance, InstanceError, RunDirectory, Status, find, list};
use uio_shell::keeper::{GuestEnd, KeeperError, StartError, end_with_owner, keep, prepare, start_detached};
use uio_shell::machine::process;
use uio_shell::render::style::Style;
use uio_shell::render::table::{Align, Table};
use uio_shell::render::units::time;
use uio_shell::{demo, keeper, repl};
use uio_verify::client::ClientError;
use uio_verify::key::KeyError;
use uio_verify::service::ServiceError;

pub(crate) use verification::{key, serve, sign, verify, verify_worker};

/// How long a running guest may take to answer `Hello`.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often `--waitfor` looks.
const WAIT_POLL: Duration = Duration::from_millis(50);

/// A failure of a verb: what happened, and the next step.
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn show(&self) {
        let style = Style::of(&std::io::stderr());
        eprintln!("{}", error_text(style, &self.message, &[], self.hint.as_deref()));
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: anyhow::Error = error.into();
        let hint = error
            .downcast_ref::<KeeperError>()
            .and_then(KeeperError::hint)
            .or_else(|| error.downcast_ref::<StartError>().and_then(StartError::hint))
            .or_else(|| error.downcast_ref::<InstanceError>().and_then(InstanceError::hint))
            .or_else(|| error.downcast_ref::<DemoError>().and_then(DemoError::hint))
            .or_else(|| error.downcast_ref::<BenchError>().and_then(BenchError::hint))
            .or_else(|| error.downcast_ref::<KeyError>().and_then(KeyError::hint))
            .or_else(|| error.downcast_ref::<ClientError>().and_then(ClientError::hint))
            .or_else(|| error.downcast_ref::<ServiceError>().and_then(ServiceError::hint));
        Self { message: error.to_string(), hint }
    }
}

type Verdict = Result<ExitCode, Failure>;

/// Exit status after Ctrl-C, as of shells: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

pub(crate) fn demo(batch: bool) -> Verdict {
    let verdict = demo::give(batch, &std::env::current_exe()?)?;
    Ok(match verdict {
        demo::Verdict::Good => ExitCode::SUCCESS,
        demo::Verdict::Failed => ExitCode::FAILURE,
        demo::Verdict::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

pub(crate) fn run(arguments: &RunArguments) -> Verdict {
    let run = RunDirectory::open()?;
    let shell = std::env::current_exe()?;
    if arguments.keeper {
        // A session of its own: the terminal that started the guest may close.
        rustix::process::setsid()?;
        if let Some(owner) = arguments.owner {
            end_with_owner(owner)?;
        }
        keep(&arguments.options, &run, &shell, false)?;
        return Ok(ExitCode::SUCCESS);
    }
    ensure(&[QEMU]).map_err(|error| Failure { hint: Some(error.hint()), message: error.to_string() })?;
    let options = prepare(&arguments.options, &run)?;
    if arguments.detach {
        let instance = start_detached(&options, &run, &shell)?;
        println!("{}", instance.state.name);
        let name = &instance.state.name;
        eprintln!("`uio-shell attach {name}` opens a prompt on it, `uio-shell stop {name}` stops it");
        return Ok(ExitCode::SUCCESS);
    }
    match keep(&options, &run, &shell, true)? {
        GuestEnd::Exited(0) | GuestEnd::Stopped => Ok(ExitCode::SUCCESS),
        GuestEnd::Exited(code) => {
            eprintln!("the guest ended with exit code {code}");
            Ok(ExitCode::from(code))
        }
    }
}

pub(crate) fn attach(arguments: &AttachArguments) -> Verdict {
    let (client, target) = connect(arguments)?;
    let interrupts = Interrupts::install()?;
    let mut shell = Shell::new(client, target, interrupts);
    if arguments.execute.is_empty() && arguments.file.is_none() {
        if std::io::stdin().is_terminal() {
            repl::greet(&shell);
        }
        let good = repl::interact(shell, arguments.json, "detached; the guest runs on")?;
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let script = match &arguments.file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure { message: format!("{}: {error}", path.display()), hint: None })?,
        None => String::new(),
    };
    let lines = arguments.execute.iter().map(String::as_str).chain(script.lines());
    // What failed has been shown.
    let result = repl::run_lines(&mut shell, lines, arguments.json);
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn connect(arguments: &AttachArguments) -> Result<(Client, Target), Failure> {
    if let Some(path) = arguments.target.as_deref().map(Path::new)
        && is_socket(path)
        && !is_instance_socket(path)
    {
        let client = Client::connect(path, ATTACH_TIMEOUT)?;
        let name = client.welcome().image.clone();
        return Ok((client, Target { name, image: arguments.image.clone(), directory: None, share: None }));
    }
    let run = RunDirectory::open()?;
    let instance = find_instance(&run, arguments)?;
    let client = Client::connect(&instance.shell_socket(), ATTACH_TIMEOUT)?;
    Ok((client, Target::of(instance, arguments.image.clone())))
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// A keeper's socket given by path is the same as the instance's name.
fn is_instance_socket(path: &Path) -> bool {
    path.with_file_name("instance.json").exists() && path.file_name().is_some_and(|name| name == "shell.sock")
}

fn find_instance(run: &RunDirectory, arguments: &AttachArguments) -> Result<Instance, Failure> {
    let by_path = |target: &String| {
        let path = PathBuf::from(target);
        let folder = is_instance_socket(&path).then(|| path.parent().map(Path::to_path_buf)).flatten()?;
        Some(folder.file_name()?.to_string_lossy().into_owned())
    };
    let name = arguments.target.as_ref().map(|target| by_path(target).unwrap_or_else(|| target.clone()));
    loop {
        match find(run, name.as_deref()) {
            Ok(instance) if instance.state.status == Status::Running => return Ok(instance),
            Ok(_) | Err(InstanceError::NotFound { .. } | InstanceError::None) if arguments.waitfor => {
                std::thread::sleep(WAIT_POLL);
            }
            Ok(instance) => {
                let name = instance.state.name;
                return Err(Failure {
                    message: format!("`{name}` is still starting: its overlay has not answered yet"),
                    hint: Some(format!("`uio-shell attach {name} --waitfor` waits for it")),
                });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) fn ps(json: bool) -> Verdict {
    let run = RunDirectory::open()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut out = std::io::stdout().lock();
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATUS", Align::Left),
        ("IMAGE", Align::Left),
        ("BUILD", Align::Left),
        ("MACHINE", Align::Left),
        ("MEMORY", Align::Right),
        ("UP", Align::Right),
        ("SHELLS", Align::Right),
        ("PORTS", Align::Left),
    ]);
    for instance in list(&run) {
        let state = instance.state;
        let up_s = now.saturating_sub(state.started_unix_s);
        if json {
            let mut value = serde_json::to_value(&state)?;
            value["uptime_s"] = json!(up_s);
            writeln!(out, "{value}")?;
            continue;
        }
        let image = state.image.file_name().map(|name| name.to_string_lossy().into_owned());
        table.row([
            state.name,
            match state.status {
                Status::Starting => "starting".into(),
                Status::Running => "running".into(),
            },
            image.unwrap_or_default(),
            state.build_id.map_or_else(|| "-".into(), |id| id.chars().take(12).collect()),
            format!("{} ({})", state.machine, state.accel),
            state.memory,
            // Whole seconds are known.
            if up_s < 60 { format!("{up_s} s") } else { time(up_s * 1_000_000_000) },
            state.attached.to_string(),
            if state.ports.is_empty() { "-".into() } else { state.ports.join(", ") },
        ]);
    }
    if table.is_empty() {
        if !json {
            eprintln!("nothing is running; `uio-shell run count --detach` starts a guest");
        }
    } else {
        let style = Style::of(&std::io::stdout());
        out.write_all(table.render(style).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn stop(name: &str, force: bool) -> Verdict {
    let run = RunDirectory::open()?;
    let instance = find(&run, Some(name))?;
    keeper::stop(&instance, force)?;
    println!("{name}");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn doctor(json: bool) -> Verdict {
    let style = Style::of(&std::io::stdout());
    let findings = examine();
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        if json {
            writeln!(out, "{}", finding.to_json())?;
            continue;
        }
        let mark = if finding.good { style.good("ok     ") } else { style.error("missing") };
        writeln!(out, "{mark}  {:<width$}  {}", finding.what, finding.found)?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "         {:<width$}  {}", "", style.hint(advice))?;
        }
    }
    let well = findings.iter().all(|finding| finding.good);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn bench(suite: Suite) -> Verdict {
    let met = match suite {
        Suite::Core { json } => uio_shell::bench::core(json)?,
        Suite::Bpf { json } => uio_shell::bench::bpf(json)?,
    };
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn guard(parent: u32, program: &str, arguments: &[String]) -> Verdict {
    let error = process::guard(parent, program, arguments);
    Err(Failure { message: format!("{program}: {error}"), hint: None })
}

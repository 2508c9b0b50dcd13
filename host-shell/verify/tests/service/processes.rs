//! Jobs as processes of their own: limits that engines cannot talk their way around.

use std::time::{Duration, Instant};

use uio_bpf_samples::{Cpu, object};
use uio_verify::client::{ClientError, ServiceUrl};
use uio_verify::service::Limits;
use uio_verify::worker::{Job, JobError, ProcessRunner, Runner};

use crate::support::{config, start};

fn worker() -> ProcessRunner {
    ProcessRunner { program: env!("CARGO_BIN_EXE_uio-verify-worker").into(), arguments: Vec::new() }
}

fn shell(script: &str) -> ProcessRunner {
    ProcessRunner { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] }
}

fn job(file: Vec<u8>) -> Job {
    Job {
        name: "port_filter".into(),
        file,
        engines: "prevail".into(),
        max_steps: 1_000_000,
        fuel: true,
        states: false,
        memory_bytes: 2 << 30,
        seconds: 60,
    }
}

const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn a_job_in_a_process() {
    let verification = worker().run(&job(object("port_filter", Cpu::V3)), ENOUGH).expect("a report");
    assert!(verification.report.accepted, "{}", verification.report.render(false));
}

#[test]
fn what_is_no_object() {
    let outcome = worker().run(&job(b"\x7fELF nonsense".to_vec()), ENOUGH);
    assert!(matches!(outcome, Err(JobError::UnreadableObject { .. })), "{outcome:?}");
}

#[test]
fn too_little_memory_ends_the_process_only() {
    let job = Job { memory_bytes: 8 << 20, ..job(object("port_filter", Cpu::V3)) };
    let outcome = worker().run(&job, ENOUGH);
    assert!(matches!(outcome, Err(JobError::Died { .. })), "{outcome:?}");
}

#[test]
fn processes_that_hang_crash_or_babble() {
    let begun = Instant::now();
    let outcome = shell("sleep 60").run(&job(Vec::new()), Duration::from_millis(300));
    assert_eq!(outcome, Err(JobError::OutOfTime { limit_ms: 300 }));
    let outcome = shell("cat >/dev/null; kill -SEGV $$").run(&job(Vec::new()), ENOUGH);
    let Err(JobError::Died { status }) = outcome else { panic!("{outcome:?}") };
    assert!(status.contains("signal: 11"), "{status}");
    let outcome = shell("cat >/dev/null; echo '{}'").run(&job(Vec::new()), ENOUGH);
    assert!(matches!(outcome, Err(JobError::Died { .. })), "{outcome:?}");
    // Never reads what it gets, which is more than a pipe holds.
    let outcome = shell("exec sleep 60").run(&job(vec![0; 1 << 20]), Duration::from_millis(300));
    assert_eq!(outcome, Err(JobError::OutOfTime { limit_ms: 300 }));
    let missing = ProcessRunner { program: "/nonexistent".into(), arguments: Vec::new() };
    assert!(matches!(missing.run(&job(Vec::new()), ENOUGH), Err(JobError::NotStarted { .. })));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_service_of_processes() {
    let service = start(config(Limits::default()), None, worker());
    let url = ServiceUrl::parse(&format!("http://{}", service.address)).expect("a URL");
    let engines = "prevail".parse().expect("an engine");
    let report =
        url.verify("port_filter", &object("port_filter", Cpu::V3), Some(&engines), false).expect("a report");
    assert!(report.accepted);
    let file = uio_bpf_samples::rejected_object("packet_unchecked", Cpu::V3);
    let report = url.verify("packet_unchecked", &file, Some(&engines), false).expect("a report");
    assert!(!report.accepted);
    let text = report.render(false);
    assert!(text.contains("packet_unchecked.c:8"), "{text}");
    let Err(ClientError::Refused(error)) = url.verify("x", b"not ELF", None, false) else {
        panic!("refused")
    };
    assert_eq!((error.status, error.code.as_str()), (422, "unreadable_object"));
}

#[test]
fn a_job_that_takes_too_long_is_told() {
    let limits = Limits { job_time: Duration::from_millis(300), ..Limits::default() };
    let service = start(config(limits), None, shell("exec sleep 60"));
    let url = ServiceUrl::parse(&format!("http://{}", service.address)).expect("a URL");
    let Err(ClientError::Refused(error)) = url.verify("x", b"object", None, false) else { panic!("refused") };
    assert_eq!((error.status, error.code.as_str()), (422, "out_of_time"));
    assert_eq!(error.details["limit_ms"], 300);
}

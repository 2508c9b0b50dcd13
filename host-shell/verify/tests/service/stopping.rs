//! The end of a service.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use uio_verify::service::Limits;

use crate::support::{Gated, config, connect, post, start};

/// What runs is finished and answered, what waits is given up and told, what is new is refused.
#[test]
fn stopping_is_graceful() {
    let runner = Gated::default();
    let limits = Limits { workers: 1, ..Limits::default() };
    let service = start(config(limits), None, runner.clone());
    let address = service.address;
    let running = thread::spawn(move || post(address, "/v1/verify?name=a", b"object"));
    runner.wait_for_runs(1);
    let waiting = thread::spawn(move || post(address, "/v1/verify?name=b", b"object"));
    while !crate::support::get(address, "/metrics").body.contains("queue_length 1\n") {
        thread::sleep(Duration::from_millis(5));
    }
    let mut idle = connect(address);

    service.stopper.stop();
    service.stopper.stop();
    let given_up = waiting.join().expect("an answer");
    assert_eq!((given_up.status, given_up.code().as_str()), (503, "stopping"));
    let mut text = String::new();
    idle.read_to_string(&mut text).expect("closed");
    assert_eq!(text, "");
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
    assert!(!running.is_finished(), "it still runs");

    runner.release();
    let finished = running.join().expect("an answer");
    assert_eq!(finished.status, 200, "{}", finished.body);
    assert!(finished.head.contains("Connection: close"));
    service.join();
    assert_eq!(runner.runs(), 1);
}

#[test]
fn an_idle_service_stops_at_once() {
    let service = start(config(Limits::default()), None, Gated::open());
    let _idle = connect(service.address);
    let begun = Instant::now();
    service.stopper.stop();
    service.join();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

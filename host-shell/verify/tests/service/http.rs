//! What clients can do wrong with HTTP, and how long they may take.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use uio_verify::service::Limits;

use crate::support::{Gated, Running, config, connect, get, post, read_answer, start};

fn quick() -> Running {
    let limits = Limits {
        request_time: Duration::from_millis(300),
        idle_time: Duration::from_millis(600),
        body_bytes: 1000,
        ..Limits::default()
    };
    start(config(limits), None, Gated::open())
}

/// What comes back for raw bytes: a status, or nothing.
fn raw(service: &Running, bytes: &[u8]) -> Option<u16> {
    let mut stream = connect(service.address);
    // It may have answered and closed already.
    let _ = stream.write_all(bytes);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    std::str::from_utf8(text.get(9..12)?).ok()?.parse().ok()
}

#[test]
fn one_connection_many_requests() {
    let service = quick();
    let mut stream = connect(service.address);
    for _ in 0..5 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
        let answer = read_answer(&mut stream);
        assert!(answer.head.contains("Connection: keep-alive"));
    }
    // Two at once are answered one after the other.
    stream
        .write_all(b"GET /health HTTP/1.1\r\n\r\nPOST /v1/verify?name=a HTTP/1.1\r\nContent-")
        .expect("sent");
    assert_eq!(read_answer(&mut stream).status, 200);
    stream.write_all(b"Length: 3\r\n\r\nabcGET /health HTTP/1.0\r\n\r\n").expect("sent");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("two answers");
    assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), 2, "{rest}");
    assert!(rest.contains("Connection: close"), "version 1.0 ends the connection");
}

#[test]
fn bodies_of_the_wrong_size() {
    let service = quick();
    let answer = post(service.address, "/v1/verify?name=a", &[0; 1001]);
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_long"));
    assert_eq!(answer.json()["error"]["limit_bytes"], 1000);
    assert_eq!(post(service.address, "/v1/verify?name=a", &[0; 1000]).status, 200);
    // The refusal comes before the body is sent.
    let huge = b"POST /v1/verify HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n";
    assert_eq!(raw(&service, huge), Some(413));
}

#[test]
fn a_go_ahead_is_given_for_what_is_taken() {
    let service = quick();
    let mut stream = connect(service.address);
    stream
        .write_all(b"POST /v1/verify?name=a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .expect("a head");
    let mut go = [0; 25];
    stream.read_exact(&mut go).expect("a go-ahead");
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").expect("a body");
    assert_eq!(read_answer(&mut stream).status, 200);
    let refused = b"POST /v1/verify HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n";
    assert_eq!(raw(&service, refused), Some(413));
}

#[test]
fn malformed_requests() {
    let service = quick();
    for (bytes, expected) in [
        (&b"nonsense\r\n\r\n"[..], Some(400)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Some(400)),
        (b"GET / HTTP/9.9\r\n\r\n", Some(400)),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", Some(400)),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Some(411)),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", Some(411)),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", Some(411)),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\na", Some(411)),
    ] {
        assert_eq!(raw(&service, bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    assert_eq!(raw(&service, many.as_bytes()), Some(431));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
    assert_eq!(raw(&service, long.as_bytes()), Some(431));
    assert_eq!(get(service.address, "/health").status, 200);
}

/// Nobody holds a thread longer than the limits say, however slowly.
#[test]
fn slow_clients_are_let_go() {
    let service = quick();
    let start = Instant::now();
    assert_eq!(raw(&service, b"GET /hea"), Some(408));
    assert_eq!(raw(&service, b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"), Some(408));
    assert_eq!(raw(&service, b""), None, "idle");
    assert!(start.elapsed() < Duration::from_secs(10));
    // A byte now and then does not help.
    let mut stream = connect(service.address);
    let begun = Instant::now();
    for byte in b"GET /health HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" {
        if stream.write_all(&[*byte]).is_err() || begun.elapsed() > Duration::from_secs(5) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
}

#[test]
fn clients_that_leave() {
    let service = quick();
    for bytes in [&b""[..], b"GET", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"] {
        let mut stream = connect(service.address);
        stream.write_all(bytes).expect("sent");
        stream.shutdown(Shutdown::Write).expect("closed");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("closed as well");
        assert_eq!(text, "");
    }
    assert_eq!(get(service.address, "/health").status, 200);
}

#[test]
fn too_many_connections_are_turned_away() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let service = start(config(limits), None, Gated::open());
    let held: Vec<_> = (0..3).map(|_| connect(service.address)).collect();
    let mut fourth = connect(service.address);
    let answer = read_answer(&mut fourth);
    assert_eq!((answer.status, answer.code().as_str()), (503, "too_many_connections"));
    drop(held);
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(20));
        let mut stream = connect(service.address);
        stream.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
        if read_answer(&mut stream).status == 200 {
            return;
        }
    }
    panic!("the places were not given back");
}

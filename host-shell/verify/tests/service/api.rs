//! Paths, parameters, queue and results.

use std::thread;

use uio_verify::service::Limits;

use crate::support::{Gated, config, get, metric, post, start};

#[test]
fn health_names_engines_and_key() {
    let service = start(config(Limits::default()), None, Gated::open());
    let answer = get(service.address, "/health");
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(json["status"], "ok");
    assert_eq!(json["engines"][0]["name"], "prevail");
    assert_eq!(json["key"], serde_json::Value::Null);
}

#[test]
fn a_report_and_the_same_from_the_cache() {
    let runner = Gated::open();
    let service = start(config(Limits::default()), None, runner.clone());
    let first = post(service.address, "/v1/verify?name=a", b"object");
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.json()["cached"], false);
    assert_eq!(first.json()["report"]["accepted"], true);
    let second = post(service.address, "/v1/verify?name=a", b"object");
    assert_eq!(second.json()["cached"], true);
    assert_eq!(second.json()["report"], first.json()["report"]);
    assert_eq!(runner.runs(), 1);
    // Another name is another object, and so are other bytes.
    post(service.address, "/v1/verify?name=b", b"object");
    post(service.address, "/v1/verify?name=a", b"other");
    post(service.address, "/v1/verify?name=a&engines=uio", b"object");
    assert_eq!(runner.runs(), 4);
    assert!((metric(service.address, "uio_verify_cache_hits_total") - 1.0).abs() < 0.1);
    assert!((metric(service.address, "uio_verify_cache_misses_total") - 4.0).abs() < 0.1);
    assert!((metric(service.address, "uio_verify_jobs_total{outcome=\"accepted\"}") - 4.0).abs() < 0.1);
    let ok = "uio_verify_requests_total{path=\"/v1/verify\",status=\"200\"}";
    assert!((metric(service.address, ok) - 5.0).abs() < 0.1);
}

#[test]
fn a_rejection_is_an_answer() {
    let service = start(config(Limits::default()), None, Gated::open());
    let answer = post(service.address, "/v1/verify?name=a", b"bad object");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["report"]["accepted"], false);
}

#[test]
fn many_clients_and_one_job() {
    let runner = Gated::default();
    let service = start(config(Limits::default()), None, runner.clone());
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..20).map(|_| scope.spawn(|| post(service.address, "/v1/verify?name=a", b"object"))).collect();
        runner.wait_for_runs(1);
        runner.release();
        for client in clients {
            assert_eq!(client.join().expect("an answer").status, 200);
        }
    });
    assert_eq!(runner.runs(), 1);
}

#[test]
fn many_clients_and_many_jobs() {
    let runner = Gated::open();
    let service = start(config(Limits::default()), None, runner.clone());
    thread::scope(|scope| {
        for client in 0..8 {
            let address = service.address;
            scope.spawn(move || {
                for job in 0..10 {
                    let name = format!("{client}-{job}");
                    let answer = post(address, &format!("/v1/verify?name={name}"), b"object");
                    assert_eq!(answer.json()["report"]["name"], name.as_str());
                }
            });
        }
    });
    assert_eq!(runner.runs(), 80);
}

#[test]
fn jobs_are_found_by_their_ids() {
    let runner = Gated::default();
    let limits = Limits { workers: 1, ..Limits::default() };
    let service = start(config(limits), None, runner.clone());
    let at = |name: &str| post(service.address, &format!("/v1/verify?name={name}&wait=0s"), b"object");
    let first = at("a");
    assert_eq!(first.status, 202);
    runner.wait_for_runs(1);
    let second = at("b");
    assert_eq!(second.json()["state"], "queued");
    let path = |answer: &serde_json::Value| format!("/v1/jobs/{}", answer["job"].as_str().expect("an id"));
    assert_eq!(get(service.address, &path(&first.json())).json()["state"], "running");
    assert_eq!(get(service.address, &path(&second.json())).json()["state"], "queued");
    assert!((metric(service.address, "uio_verify_queue_length") - 1.0).abs() < 0.1);
    assert!((metric(service.address, "uio_verify_running") - 1.0).abs() < 0.1);
    runner.release();
    let done = post(service.address, "/v1/verify?name=b", b"object");
    assert_eq!(done.status, 200);
    let found = get(service.address, &path(&second.json()));
    assert_eq!((found.status, &found.json()["report"]), (200, &done.json()["report"]));
    for id in ["x", &"0".repeat(64), &"é".repeat(32)] {
        assert_eq!(get(service.address, &format!("/v1/jobs/{id}")).status, 404);
    }
}

#[test]
fn a_full_queue_says_so() {
    let runner = Gated::default();
    let limits = Limits { workers: 1, queue: 2, ..Limits::default() };
    let service = start(config(limits), None, runner.clone());
    let at = |name: &str| post(service.address, &format!("/v1/verify?name={name}&wait=0s"), b"object");
    assert_eq!(at("a").status, 202);
    runner.wait_for_runs(1);
    assert_eq!((at("b").status, at("c").status), (202, 202));
    let refused = at("d");
    assert_eq!((refused.status, refused.code().as_str()), (503, "queue_full"));
    assert!(refused.head.contains("Retry-After: 1\r\n"), "{}", refused.head);
    assert_eq!(at("b").status, 202, "what waits already may be asked for");
    assert!((metric(service.address, "uio_verify_refused_total{reason=\"queue\"}") - 1.0).abs() < 0.1);
    runner.release();
}

#[test]
fn results_are_forgotten_in_time() {
    let runner = Gated::open();
    let limits = Limits { results: 2, ..Limits::default() };
    let service = start(config(limits), None, runner.clone());
    let at = |name: &str| {
        post(service.address, &format!("/v1/verify?name={name}"), b"object").json()["cached"].clone()
    };
    for name in ["a", "b", "c"] {
        assert_eq!(at(name), false);
    }
    assert_eq!((at("c"), at("b")), (true.into(), true.into()));
    assert_eq!(at("a"), false, "forgotten");
    assert!((metric(service.address, "uio_verify_cache_entries") - 2.0).abs() < 0.1);
}

#[test]
fn bad_requests_are_named() {
    let service = start(config(Limits::default()), None, Gated::open());
    let code = |path: &str, body: &[u8]| {
        let answer = post(service.address, path, body);
        (answer.status, answer.code())
    };
    for (path, body, expected) in [
        ("/v1/verify", &b"x"[..], (400, "bad_parameter")),
        ("/v1/verify?name=", b"x", (400, "bad_parameter")),
        ("/v1/verify?name=a%2fb", b"x", (400, "bad_parameter")),
        ("/v1/verify?name=a&name=b", b"x", (400, "bad_parameter")),
        ("/v1/verify?name=a&engines=linux", b"x", (400, "bad_parameter")),
        ("/v1/verify?name=a&states=maybe", b"x", (400, "bad_parameter")),
        ("/v1/verify?name=a&wait=soon", b"x", (400, "bad_parameter")),
        ("/v1/verify?name=a&nmae=b", b"x", (400, "no_such_parameter")),
        ("/v1/verify?name=a", b"", (400, "no_object")),
        ("/v2/verify", b"x", (404, "no_such_path")),
        ("/", b"x", (404, "no_such_path")),
        ("/health", b"x", (405, "wrong_method")),
        ("/v1/sign?name=a", b"x", (403, "no_key")),
    ] {
        assert_eq!(code(path, body), (expected.0, expected.1.to_owned()), "{path}");
    }
    let answer = get(service.address, "/v1/verify");
    assert_eq!(answer.code(), "wrong_method");
    assert_eq!(answer.json()["error"]["allowed"], "POST");
}

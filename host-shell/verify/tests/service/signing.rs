//! Signing by the service: who may, and that a guest takes what comes out.

use uio_verifier::certificate::{GenerationStore, Hook, HookKind, Policy, Rollback, admit};
use uio_verify::client::{ClientError, ServiceUrl};
use uio_verify::service::{Clients, Limits, Service, ServiceError};
use uio_verify::{Terms, key};

use crate::support::{Gated, Running, ask, config, metric, post, start, test_only_key};

/// SHA-256 of `test`.
const TEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn terms() -> Terms {
    Terms {
        hooks: vec![Hook::parse("packet:filter").expect("a hook")],
        tenant: "acme".into(),
        valid: std::time::Duration::from_secs(3600),
        generation: Some(3),
        fuel: Some(1000),
        run_time: Some(std::time::Duration::from_micros(50)),
    }
}

fn url(service: &Running) -> ServiceUrl {
    ServiceUrl::parse(&format!("http://{}", service.address)).expect("a URL")
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

#[test]
fn what_the_service_signs_a_guest_admits() {
    let service = start(config(Limits::default()), Some(test_only_key()), Gated::open());
    let signed = url(&service).sign("pass", b"object", &terms(), None).expect("signed");
    assert_eq!(signed.claims["tenant"], "acme");
    assert_eq!(signed.claims["hooks"][0], "packet:filter");
    let policy =
        format!("key test ed25519 {}\nallow acme packet:filter\n", key::public_hex(&test_only_key()));
    let policy = Policy::parse(policy.as_bytes()).expect("a policy");
    let generations = GenerationStore::default();
    let admitted =
        admit(&signed.package, &policy, &generations, Some(now()), Rollback::Refuse).expect("admitted");
    let claims = &admitted.signed.as_ref().expect("signed").claims;
    assert_eq!((claims.generation, claims.bounds.fuel, claims.bounds.run_ns), (3, Some(1000), Some(50_000)));
    assert!(claims.not_after >= now() + 3590 && claims.not_after <= now() + 3600);
    assert!(admitted.permits(HookKind::Packet, "filter"));
    let late = admit(&signed.package, &policy, &generations, Some(now() + 3700), Rollback::Refuse);
    assert!(late.is_err());
    assert!((metric(service.address, "uio_verify_signed_total") - 1.0).abs() < 0.1);
}

#[test]
fn what_is_rejected_is_not_signed() {
    let service = start(config(Limits::default()), Some(test_only_key()), Gated::open());
    let path = "/v1/sign?name=a&tenant=acme&hook=packet:filter&valid=1h";
    let answer = post(service.address, path, b"bad object");
    assert_eq!((answer.status, answer.code().as_str()), (422, "rejected"));
    assert_eq!(answer.json()["error"]["report"]["accepted"], false);
    for (path, code) in [
        ("/v1/sign?name=a&tenant=acme&valid=1h", "hook_kind"),
        ("/v1/sign?name=a&tenant=acme&hook=timer:x&valid=1h", "hook_kind"),
        ("/v1/sign?name=a&tenant=a,b&hook=packet:filter&valid=1h", "claims"),
        ("/v1/sign?name=a&hook=packet:filter&valid=1h", "bad_parameter"),
        ("/v1/sign?name=a&tenant=acme&hook=filter&valid=1h", "bad_parameter"),
        ("/v1/sign?name=a&tenant=acme&hook=packet:filter&valid=long", "bad_parameter"),
        ("/v1/sign?name=a&tenant=acme&hook=packet:filter&valid=1h&engines=uio", "no_such_parameter"),
    ] {
        assert_eq!(post(service.address, path, b"object").code(), code, "{path}");
    }
    assert!(metric(service.address, "uio_verify_signed_total").abs() < 0.1);
}

#[test]
fn only_clients_get_signatures() {
    let clients = Clients::parse(&format!("ci {TEST} acme packet:*")).expect("clients");
    let mut config = config(Limits::default());
    config.clients = Some(clients);
    let service = start(config, Some(test_only_key()), Gated::open());
    let path = "/v1/sign?name=a&tenant=acme&hook=packet:filter&valid=1h";
    let with = |headers: &str, path: &str| ask(service.address, "POST", path, headers, b"object");
    let none = with("", path);
    assert_eq!((none.status, none.code().as_str()), (401, "no_token"));
    assert!(none.head.contains("WWW-Authenticate: Bearer"));
    assert_eq!(with("Authorization: Bearer wrong\r\n", path).code(), "unknown_token");
    assert_eq!(with("Authorization: Basic test\r\n", path).code(), "no_token");
    assert_eq!(with("Authorization: Bearer test\r\n", path).status, 200);
    let other = path.replace("acme", "else");
    assert_eq!(with("Authorization: Bearer test\r\n", &other).code(), "tenant");
    let other = path.replace("hook=", "hook=timer:x&hook=");
    assert_eq!(with("Authorization: Bearer test\r\n", &other).code(), "hook");
    assert_eq!(post(service.address, "/v1/verify?name=a", b"object").status, 200, "verifying is free");

    let url = url(&service);
    assert!(url.sign("a", b"object", &terms(), Some("test")).is_ok());
    let Err(ClientError::Refused(error)) = url.sign("a", b"object", &terms(), None) else {
        panic!("refused")
    };
    assert_eq!((error.status, error.code.as_str()), (401, "no_token"));
}

#[test]
fn nobody_signs_for_the_whole_network() {
    let mut config = config(Limits::default());
    config.listen = "0.0.0.0:0".parse().expect("an address");
    let result = Service::bind(config.clone(), Some(test_only_key()), Box::new(Gated::open()));
    let Err(error @ ServiceError::OpenSigning { .. }) = result else { panic!("refused") };
    assert!(error.hint().expect("a hint").contains("--clients"));
    assert!(Service::bind(config, None, Box::new(Gated::open())).is_ok(), "without a key there is no danger");
}

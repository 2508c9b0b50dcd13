//! `verify`, `sign`, `serve` and `key` as a person runs them.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use uio_bpf_samples::{Cpu, object, rejected_object};
use uio_verifier::certificate::{GenerationStore, Policy, Rollback, admit, encode_package};
use uio_verify::{Loadable, Request, read_object, verify};

/// A folder with the samples, and what runs in it.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("port_filter.o"), object("port_filter", Cpu::V3)).expect("a file");
        let bad = rejected_object("packet_unchecked", Cpu::V3);
        std::fs::write(folder.path().join("packet_unchecked.o"), bad).expect("a file");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uio-shell"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("it runs")
    }

    /// Standard output of what has to work.
    #[track_caller]
    fn good(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Both outputs of what has to fail.
    #[track_caller]
    fn bad(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line}: {}", text(&output.stdout));
        text(&output.stdout) + &text(&output.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A service of its own process; killed if a test ends early.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(bench: &Bench, line: &str) -> Self {
        let mut child =
            bench.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut url).expect("a line");
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Self { child, url: url.trim().to_owned() }
    }

    /// Asks it to end; what it said, once it has.
    fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert!(self.child.wait().expect("its end").success());
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the guest says to the object and a certificate in a file.
fn admitted(bench: &Bench, certificate: &Path) -> Result<u64, String> {
    let public = bench.good("key show provider.pem --json");
    let public: serde_json::Value = serde_json::from_str(&public).expect("JSON");
    let key = public["public"].as_str().expect("a key");
    let policy = Policy::parse(format!("key provider ed25519 {key}\nallow acme packet:filter\n").as_bytes());
    let file = std::fs::read(bench.path("port_filter.o")).expect("a file");
    let subject = read_object(&file, "port_filter").expect("an object");
    let Loadable { object, proofs, .. } = verify(subject, &Request::default()).loadable.expect("safe");
    let certificate = std::fs::read(certificate).expect("a certificate");
    let package = encode_package(Some(&certificate), &object, &proofs).expect("fits");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let generations = GenerationStore::default();
    let admitted = admit(&package, &policy.expect("a policy"), &generations, Some(now), Rollback::Refuse)
        .map_err(|error| error.to_string())?;
    admitted.check().map_err(|error| error.to_string())?;
    Ok(admitted.signed.expect("signed").claims.generation)
}

#[test]
fn verdicts() {
    let bench = Bench::new();
    let good = bench.good("verify port_filter.o");
    assert!(good.starts_with("accepted  packet port_filter ("), "{good}");
    assert!(good.contains("uio 0.1.0 accepts") && good.contains("prevail 0.2.6 accepts"), "{good}");
    let json: serde_json::Value =
        serde_json::from_str(&bench.good("verify port_filter.o --json")).expect("JSON");
    assert_eq!(json["accepted"], true);
    assert!(good.contains(json["digest"].as_str().expect("a digest")), "the same object");
    assert!(!bench.good("verify port_filter.o --engines uio").contains("prevail"));
    assert!(bench.good("verify port_filter.o --engines uio -v").contains("     0  "), "states");

    let bad = bench.bad("verify packet_unchecked.o");
    for part in ["error: packet_unchecked: ", "packet_unchecked.c:8", "= help: ", "prevail rejects it:"] {
        assert!(bad.contains(part), "{part} in\n{bad}");
    }
    assert!(bench.bad("verify port_filter.o --engines linux").contains("there are uio and prevail"));
    assert!(bench.bad("verify missing.o").contains("missing.o: No such file"));
    std::fs::write(bench.path("text.o"), "text").expect("a file");
    assert!(bench.bad("verify text.o").contains("not an ELF file"));
}

#[test]
fn keys() {
    let bench = Bench::new();
    let id = bench.good("key new provider.pem");
    assert!(bench.good("key show provider.pem").contains(&format!("id      {id}")));
    assert!(bench.bad("key new provider.pem").contains("is there already"));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(bench.path("provider.pem"), open).expect("a mode");
    assert!(bench.bad("key show provider.pem").contains("chmod 600"));
}

#[test]
fn what_is_signed_is_admitted() {
    let bench = Bench::new();
    bench.good("key new provider.pem");
    let said = bench.good(
        "sign port_filter.o --key provider.pem --hook packet:filter --tenant acme --valid 30d --generation 7",
    );
    assert!(said.contains("tenant       acme, generation 7\n"), "{said}");
    assert_eq!(admitted(&bench, &bench.path("port_filter.cert")), Ok(7));
    bench.good(
        "sign port_filter.o --key provider.pem --hook packet:else --tenant acme --valid 30d -o else.cert",
    );
    let refused = admitted(&bench, &bench.path("else.cert")).expect_err("another hook");
    assert!(refused.contains("tenant `acme` is not allowed at hook packet:else"), "{refused}");

    let refused = bench
        .bad("sign packet_unchecked.o --key provider.pem --hook packet:filter --tenant acme --valid 30d");
    assert!(refused.contains("packet_unchecked was not signed"), "{refused}");
    assert!(!bench.path("packet_unchecked.cert").exists());
    let timer = bench.bad("sign port_filter.o --key provider.pem --hook timer:x --tenant acme --valid 30d");
    assert!(timer.contains("`port_filter` is for packet hooks"), "{timer}");
    let hook = bench.bad("sign port_filter.o --key provider.pem --hook filter --tenant acme --valid 30d");
    assert!(hook.contains("write KIND:NAME"), "{hook}");
}

#[test]
fn a_service_for_others() {
    let bench = Bench::new();
    bench.good("key new provider.pem");
    let server = Server::start(&bench, "serve --listen 127.0.0.1:0 --key provider.pem");
    let url = server.url.clone();
    let good = bench.good(&format!("verify port_filter.o --service {url}"));
    assert!(good.starts_with("accepted  packet port_filter ("), "{good}");
    let bad = bench.bad(&format!("verify packet_unchecked.o --service {url}"));
    assert!(bad.contains("packet_unchecked.c:8"), "{bad}");
    let text = bench.bad(&format!("verify provider.pem --service {url}"));
    assert!(text.contains("not an ELF file") && text.contains("hint:"), "{text}");
    bench.good(&format!(
        "sign port_filter.o --service {url} --hook packet:filter --tenant acme --valid 1h --generation 3"
    ));
    assert_eq!(admitted(&bench, &bench.path("port_filter.cert")), Ok(3));
    let said = server.stop();
    assert!(said.contains("POST /v1/sign 200") && said.contains("what runs is finished"), "{said}");
    assert!(bench.bad(&format!("verify port_filter.o --service {url}")).contains("uio-shell serve"));
}

#[test]
fn a_service_that_would_sign_for_everybody_does_not_start() {
    let bench = Bench::new();
    bench.good("key new provider.pem");
    let said = bench.bad("serve --listen 0.0.0.0:0 --key provider.pem");
    assert!(said.contains("--clients"), "{said}");
}

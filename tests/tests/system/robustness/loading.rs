//! Extensions that come and go: two shells at once, more than there are keys, and in use.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use uio_shell::client::Client;
use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::guest::Guest;
use uio_tests::process::within;
use uio_tests::session::Session;

/// Loads, runs and unloads of each of two shells, under names of their own and then under the same.
const ROUNDS: usize = 25;
/// Loads and unloads after which memory is compared.
const UNLOADS: usize = 200;
/// Keys that are left for domains.
const KEYS: usize = 13;
/// Memory that may be missing after all is unloaded: what the guest's lists grew by. A page that each unload kept would be
/// more.
const KEPT_BYTES_MAX: u64 = 64 * 1024;
const SOON: Duration = Duration::from_secs(20);

/// An object of the sample `hello` under another name: the name of an extension is its file's.
fn named(guest: &Guest, name: &str) -> String {
    let path = guest.home().path().join(name).with_extension("o");
    fs::copy(extension("hello"), &path).expect("a copy");
    path.display().to_string()
}

fn errors(objects: &[Value]) -> Vec<&str> {
    objects.iter().filter_map(|one| one["error"].as_str()).collect()
}

/// Gives a command that has to succeed.
fn good(shell: &mut Session, command: &str) -> Vec<Value> {
    let objects = shell.ask(command);
    assert!(errors(&objects).is_empty(), "{command}: {objects:?}");
    objects
}

/// Gives a command that has to fail, and its one error.
fn refused(shell: &mut Session, command: &str) -> String {
    let objects = shell.ask(command);
    match errors(&objects)[..] {
        [error] => error.to_owned(),
        _ => panic!("{command}: {objects:?}"),
    }
}

/// Memory that must come back when everything is unloaded.
struct Before {
    free_bytes: u64,
    heap_bytes: u64,
}

impl Before {
    fn of(client: &Client) -> Self {
        let free_bytes = client.info().expect("an answer").memory_free_bytes;
        Self { free_bytes, heap_bytes: client.heap().expect("an answer").used_bytes }
    }

    fn is_back(&self, client: &Client) {
        assert_eq!(client.extensions().expect("an answer"), []);
        let now = Self::of(client);
        let kept = self.free_bytes.saturating_sub(now.free_bytes);
        assert!(kept <= KEPT_BYTES_MAX, "{kept} bytes of memory are gone");
        let kept = now.heap_bytes.saturating_sub(self.heap_bytes);
        assert!(kept <= KEPT_BYTES_MAX, "{kept} bytes of the heap are gone");
        let mine = |owner: &str| owner.contains("extension");
        let left: Vec<_> =
            client.regions().expect("an answer").into_iter().filter(|one| mine(&one.owner)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What the loser of a race may be told.
fn is_proper(error: &str) -> bool {
    error.starts_with("an extension of that name is loaded already (id ")
        || error.starts_with("no extension")
        || error.starts_with("the extension is in use: ")
}

fn under_own_name(guest: &Guest, name: &str) {
    let object = named(guest, name);
    let mut shell = Session::open(guest);
    for round in 0..ROUNDS {
        let isolation = ["mpk", "ring3", "none"][round % 3];
        let loaded = good(&mut shell, &format!("load --isolation {isolation} {object}"));
        assert_eq!(
            (loaded[0]["name"].as_str(), loaded[0]["isolation"].as_str()),
            (Some(name), Some(isolation))
        );
        let ran = good(&mut shell, &format!("run {name} {round}"));
        let said: String = ran.iter().filter_map(|one| one["output"].as_str()).collect();
        assert!(said.contains(&format!("argv[1] = \"{round}\"")), "{ran:?}");
        assert_eq!(ran.last().expect("an end")["returned"], 0, "{ran:?}");
        good(&mut shell, &format!("unload {name}"));
    }
    assert_eq!(shell.close(), Some(1), "the marks that end commands are errors");
}

/// Gives how often it lost.
fn under_the_same_name(guest: &Guest, object: &str) -> usize {
    let mut shell = Session::open(guest);
    let mut lost = 0;
    for _ in 0..ROUNDS {
        for command in [&format!("load {object}"), "run same x", "unload same"] {
            let objects = shell.ask(command);
            let errors = errors(&objects);
            assert!(
                errors.len() <= 1 && errors.iter().all(|error| is_proper(error)),
                "{command}: {objects:?}"
            );
            lost += errors.len();
        }
    }
    lost
}

#[test]
fn two_shells_load_run_and_unload_at_once() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let client = counter.client();
    let same = named(&guest, "same");
    // What is made at the first load stays.
    let _ = guest.say(&[&format!("run {same}"), "unload same"]);
    let before = Before::of(client);

    std::thread::scope(|scope| {
        scope.spawn(|| under_own_name(&guest, "left"));
        scope.spawn(|| under_own_name(&guest, "right"));
    });
    before.is_back(client);

    let lost: usize = std::thread::scope(|scope| {
        let shells: Vec<_> = (0..2).map(|_| scope.spawn(|| under_the_same_name(&guest, &same))).collect();
        shells.into_iter().map(|shell| shell.join().expect("a shell")).sum()
    });
    eprintln!("of {} commands {lost} lost a race", 2 * 3 * ROUNDS);
    // The last unload may have lost to a run of the other shell.
    if !client.extensions().expect("an answer").is_empty() {
        let _ = guest.say(&["unload same"]);
    }
    before.is_back(client);

    let (mut one, mut other) = (Session::open(&guest), Session::open(&guest));
    good(&mut one, &format!("load {same}"));
    assert!(
        refused(&mut other, &format!("load {same}"))
            .starts_with("an extension of that name is loaded already (id ")
    );
    good(&mut other, "run same y");
    good(&mut other, "unload same");
    assert!(refused(&mut one, "unload same").starts_with("no extension"));
    before.is_back(client);
    counter.must_grow("two shells");
}

#[test]
fn keys_run_out_and_come_back() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let client = counter.client();
    let objects: Vec<String> = (0..=KEYS).map(|number| named(&guest, &format!("key{number}"))).collect();
    let _ = guest.say(&[&format!("run {}", objects[0]), "unload key0"]);
    let before = Before::of(client);
    let mut shell = Session::open(&guest);
    for round in 0..2 {
        let mut keys = Vec::new();
        for object in &objects[..KEYS] {
            let loaded = good(&mut shell, &format!("load {object}"));
            keys.push(loaded[0]["key"].as_u64().expect("a key"));
        }
        keys.sort_unstable();
        assert_eq!(keys, (3..16).collect::<Vec<u64>>(), "each domain has a key of its own");
        let refusal = refused(&mut shell, &format!("load {}", objects[KEYS]));
        assert_eq!(refusal, format!("all protection keys are taken, {KEYS} domains hold one"));
        // Without isolation no key is needed.
        good(&mut shell, &format!("load --isolation none {}", objects[KEYS]));
        good(&mut shell, &format!("run key{KEYS} x"));
        good(&mut shell, &format!("unload key{KEYS}"));
        // One goes, and its key goes to the next.
        let middle = KEYS / 2 + round;
        good(&mut shell, &format!("unload key{middle}"));
        good(&mut shell, &format!("run {} x", objects[KEYS]));
        good(&mut shell, &format!("unload key{KEYS}"));
        for number in (0..KEYS).filter(|number| *number != middle) {
            good(&mut shell, &format!("run key{number} x"));
            good(&mut shell, &format!("unload key{number}"));
        }
        before.is_back(client);
    }
    counter.must_grow("all keys");
}

#[test]
fn memory_comes_back_with_every_unload() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let client = counter.client();
    let mut shell = Session::open(&guest);
    let samples = ["hello", "add", "set_count"].map(|name| (name, extension(name)));
    let mut round = |number: usize| {
        let (name, object) = &samples[number % samples.len()];
        let isolation = ["mpk", "ring3"][number % 2];
        good(&mut shell, &format!("load --isolation {isolation} {object}"));
        // Its stack and heap come with the first run; `set_count` may not write to the application.
        if *name != "set_count" {
            good(&mut shell, &format!("run {name} 1 2"));
        }
        good(&mut shell, &format!("unload {name}"));
    };
    (0..10).for_each(&mut round);
    let before = Before::of(client);
    (0..UNLOADS).for_each(&mut round);
    before.is_back(client);
    counter.must_grow("unloads");
}

#[test]
fn what_is_in_use_stays() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let client = counter.client();
    let mut busy = Session::open(&guest);
    let mut shell = Session::open(&guest);

    busy.send(&format!("run --budget 0 {}", extension("loop")));
    let running =
        || client.extensions().expect("an answer").iter().any(|one| one.name == "loop" && one.runs == 1);
    assert!(within(SOON, running), "the loop does not start");
    // Before that it may not have run at all.
    let said = busy.line(SOON).unwrap_or_default();
    assert!(said.contains("looping"), "{said}");
    assert_eq!(refused(&mut shell, "unload loop"), "the extension is in use: 1 run in it");
    assert!(running(), "the refused unload ended it");
    good(&mut shell, "kill loop");
    assert!(within(SOON, || !running()));
    good(&mut shell, "unload loop");

    for name in ["counter_watch", "counter_report"] {
        good(&mut shell, &format!("load {}", extension(name)));
    }
    assert_eq!(
        refused(&mut shell, "unload counter_watch"),
        "the extension is in use: counter_report linked to it"
    );
    good(&mut shell, "run counter_report");
    good(&mut shell, "unload counter_report");
    good(&mut shell, "unload counter_watch");
    assert_eq!(client.extensions().expect("an answer"), []);
    counter.must_grow("refused unloads");
}

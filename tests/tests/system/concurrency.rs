//! Several shells at once.

use std::thread;

use uio_protocol::limits::SESSIONS_MAX;
use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::guest::Guest;
use uio_tests::session::Session;

fn shells(guest: &Guest) -> u64 {
    guest.json("info")[0]["shells"].as_u64().expect("a number")
}

#[test]
fn several_shells_work_side_by_side() {
    let guest = Guest::start(&["--net", "none"]);
    let mut sessions: Vec<Session> = (0..4).map(|_| Session::open(&guest)).collect();
    for (index, session) in sessions.iter_mut().enumerate() {
        let value = session.ask(&format!("print {index} + 100")).pop().expect("a value");
        assert_eq!(value["value"].as_u64(), Some(index as u64 + 100), "{value}");
    }
    assert_eq!(shells(&guest), 5, "four and the one that asks");
    // Output goes to the shell that started the run, and to no other.
    let hello = extension("hello");
    let _ = sessions[0].ask(&format!("load {hello}"));
    for (index, session) in sessions.iter_mut().enumerate() {
        session.send(&format!("run hello shell{index}"));
    }
    for (index, session) in sessions.iter_mut().enumerate() {
        let said = session.ask("ext");
        let text: String = said.iter().filter_map(|one| one["output"].as_str()).collect();
        assert_eq!(text.matches("hello from thread").count(), 1, "{text}");
        assert!(text.contains(&format!("argv[1] = \"shell{index}\"")), "{index}: {text}");
    }
    drop(sessions);
    assert!(uio_tests::process::within(std::time::Duration::from_secs(10), || shells(&guest) == 1));
}

#[test]
fn one_shell_too_many_is_refused_politely() {
    let guest = Guest::start(&["--net", "none"]);
    // The keeper holds one.
    let clients: Vec<_> = (1..SESSIONS_MAX).map(|_| guest.client()).collect();
    let refused = guest.execute(&["info"]);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("shells are attached"), "{refused:#?}");
    drop(clients);
    let free = || guest.execute(&["info"]).code == Some(0);
    assert!(uio_tests::process::within(std::time::Duration::from_secs(10), free));
    Counter::of(&guest).must_grow("a refused shell");
}

#[test]
fn two_shells_load_at_once() {
    let guest = Guest::start(&["--net", "none"]);
    let objects: Vec<String> = ["hello", "add", "counter_watch", "heap_leaks"].map(extension).to_vec();
    for _ in 0..3 {
        thread::scope(|scope| {
            for object in &objects {
                let guest = &guest;
                scope.spawn(move || guest.say(&[&format!("load {object}")]));
            }
        });
        let mut names: Vec<String> =
            guest.json("ext").iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        assert_eq!(names, ["add", "counter_watch", "heap_leaks", "hello"]);
        thread::scope(|scope| {
            for name in &names {
                let guest = &guest;
                scope.spawn(move || guest.say(&[&format!("unload {name}")]));
            }
        });
        assert!(guest.json("ext").is_empty());
    }
    // The same one from two sides: exactly one wins.
    let codes: Vec<Option<i32>> = thread::scope(|scope| {
        let load = || scope.spawn(|| guest.execute(&[&format!("load {}", objects[0])]).code);
        let (one, two) = (load(), load());
        vec![one.join().expect("a shell"), two.join().expect("a shell")]
    });
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(guest.json("ext").len(), 1);
}

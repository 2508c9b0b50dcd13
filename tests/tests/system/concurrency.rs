//! Several shells at once.

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

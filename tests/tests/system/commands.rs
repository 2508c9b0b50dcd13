//! Every command of the prompt, by `attach -e`.

use uio_tests::guest::Guest;

#[test]
fn info() {
    let guest = Guest::start(&[]);
    let text = guest.say(&["info"]);
    uio_tests::golden::assert_golden("info", &text, &[]);
    let mut session = uio_tests::session::Session::open(&guest);
    println!("{:?}", session.ask("info"));
    println!("{:?}", session.ask("print count"));
    println!("{:?}", session.close());
    let mut t = uio_tests::terminal::Terminal::open(&guest);
    println!("{}", t.command("threads"));
    println!("{}", t.command("print count"));
    println!("{}", t.command("threads | grep app"));
    println!("{:?}", t.leave());
    uio_tests::counter::Counter::of(&guest).must_grow("nothing");
}

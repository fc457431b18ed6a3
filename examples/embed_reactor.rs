//! A program with a loop of its own serves a line protocol: what comes is sent back in capitals. `quit`, or the end of the standard
//! input, ends it politely. Build it with `--no-default-features`: the reactor is all it needs.

use evenkeel::reactor::*;
use std::time::Duration;

struct Shout;
struct Line;

impl App for Shout {
    type Session = Line;
    type Note = ();
    type Message = ();
    type Reason = Option<PortReason>;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Line> {
        Admit::Serve(Line)
    }
    fn on_message(&mut self, (): (), _: &mut AppCx<'_, Self>) {}
    fn on_close(&mut self, _: Line, end: End<Self::Reason>, _: &mut AppCx<'_, Self>) {
        eprintln!("{} has ended: {:?}", end.peer, end.reason);
    }
}

impl Session for Line {
    type App = Shout;

    fn on_data(&mut self, input: &mut Input<'_>, _: &mut Shout, cx: &mut Cx<'_, Shout>) -> StepOf<Shout> {
        // An unfinished line stays in the input and is shown again; one of more than 64 KiB ends the connection.
        while let Some(end) = input.bytes().iter().position(|b| *b == b'\n') {
            cx.write(&input.bytes()[..=end].to_ascii_uppercase());
            input.take(end + 1);
        }
        Step::Continue
    }
    fn on_event(&mut self, event: EventOf<Shout>, _: &mut Shout, _: &mut Cx<'_, Shout>) -> StepOf<Shout> {
        match event {
            Event::Eof | Event::Drain => Step::Close(Close::Graceful, None),
            // It takes nothing of what it is sent.
            Event::Timeout(_) => Step::Close(Close::Abort, None),
            Event::Open | Event::Drained | Event::Failed(_) | Event::Note(..) => Step::Continue,
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut reactor = Reactor::new(Shout, OsNet::new()?, Settings::default());
    let listener = OsListener::tcp(([127, 0, 0, 1], 0).into())?;
    println!("{}", listener.local_addr()?);
    reactor.add_listener(listener)?;
    let handle = reactor.handle();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lines().map_while(Result::ok).find(|line| line == "quit");
        handle.drain(Duration::from_secs(5));
    });
    // The program's own work has its place in this loop; a turn takes at most a tenth of a second from it when nothing happens.
    while reactor.turn(Some(Duration::from_millis(100)))? != Turn::Finished {}
    Ok(())
}

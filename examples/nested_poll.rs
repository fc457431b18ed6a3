//! A program with a poll of its own nests the whole reactor in it, as one descriptor. Here it has one other source besides: words
//! from the standard input, of which `quit` (or the end) ends it politely. What clients send is sent back.

use evenkeel::reactor::*;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, net::UnixStream};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

struct Mirror;
struct Echo;

impl App for Mirror {
    type Session = Echo;
    type Note = ();
    type Message = ();
    type Reason = Option<PortReason>;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Echo> {
        Admit::Serve(Echo)
    }
    fn on_message(&mut self, (): (), _: &mut AppCx<'_, Self>) {}
    fn on_close(&mut self, _: Echo, end: End<Self::Reason>, _: &mut AppCx<'_, Self>) {
        eprintln!("{} has ended: {:?}", end.peer, end.reason);
    }
}

impl Session for Echo {
    type App = Mirror;

    fn on_data(&mut self, input: &mut Input<'_>, _: &mut Mirror, cx: &mut Cx<'_, Mirror>) -> StepOf<Mirror> {
        cx.write(input.bytes());
        input.take(input.bytes().len());
        Step::Continue
    }
    fn on_event(&mut self, event: EventOf<Mirror>, _: &mut Mirror, _: &mut Cx<'_, Mirror>) -> StepOf<Mirror> {
        match event {
            Event::Eof | Event::Drain => Step::Close(Close::Graceful, None),
            // It takes nothing of what it is sent.
            Event::Timeout(_) => Step::Close(Close::Abort, None),
            Event::Open | Event::Drained | Event::Failed(_) | Event::Note(..) => Step::Continue,
        }
    }
}

const REACTOR: mio::Token = mio::Token(0);
const WORDS: mio::Token = mio::Token(1);

/// The program's own source: lines of the standard input, by way of a socket.
fn words() -> io::Result<UnixStream> {
    let (mut give, take) = std::os::unix::net::UnixStream::pair()?;
    take.set_nonblocking(true)?;
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if give.write_all(format!("{line}\n").as_bytes()).is_err() {
                return;
            }
        }
    });
    Ok(UnixStream::from_std(take))
}

/// Takes what has come; true when it is time to go.
fn asked_to_quit(words: &mut UnixStream, said: &mut Vec<u8>) -> bool {
    match words.read_to_end(said) {
        // It would have waited: there is more to come.
        Err(_) => said.split(|b| *b == b'\n').any(|line| line == b"quit"),
        Ok(_) => true,
    }
}

fn main() -> io::Result<()> {
    let mut reactor = Reactor::new(Mirror, OsNet::new()?, Settings::default());
    let listener = OsListener::tcp(([127, 0, 0, 1], 0).into())?;
    println!("{}", listener.local_addr()?);
    reactor.add_listener(listener)?;

    let (mut words, mut said) = (words()?, Vec::new());
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(16));
    let nested = reactor.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&nested), REACTOR, Interest::READABLE)?;
    poll.registry().register(&mut words, WORDS, Interest::READABLE)?;
    loop {
        let wait = match reactor.next() {
            Turn::Now => Some(Duration::ZERO),
            Turn::After(due) => Some(due),
            Turn::Idle => None,
            Turn::Finished => return Ok(()),
        };
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if events.iter().any(|event| event.token() == WORDS) && asked_to_quit(&mut words, &mut said) {
            reactor.drain(Duration::from_secs(5));
        }
        // Never waits: the poll above has done so.
        reactor.turn(Some(Duration::ZERO))?;
    }
}

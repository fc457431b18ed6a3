//! Corners of the reactor that no protocol of ours goes to: sessions made for one test each, in the simulated world.

mod support;

use evenkeel::reactor::net::sim::{Plan, Script, SimListener, SimNet};
use evenkeel::reactor::net::{Links, RelPath};
use evenkeel::reactor::{
    Admit, App, AppCx, Close, Cx, End, Event, Fault, Handle, Input, ListenerId, Part, Peer, PortReason,
    Reactor, Session, Settings, Step, Target, Turn,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{run_for, settle};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Port(PortReason),
    Done,
}

impl From<PortReason> for Reason {
    fn from(reason: PortReason) -> Reason {
        Reason::Port(reason)
    }
}

type OnEvent = fn(Event<()>, &mut Cx<'_, Stage>) -> Step<Reason>;
type OnData = fn(&mut Input<'_>, &mut Cx<'_, Stage>) -> Step<Reason>;

/// A session that does what a test wants.
#[derive(Clone, Copy)]
struct Puppet {
    on_event: OnEvent,
    on_data: OnData,
    /// Who takes its place when it has ended.
    heir: Option<OnEvent>,
}

impl Puppet {
    fn new(on_event: OnEvent) -> Puppet {
        Puppet { on_event, on_data: echo, heir: None }
    }
}

fn echo(input: &mut Input<'_>, cx: &mut Cx<'_, Stage>) -> Step<Reason> {
    cx.write(input.bytes());
    input.take(input.bytes().len());
    Step::Continue
}

struct Stage {
    guest: Puppet,
    ends: Vec<Reason>,
    /// Sessions that came to life when another ended.
    heirs: u32,
}

impl App for Stage {
    type Session = Puppet;
    type Note = ();
    type Message = ();
    type Reason = Reason;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Puppet> {
        Admit::Serve(self.guest)
    }

    fn on_message(&mut self, (): (), _: &mut AppCx<'_, Self>) {}

    fn on_close(&mut self, session: Puppet, end: End<Reason>, cx: &mut AppCx<'_, Self>) {
        self.ends.push(end.reason);
        if let Some(heir) = session.heir {
            self.heirs += u32::from(cx.spawn(Puppet::new(heir)).is_ok());
        }
    }
}

impl Session for Puppet {
    type App = Stage;

    fn on_data(&mut self, input: &mut Input<'_>, _: &mut Stage, cx: &mut Cx<'_, Stage>) -> Step<Reason> {
        (self.on_data)(input, cx)
    }

    fn on_event(&mut self, event: Event<()>, _: &mut Stage, cx: &mut Cx<'_, Stage>) -> Step<Reason> {
        (self.on_event)(event, cx)
    }
}

fn stage(guest: Puppet) -> (Reactor<Stage, SimNet>, SimListener) {
    let mut net = SimNet::new(1);
    net.files.file("big", vec![b'f'; 3 << 20], 0);
    let listener = net.listen();
    let mut reactor = Reactor::new(Stage { guest, ends: Vec::new(), heirs: 0 }, net, Settings::default());
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

#[test]
fn a_session_that_closed_as_it_was_connected_is_not_asked_about_what_fails_behind_it() {
    fn on_event(event: Event<()>, cx: &mut Cx<'_, Stage>) -> Step<Reason> {
        assert_eq!(event, Event::Open, "it has closed already");
        let root = cx.host().open_root(Path::new("/")).unwrap();
        let (file, stat) = cx.host().open(&root, RelPath::new(b"big").unwrap(), Links::Refuse).unwrap();
        cx.write_part(Part::File(Arc::new(file), 0..stat.len));
        Step::Close(Close::Graceful, Reason::Done)
    }
    let (mut reactor, _) = stage(Puppet::new(on_event));
    let to = Target::Unix("/run/there.sock".into());
    let script = Script::new().fail_write_after((2 << 20) + 1, Fault::Reset);
    reactor.net_mut().on_connect(to.clone(), Plan::from(script));
    assert!(reactor.with_app(|_, cx| cx.connect(&to, Puppet::new(on_event))).is_ok());
    settle(&mut reactor);
    assert_eq!(reactor.app().ends, [Reason::Port(PortReason::FlushFailed(Fault::Reset))]);
}

#[test]
fn whom_the_end_of_an_evicted_session_brings_to_life_is_told_so_at_once() {
    fn idle(_: Event<()>, cx: &mut Cx<'_, Stage>) -> Step<Reason> {
        cx.set_evictable(true);
        Step::Continue
    }
    fn heir(event: Event<()>, _: &mut Cx<'_, Stage>) -> Step<Reason> {
        assert_eq!(event, Event::Open);
        Step::Close(Close::Graceful, Reason::Done)
    }
    let (mut reactor, listener) = stage(Puppet { heir: Some(heir), ..Puppet::new(idle) });
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 1);
    assert_eq!(reactor.evict(1), 1);
    reactor.check();
    assert_eq!(reactor.app().ends, [Reason::Port(PortReason::Evicted), Reason::Done]);
}

#[test]
fn nothing_comes_to_life_any_more_once_all_was_stopped() {
    fn stay(_: Event<()>, _: &mut Cx<'_, Stage>) -> Step<Reason> {
        Step::Continue
    }
    for stop in [|handle: &Handle<()>| handle.drain(Duration::ZERO), |handle: &Handle<()>| handle.stop()] {
        let (mut reactor, listener) = stage(Puppet { heir: Some(stay), ..Puppet::new(stay) });
        reactor.net_mut().arrive(listener, Script::new());
        run_for(&mut reactor, 1);
        stop(&reactor.handle());
        settle(&mut reactor);
        assert_eq!((reactor.next(), reactor.connections()), (Turn::Finished, 0));
        assert_eq!(reactor.app().ends.len(), 1 + reactor.app().heirs as usize, "each has ended");
    }
}

#[test]
fn whoever_comes_as_the_reactor_is_stopped_is_not_let_in() {
    let (mut reactor, listener) = stage(Puppet::new(|_, _| Step::Continue));
    run_for(&mut reactor, 1);
    reactor.net_mut().arrive(listener, Script::new());
    reactor.handle().stop();
    settle(&mut reactor);
    assert_eq!((reactor.next(), reactor.connections()), (Turn::Finished, 0));
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use evenkeel::reactor::{Failure, Op};
    use support::tls::{BOTH, Client, client_config, server_side};

    #[test]
    fn more_than_a_hello_before_tls_begins_ends_the_connection_in_time() {
        fn on_event(event: Event<()>, _: &mut Cx<'_, Stage>) -> Step<Reason> {
            match event {
                Event::Failed(Failure { op: Op::Handshake, .. }) => {
                    Step::Close(Close::Graceful, Reason::Done)
                }
                _ => Step::Continue,
            }
        }
        fn on_data(input: &mut Input<'_>, cx: &mut Cx<'_, Stage>) -> Step<Reason> {
            if input.bytes().len() == 60_000 {
                cx.start_tls(server_side(BOTH));
            }
            Step::Continue
        }
        let (mut reactor, listener) = stage(Puppet { on_data, ..Puppet::new(on_event) });
        reactor.net_mut().arrive(listener, Script::new().send(vec![22; 60_000]));
        settle(&mut reactor);
        assert_eq!((reactor.app().ends.as_slice(), reactor.connections()), (&[Reason::Done][..], 0));
    }

    #[test]
    fn tls_begun_where_it_has_begun_already_changes_nothing() {
        fn on_event(event: Event<()>, cx: &mut Cx<'_, Stage>) -> Step<Reason> {
            match event {
                Event::Open => cx.start_tls(server_side(BOTH)),
                Event::Eof => return Step::Close(Close::Graceful, Reason::Done),
                _ => {}
            }
            Step::Continue
        }
        let (mut reactor, listener) = stage(Puppet::new(on_event));
        let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(BOTH));
        client.say(b"hello");
        client.talk(&mut reactor, 50);
        assert_eq!(client.got, b"hello");
    }
}

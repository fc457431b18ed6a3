//! The reactor over real sockets: what `OsNet` owes, and what the core makes of it.

use evenkeel::reactor::{
    Admit, App, AppCx, Close, Cx, Deadline, End, Event, EventOf, Failure, Fault, Gauge, Handle, Input,
    ListenerId, Op, OsListener, OsNet, Part, Peer, PortReason, Pressure, Reactor, Session, Settings, Step,
    StepOf, Target,
};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the tests want to know.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Open,
    Eof,
    Drained,
    Failed(Failure),
    Message(u32),
    Closed(Why),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    Done,
    Port(PortReason),
}

impl From<PortReason> for Why {
    fn from(reason: PortReason) -> Why {
        Why::Port(reason)
    }
}

/// What a session does.
#[derive(Clone, Debug)]
enum Does {
    /// Sends back what comes; at the end says `bye` and closes.
    Echo,
    /// Sends so many bytes as fast as pressure allows, then closes.
    Pour(usize),
    /// Sends a file from the root, said to be so long, then closes.
    File(&'static str, u64),
    /// Says so much, and goes on.
    Say(&'static str),
}

struct Probe {
    seen: Sender<Seen>,
    does: Does,
    root: Option<std::path::PathBuf>,
    dial: Option<Target>,
    most: usize,
}

struct Talk {
    does: Does,
    left: usize,
}

impl App for Probe {
    type Session = Talk;
    type Note = ();
    type Message = u32;
    type Reason = Why;

    fn admit(&mut self, _: ListenerId, _: &Peer, cx: &mut AppCx<'_, Self>) -> Admit<Talk> {
        self.most = self.most.max(cx.connections() + 1);
        Admit::Serve(Talk { does: self.does.clone(), left: 0 })
    }

    fn on_message(&mut self, message: u32, cx: &mut AppCx<'_, Self>) {
        self.seen.send(Seen::Message(message)).unwrap();
        if let Some(to) = self.dial.take() {
            assert!(cx.connect(&to, Talk { does: self.does.clone(), left: 0 }).is_ok());
        }
    }

    fn on_close(&mut self, _: Talk, end: End<Why>, _: &mut AppCx<'_, Self>) {
        let _ = self.seen.send(Seen::Closed(end.reason));
    }
}

impl Talk {
    fn pour(&mut self, cx: &mut Cx<'_, Probe>) -> StepOf<Probe> {
        while self.left > 0 {
            if cx.pressure() != Pressure::Low {
                return Step::Continue;
            }
            let n = self.left.min(1000);
            cx.compose(|out| out.resize(out.len() + n, b'x'));
            self.left -= n;
        }
        Step::Close(Close::Graceful, Why::Done)
    }

    fn open(&mut self, app: &mut Probe, cx: &mut Cx<'_, Probe>) -> StepOf<Probe> {
        match self.does {
            Does::Echo => Step::Continue,
            Does::Pour(n) => {
                self.left = n;
                self.pour(cx)
            }
            Does::File(name, len) => {
                use evenkeel::reactor::net::{Links, RelPath};
                let root = cx.host().open_root(app.root.as_ref().unwrap()).unwrap();
                let path = RelPath::new(name.as_bytes()).unwrap();
                let (file, _) = cx.host().open(&root, path, Links::Refuse).unwrap();
                cx.write(b"head ");
                cx.write_part(Part::File(file.into(), 0..len));
                cx.write(b" tail");
                Step::Close(Close::Graceful, Why::Done)
            }
            Does::Say(words) => {
                cx.write(words.as_bytes());
                Step::Continue
            }
        }
    }
}

impl Session for Talk {
    type App = Probe;

    fn on_data(&mut self, input: &mut Input<'_>, _: &mut Probe, cx: &mut Cx<'_, Probe>) -> StepOf<Probe> {
        let bytes = input.bytes();
        if matches!(self.does, Does::Echo) {
            cx.write(bytes);
        }
        let n = bytes.len();
        input.take(n);
        Step::Continue
    }

    fn on_event(&mut self, event: EventOf<Probe>, app: &mut Probe, cx: &mut Cx<'_, Probe>) -> StepOf<Probe> {
        match event {
            Event::Open => {
                let _ = app.seen.send(Seen::Open);
                self.open(app, cx)
            }
            Event::Eof => {
                let _ = app.seen.send(Seen::Eof);
                cx.write(b"bye");
                Step::Close(Close::Graceful, Why::Done)
            }
            Event::Drained => {
                let _ = app.seen.send(Seen::Drained);
                self.pour(cx)
            }
            Event::Failed(failure) => {
                let _ = app.seen.send(Seen::Failed(failure));
                Step::Continue
            }
            Event::Drain => Step::Close(Close::Graceful, Why::Done),
            Event::Timeout(Deadline::Progress | Deadline::Rate | Deadline::Phase | Deadline::Total)
            | Event::Note(..) => Step::Continue,
        }
    }
}

/// A reactor in a thread of its own.
struct Served {
    handle: Handle<u32>,
    seen: Receiver<Seen>,
    thread: JoinHandle<usize>,
}

impl Served {
    fn stop(self) -> usize {
        self.handle.stop();
        self.thread.join().unwrap()
    }

    fn expect(&self, wanted: &Seen) {
        loop {
            // Generous: only a defect lets it pass.
            let seen = self.seen.recv_timeout(Duration::from_secs(20)).expect("it is seen in time");
            if seen == *wanted {
                return;
            }
        }
    }
}

struct Setup {
    does: Does,
    root: Option<std::path::PathBuf>,
    dial: Option<Target>,
    settings: Settings,
    gauge: Gauge,
}

fn setup(does: Does) -> Setup {
    Setup { does, root: None, dial: None, settings: Settings::default(), gauge: Gauge::default() }
}

impl Setup {
    /// The thread checks the reactor's invariants after every turn, and gives back the most connections it had at once.
    fn serve(self, listener: Option<OsListener>) -> Served {
        let (send, seen) = channel();
        let (give_handle, take_handle) = channel();
        let thread = std::thread::spawn(move || {
            let app = Probe { seen: send, does: self.does, root: self.root, dial: self.dial, most: 0 };
            let net = OsNet::new().unwrap();
            let mut reactor = Reactor::with_gauge(app, net, self.settings, self.gauge);
            if let Some(listener) = listener {
                reactor.add_listener(listener).unwrap();
            }
            give_handle.send(reactor.handle()).unwrap();
            while reactor.turn(None).unwrap() != evenkeel::reactor::Turn::Finished {
                reactor.check();
            }
            reactor.app().most
        });
        Served { handle: take_handle.recv().unwrap(), seen, thread }
    }
}

fn local() -> (OsListener, SocketAddr) {
    let listener = OsListener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.tcp_addr().unwrap();
    (listener, addr)
}

fn folder(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn an_echo_over_tcp_comes_back_and_a_half_close_is_answered() {
    let (listener, addr) = local();
    let served = setup(Does::Echo).serve(Some(listener));
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    client.write_all(b"more").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(client), b"morebye");
    served.expect(&Seen::Eof);
    served.expect(&Seen::Closed(Why::Done));
    served.stop();
}

#[test]
fn an_echo_over_a_unix_socket_comes_back_and_the_file_goes_at_the_end() {
    let folder = folder("echo");
    let path = folder.join("socket");
    let listener = OsListener::unix(&path, 0o600).unwrap();
    assert_eq!(listener.local_addr().unwrap(), Target::Unix(path.clone()));
    let served = setup(Does::Echo).serve(Some(listener));
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(client), b"hellobye");
    served.stop();
    assert!(!path.exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_reset_is_reported_as_a_failed_read() {
    let (listener, addr) = local();
    let served = setup(Does::Echo).serve(Some(listener));
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let failure = Failure { op: Op::Read, fault: Fault::Reset };
    served.expect(&Seen::Failed(failure));
    served.expect(&Seen::Closed(Why::Port(PortReason::Failed(failure))));
    served.stop();
}

#[test]
fn a_slow_reader_gets_everything_and_the_session_is_told_when_there_is_room() {
    const ALL: usize = 20 << 20;
    let (listener, addr) = local();
    let served = setup(Does::Pour(ALL)).serve(Some(listener));
    let mut client = TcpStream::connect(addr).unwrap();
    served.expect(&Seen::Open);
    let mut got = 0;
    let mut chunk = vec![0; 10_000];
    while let n @ 1.. = client.read(&mut chunk).unwrap() {
        got += n;
    }
    assert_eq!(got, ALL);
    served.expect(&Seen::Drained);
    drop(client);
    served.expect(&Seen::Closed(Why::Done));
    served.stop();
}

#[test]
fn a_file_of_ten_mebibytes_is_sent_whole_between_its_head_and_tail() {
    let folder = folder("whole");
    let content: Vec<u8> = (0..10u32 << 20).map(|n| (n % 251) as u8).collect();
    std::fs::write(folder.join("f"), &content).unwrap();
    let (listener, addr) = local();
    let mut setup = setup(Does::File("f", content.len() as u64));
    setup.root = Some(folder.clone());
    let served = setup.serve(Some(listener));
    let got = read_all(TcpStream::connect(addr).unwrap());
    assert!(got == [b"head ", content.as_slice(), b" tail"].concat());
    served.expect(&Seen::Closed(Why::Done));
    served.stop();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_shorter_than_it_was_said_to_be_is_a_truncation_whatever_its_length() {
    let folder = folder("short");
    for len in [10, 10 << 20] {
        std::fs::write(folder.join("f"), vec![b'f'; len]).unwrap();
        let (listener, addr) = local();
        let mut setup = setup(Does::File("f", len as u64 + 10));
        setup.root = Some(folder.clone());
        let served = setup.serve(Some(listener));
        assert_eq!(read_all(TcpStream::connect(addr).unwrap()).len(), 5 + len);
        served.expect(&Seen::Closed(Why::Port(PortReason::FlushFailed(Fault::Truncated))));
        served.stop();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn connecting_where_nobody_listens_fails_as_refused_and_ends_the_session() {
    let (listener, addr) = local();
    drop(listener);
    let failure = Failure { op: Op::Connect, fault: Fault::Refused };
    for to in [Target::Tcp(addr), Target::Unix("/nonexistent/evenkeel".into())] {
        let mut setup = setup(Does::Say("hello"));
        setup.dial = Some(to);
        let served = setup.serve(None);
        served.handle.post(1).unwrap();
        served.expect(&Seen::Failed(failure));
        served.expect(&Seen::Closed(Why::Port(PortReason::Failed(failure))));
        served.stop();
    }
}

#[test]
fn connecting_over_tcp_and_unix_reaches_the_other_side() {
    let folder = folder("dial");
    let path = folder.join("socket");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let dialled = |to: Target| {
        let mut setup = setup(Does::Say("hello"));
        setup.dial = Some(to);
        let served = setup.serve(None);
        served.handle.post(1).unwrap();
        served
    };
    let hears = |mut stream: Box<dyn Read>| {
        let mut words = [0; 5];
        stream.read_exact(&mut words).unwrap();
        assert_eq!(&words, b"hello");
    };
    let served = dialled(Target::Tcp(tcp.local_addr().unwrap()));
    hears(Box::new(tcp.accept().unwrap().0));
    served.expect(&Seen::Eof);
    served.stop();
    let served = dialled(Target::Unix(path));
    hears(Box::new(unix.accept().unwrap().0));
    served.expect(&Seen::Eof);
    served.stop();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn another_thread_posts_drains_and_stops() {
    let (listener, addr) = local();
    let served = setup(Does::Echo).serve(Some(listener));
    let client = TcpStream::connect(addr).unwrap();
    served.expect(&Seen::Open);
    for n in 0..1000 {
        served.handle.post(n).unwrap();
    }
    for n in 0..1000 {
        assert_eq!(served.seen.recv_timeout(Duration::from_secs(20)).unwrap(), Seen::Message(n));
    }
    served.handle.drain(Duration::from_secs(20));
    assert_eq!(read_all(client), b"");
    served.expect(&Seen::Closed(Why::Done));
    served.thread.join().unwrap();
    assert!(TcpStream::connect(addr).is_err(), "draining closes the listener");

    let (listener, addr) = local();
    let served = setup(Does::Echo).serve(Some(listener));
    let mut client = TcpStream::connect(addr).unwrap();
    served.expect(&Seen::Open);
    served.handle.stop();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    served.expect(&Seen::Closed(Why::Port(PortReason::Stopped)));
    served.thread.join().unwrap();
}

#[test]
fn no_more_connections_than_allowed_are_served_at_once_and_none_is_forgotten() {
    let (listener, addr) = local();
    let mut setup = setup(Does::Echo);
    setup.settings.max_connections = 3;
    let served = setup.serve(Some(listener));
    let clients: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(addr).unwrap()).collect();
    for mut client in clients {
        client.write_all(b"x").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(client), b"xbye");
    }
    assert!(served.stop() <= 3);
}

#[test]
fn two_reactors_share_one_listening_socket_and_one_goes_on_when_the_other_drains() {
    let (listener, addr) = local();
    let gauge = Gauge::default();
    let mut served: Vec<Served> = (0..2)
        .map(|_| {
            let mut setup = setup(Does::Echo);
            setup.gauge = gauge.clone();
            setup.serve(Some(listener.try_clone().unwrap()))
        })
        .collect();
    drop(listener);
    let ask = || {
        let clients: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(addr).unwrap()).collect();
        for mut client in clients {
            client.write_all(b"x").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(client), b"xbye");
        }
    };
    ask();
    let first = served.remove(0);
    first.handle.drain(Duration::from_secs(20));
    first.thread.join().unwrap();
    ask();
    served.remove(0).stop();
    assert_eq!(gauge.get(), 0);
}

#[test]
fn what_follows_urgent_data_is_read_without_another_edge() {
    let (listener, addr) = local();
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"before").unwrap();
    // A read ends at the urgent byte, which is not part of the stream, however much lies behind it.
    socket2::SockRef::from(&client).send_out_of_band(b"!").unwrap();
    client.write_all(b"after").unwrap();
    let served = setup(Does::Echo).serve(Some(listener));
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut back = [0; 11];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"beforeafter");
    served.stop();
}

//! The matrix: what each state of a protocol does on each thing that the transport can do to it.
//!
//! A protocol joins by implementing [`Subject`]. Each cell is one simulated run, and each checks, beside what its state expects:
//! the connection was closed exactly once with exactly one reason, no timer and no buffer is left, no stream is open.

use super::settle;
use evenkeel::reactor::net::Ready;
use evenkeel::reactor::net::sim::{Chaos, Script, SimListener, SimNet, World};
use evenkeel::reactor::{App, CloseHow, Fault, Op, Reactor, Settings};
use std::fmt::{Debug, Write};
use std::time::Duration;

/// What the transport does to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hit {
    /// An operation fails.
    Fails(Op, Fault),
    /// An event that means nothing: every operation would block.
    WouldBlock,
    /// The peer sends FIN.
    Eof,
    /// Nothing comes: the state's timer decides.
    Silence,
    /// Something small comes, or is taken, every second: progress, but hardly any.
    Trickle,
    /// The server drains; the peer goes on as it should.
    Drain,
}

impl Hit {
    /// What a transport can do by itself.
    pub fn all() -> Vec<Hit> {
        let fails = |op| Fault::ALL.into_iter().map(move |fault| Hit::Fails(op, fault));
        let others = [Hit::WouldBlock, Hit::Eof, Hit::Silence];
        [Op::Connect, Op::Read, Op::Write].into_iter().flat_map(fails).chain(others).collect()
    }

    /// The heading of its column.
    fn name(self) -> &'static str {
        match self {
            Hit::Fails(..) => "fails",
            Hit::WouldBlock => "would block",
            Hit::Eof => "end of file",
            Hit::Silence => "silence",
            Hit::Trickle => "a byte a second",
            Hit::Drain => "drain",
        }
    }

    /// The hit as a peer makes it.
    pub fn script(self) -> Script {
        match self {
            Hit::Fails(Op::Read, fault) => Script::new().fail_read(fault),
            Hit::Fails(Op::Write, fault) => Script::new().fail_write(fault),
            // Made by the plan of the connect.
            Hit::Fails(Op::Connect | Op::Handshake, _) => Script::new(),
            Hit::WouldBlock => Script::new().spurious(Ready::READABLE.with(Ready::WRITABLE)),
            Hit::Eof => Script::new().fin(),
            Hit::Silence | Hit::Drain => Script::new(),
            Hit::Trickle => (0..90).fold(Script::new(), |script, _| script.send("x").wait(1000)),
        }
    }
}

/// What must come of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Expect<R> {
    /// The one reason that is counted.
    pub reason: R,
    /// How the stream was closed; `None` if there never was one.
    pub close: Option<CloseHow>,
    /// All that the peer got.
    pub sent: &'static str,
}

/// A protocol whose states are to be hit.
pub trait Subject {
    type App: App<Reason: Debug + PartialEq>;
    type State: Copy + Debug + PartialEq + 'static;
    /// Heading of its table.
    const TITLE: &'static str;

    fn states() -> &'static [Self::State];
    /// The hits of its table.
    fn hits() -> Vec<Hit> {
        Hit::all()
    }
    /// A few words on the state, for the table.
    fn about(state: Self::State) -> &'static str;
    fn app(world: &mut World, listener: SimListener) -> Self::App;
    /// Brings one connection into the state and hits it there.
    fn reach<const R: bool>(
        reactor: &mut Reactor<Self::App, SimNet<R>>,
        listener: SimListener,
        state: Self::State,
        hit: Hit,
    );
    /// What the hit comes to; `None` if it cannot happen there.
    fn expect(state: Self::State, hit: Hit) -> Option<Expect<<Self::App as App>::Reason>>;
    /// The reasons that were given to the application.
    fn reasons(app: &Self::App) -> Vec<<Self::App as App>::Reason>;
    /// A reason in words, without the name of its fault.
    fn words(reason: &<Self::App as App>::Reason) -> String;
    /// What the peer got, in words.
    fn got(sent: &[u8]) -> String {
        String::from_utf8_lossy(sent).into_owned()
    }
    /// Whatever else must hold after a cell.
    fn check(app: &Self::App, state: Self::State, hit: Hit) {
        let _ = (app, state, hit);
    }
}

/// Runs every cell; says how many.
pub fn run<S: Subject, const R: bool>(chaos: Chaos) -> usize {
    let mut cells = 0;
    for state in S::states() {
        for (seed, hit) in S::hits().into_iter().enumerate() {
            if let Some(expect) = S::expect(*state, hit) {
                cell::<S, R>(*state, hit, expect, chaos, seed as u64);
                cells += 1;
            }
        }
    }
    cells
}

fn cell<S: Subject, const R: bool>(
    state: S::State,
    hit: Hit,
    expect: Expect<<S::App as App>::Reason>,
    chaos: Chaos,
    seed: u64,
) {
    let mut net = SimNet::<R>::with_regime(seed);
    net.chaos = chaos;
    let listener = net.listen();
    let app = S::app(&mut net, listener);
    // Well before the end of the window in which the rate is measured, so that chaos does not decide which comes first.
    let settings = Settings { write_timeout: Duration::from_secs(20), ..Settings::default() };
    let mut reactor = Reactor::new(app, net, settings);
    reactor.add_listener(listener).unwrap();
    S::reach(&mut reactor, listener, state, hit);
    settle(&mut reactor);
    let what = format!("{} in {state:?} hit by {hit:?}", S::TITLE);
    let stream = reactor.net().streams().next();
    let got = (S::reasons(reactor.app()), stream.and_then(|id| reactor.net().closed(id)));
    assert_eq!(got, (vec![expect.reason], expect.close), "{what}");
    let sent = stream.map(|id| reactor.net().sent(id).to_vec()).unwrap_or_default();
    // A reset throws away what chaos kept from being sent before.
    let part = chaos != Chaos::NONE && expect.close == Some(CloseHow::Reset);
    let (sent, all) = (S::got(&sent), expect.sent);
    assert!(sent == all || part && all.starts_with(&sent), "{what}: {sent:?}, not {all:?}");
    assert_eq!((reactor.counters().closed, reactor.connections()), (1, 0), "{what}");
    assert_eq!(reactor.net().open_streams(), 0, "{what}");
    S::check(reactor.app(), state, hit);
}

/// The table as a page: one row a state, one column a kind of hit.
pub fn page<S: Subject>() -> String {
    let mut page = format!("## {}\n\n", S::TITLE);
    let hits = S::hits();
    let ops: Vec<Op> =
        Op::ALL.into_iter().filter(|op| hits.contains(&Hit::Fails(*op, Fault::Reset))).collect();
    let others: Vec<Hit> = hits.into_iter().filter(|hit| !matches!(hit, Hit::Fails(..))).collect();
    page.push_str("| state |");
    ops.iter().for_each(|op| page.push_str(&format!(" {} fails |", format!("{op:?}").to_lowercase())));
    others.iter().for_each(|hit| page.push_str(&format!(" {} |", hit.name())));
    let _ = writeln!(page, "\n|---|{}", "---|".repeat(ops.len() + others.len()));
    for state in S::states() {
        let _ = write!(page, "| **{state:?}**: {} |", S::about(*state));
        for op in &ops {
            let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
            for fault in Fault::ALL {
                let words = in_words::<S>(*state, Hit::Fails(*op, fault));
                match kinds.iter_mut().find(|(w, _)| *w == words) {
                    Some((_, faults)) => faults.push(fault.name()),
                    None => kinds.push((words, vec![fault.name()])),
                }
            }
            let texts: Vec<String> = match &kinds[..] {
                [(words, _)] => vec![words.clone()],
                _ => kinds.iter().map(|(words, faults)| format!("{}: {words}", faults.join(", "))).collect(),
            };
            let _ = write!(page, " {} |", texts.join("; "));
        }
        for hit in &others {
            let _ = write!(page, " {} |", in_words::<S>(*state, *hit));
        }
        page.push('\n');
    }
    page.push('\n');
    page
}

fn in_words<S: Subject>(state: S::State, hit: Hit) -> String {
    let Some(expect) = S::expect(state, hit) else { return "never".into() };
    let close = match expect.close {
        Some(CloseHow::Normal) => "closed",
        Some(CloseHow::Reset) => "reset",
        None => "no stream",
    };
    let sent = match expect.sent {
        "" => String::new(),
        sent => format!(", peer got `{}`", sent.trim_end().replace('\n', "⏎")),
    };
    format!("{}, {close}{sent}", S::words(&expect.reason))
}

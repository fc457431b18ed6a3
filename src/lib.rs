//! Evenkeel: a small server that stays on an even keel whatever the network does to it, and the machine it is made of.
//!
//! A synchronous readiness reactor on `mio` holds connections in a slab and timeouts in a wheel; protocol machines get bytes and
//! events and return what they want; every fault of every state is decided in a table that tests print
//! ([`FAULTS.md`](https://docs.rs/crate/evenkeel/latest/source/src/FAULTS.md)). No async runtime, no thread that you did not
//! ask for, no signal handler, no logger, no `unsafe`.
//!
//! # Three ways to use it
//!
//! **A server in a few lines** (feature `http`):
//!
//! ```no_run
//! use evenkeel::http::{Server, Site};
//!
//! let mut site = Site::default();
//! site.on("GET", "/hello/{name}", |request, reply| {
//!     let name = String::from_utf8_lossy(request.param("name").unwrap_or(b"you"));
//!     reply.start(200).body(format!("hello {name}\n").as_bytes())
//! })?;
//! let mut server = Server::new(site)?;
//! println!("http://{}", server.bind("127.0.0.1:8080")?);
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **The reactor in your own program** (no features at all): write an [`App`](reactor::App) and a
//! [`Session`](reactor::Session), and call [`Reactor::turn`](reactor::Reactor::turn) from your loop, or watch the reactor as
//! one descriptor in it. `examples/embed_reactor.rs` and `examples/nested_poll.rs` are whole programs.
//!
//! **The parsers alone**: [`wire`] turns bytes into values and back, with no I/O, no clock and no policy. Each has a fuzz target.
//!
//! # The map
//!
//! | module | what it is | imports |
//! |---|---|---|
//! | [`wire`] | bytes to values and back | |
//! | [`reactor`] | sockets, time, memory; no protocol | |
//! | `guard`, `observe` | who may do how much; seeing what happens | the two above |
//! | `http`, `ws`, `tcp` | protocol machines; none knows another | all above |
//! | `server` | puts them together | all above |
//! | `config`, `cli` | settings from files, variables and flags; the command line | all above |
//!
//! To read the code, begin with the page of [`reactor`], then `outcome.rs`, `pump.rs`, `http/fault.rs`, and run
//! `cargo test --test matrix`. [`reactor::net::sim`] is the world that the tests run the whole server in.
//!
//! # Features
//!
//! | feature | adds | and depends on |
//! |---|---|---|
//! | none | `reactor` and `wire` | mio, slab, log, socket2, rustix, httparse, memchr |
//! | `http` | the HTTP/1.1 machine, router, files | mime_guess, percent-encoding, flate2 |
//! | `ws` | WebSocket connections, rooms, a client that comes back | sha1_smol, base64, simdutf8, flate2 |
//! | `tcp` | raw TCP services and client | |
//! | `tls` | TLS as a filter of the reactor | rustls with ring |
//! | `server` | all of it, configuration, metrics | toml, ipnet, prometheus-client |
//! | `cli` (default) | the binary | clap, clap_complete, simplelog, ctrlc, signal-hook, sd-notify, listenfd |
//!
//! # Systems
//!
//! Linux, on machines of 64 or 32 bits. On other systems there are [`wire`] and the reactor with the simulator, on those of Unix's kind
//! the machines of `http`, `ws` and `tcp`, too; never `OsNet`, nor what is built on it: `http::Server`, `server` and `cli`.

#![forbid(unsafe_code)]

#[cfg(all(feature = "server", not(target_os = "linux")))]
compile_error!(
    "the server runs on Linux only; elsewhere there are the parsers, the protocol machines and the simulator: say \
     `--no-default-features`, and of the features no more than `http`, `ws` and `tcp`"
);

#[cfg(all(feature = "cli", target_os = "linux"))]
pub mod cli;
#[cfg(all(feature = "server", target_os = "linux"))]
pub mod config;
#[cfg(any(feature = "http", feature = "ws", feature = "tcp"))]
pub mod guard;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "http", feature = "ws", feature = "tcp"))]
pub mod observe;
pub mod reactor;
#[cfg(all(feature = "server", target_os = "linux"))]
pub mod server;
#[cfg(feature = "tcp")]
pub mod tcp;
pub mod wire;
#[cfg(feature = "ws")]
pub mod ws;

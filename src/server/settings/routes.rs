//! Routes and their actions, raw TCP listeners, upstreams.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Address;

/// `[[route]]`: which requests, and what they get.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Which hosts. Default any.
    pub host: HostPattern,
    /// Which methods, in upper case. Empty: what the action can do; others get 405 with `Allow`.
    pub methods: Arc<[Box<str>]>,
    /// Which paths. Default `/*`.
    pub path: PathPattern,
    /// What they get.
    pub action: Action,
    /// Largest request body in bytes, instead of `limits.body_size`.
    pub body_size: Option<u64>,
}

impl Route {
    /// A route for every host, with the methods that the action can do.
    pub fn new(path: PathPattern, action: Action) -> Route {
        Route { host: HostPattern::Any, methods: Arc::default(), path, action, body_size: None }
    }

    /// The routes of a server that was told nothing: the welcome site, `/echo`, and the rooms its chat page uses.
    pub fn welcome() -> Vec<Route> {
        let literal = |text: &str| PathPart::Literal(text.into());
        let echo = Websocket::new(WebsocketKind::Echo);
        let room = Websocket::new(WebsocketKind::Room);
        let rooms = vec![literal("rooms"), PathPart::Param("room".into())];
        vec![
            Route::new(PathPattern { parts: Arc::default(), rest: true }, Action::Welcome),
            Route::new(PathPattern { parts: [literal("echo")].into(), rest: false }, Action::Websocket(echo)),
            Route::new(PathPattern { parts: rooms.into(), rest: false }, Action::Websocket(room)),
        ]
    }
}

/// A pattern for host names: in lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Any host, also none.
    Any,
    /// This one.
    Exact(Box<str>),
    /// `*.example.org`, held as `example.org`: any name that ends in `.example.org` (at any depth), not it itself.
    Below(Box<str>),
}

/// A pattern for paths: `/`, `/a/{name}/b`, `/a/*`.
///
/// Segments are compared after percent-decoding. `/a/` (with a last empty segment) is another path than `/a`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The segments between slashes; none for `/` and for `/*`.
    pub parts: Arc<[PathPart]>,
    /// Whether the pattern ends in `/*`: anything further, `/a` and `/a/` included. It is called `{rest}` in a redirect.
    pub rest: bool,
}

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPart {
    /// Exactly this; empty only as the last one, for a pattern that ends in a slash.
    Literal(Box<str>),
    /// `{name}`: any one segment that is not empty.
    Param(Box<str>),
}

/// What a request gets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// The built-in welcome site. Cannot be written in a file.
    Welcome,
    /// `files`: what lies below a folder. GET and HEAD.
    Files(Files),
    /// `respond`: a fixed answer. Any method.
    Respond(Respond),
    /// `redirect`: another address. Any method.
    Redirect(Redirect),
    /// `websocket`: an upgrade. GET.
    Websocket(Websocket),
    /// `proxy`: an upstream. Any method.
    Proxy(Proxy),
}

/// `files = "folder"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The folder.
    pub root: PathBuf,
    /// Whether a folder without an index file is listed. Default false.
    pub listing: bool,
    /// File below the root that is sent (with 200) where nothing else is found, to clients that take HTML.
    pub fallback: Option<Box<str>>,
    /// Whether names that begin with a dot are served; `.well-known` (RFC 8615) is in any case. Default false.
    pub hidden: bool,
    /// Whether symbolic links are followed; never out of the root. Default false.
    pub follow_symlinks: bool,
    /// Whether text of 1 KiB to 256 KiB is sent with gzip. Siblings `.br`, `.zst` and `.gz` are in any case. Default true.
    pub compress: bool,
}

impl Files {
    /// That folder, with the defaults.
    pub fn new(root: PathBuf) -> Files {
        Files { root, listing: false, fallback: None, hidden: false, follow_symlinks: false, compress: true }
    }
}

/// `respond = "body"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// The body; empty with 204, 205 and 304.
    pub body: Arc<[u8]>,
    /// 200 to 599. Default 200.
    pub status: u16,
    /// Fields: names are lower-case tokens, values visible ASCII with spaces; none that frames the message
    /// (`content-length`, `transfer-encoding`, `connection`, `date`, ...). Without a `content-type`, plain UTF-8 text.
    pub headers: Arc<[(Box<str>, Box<str>)]>,
}

/// `redirect = "target"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The `location`; the query of the request is carried over where the target has none.
    pub to: Template,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status: u16,
}

/// A redirect's target: visible ASCII with names in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// In order; no two literals stand side by side.
    pub parts: Arc<[TemplatePart]>,
}

impl std::fmt::Display for Template {
    /// As it is written in a file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            TemplatePart::Literal(text) => f.write_str(text),
            TemplatePart::Param(name) => write!(f, "{{{name}}}"),
            TemplatePart::Rest => f.write_str("{rest}"),
            TemplatePart::Host => f.write_str("{host}"),
            TemplatePart::Path => f.write_str("{path}"),
        })
    }
}

/// One piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it stands.
    Literal(Box<str>),
    /// `{name}`: that segment of the path, percent-encoded as the client sent it.
    Param(Box<str>),
    /// `{rest}`: what `/*` matched, as the client sent it, without its leading slash.
    Rest,
    /// `{host}`: the host of the request, without port.
    Host,
    /// `{path}`: the whole path of the request, as the client sent it, with its leading slash.
    Path,
}

/// `websocket = "echo"` or `"room"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Websocket {
    /// Who hears what is said.
    pub kind: WebsocketKind,
    /// What happens to a member who reads slower than the room speaks. Default close.
    pub slow_consumer: SlowConsumer,
    /// Silence after which a ping is sent; 0: never. Default 20 s.
    pub ping_interval: Duration,
    /// How long its pong may take. Default 10 s.
    pub ping_timeout: Duration,
    /// Largest message in bytes, after inflating: 1 byte to 1 GiB, over it close code 1009. Default 1 MiB: what one connection
    /// can make us hold. (Autobahn's group 9 says up to 16 MiB at once, and wants `32MiB`.)
    pub message_size: usize,
    /// Whether permessage-deflate (RFC 7692) is agreed to. Default true. What is said in a room goes out as it is in any case: it is
    /// encoded once for all members, and not each of them has agreed (RFC 7692, 6 leaves it to the sender, message by message).
    pub deflate: bool,
    /// Values of `origin` that may connect, as `https://example.org`, lower case; others get 403. Empty: any, also none.
    pub origins: Arc<[Box<str>]>,
}

impl Websocket {
    /// That kind, with the defaults.
    pub fn new(kind: WebsocketKind) -> Websocket {
        Websocket {
            kind,
            slow_consumer: SlowConsumer::Close,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            message_size: 1024 * 1024,
            deflate: true,
            origins: Arc::default(),
        }
    }
}

/// Who hears what is said on a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebsocketKind {
    /// The sender.
    Echo,
    /// Every other member of the room. The room is named by the whole path: `/rooms/{room}` makes many; and by the host, if the
    /// route is for certain hosts.
    Room,
}

/// What happens to a member who reads slower than the room speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is closed.
    Close,
    /// It loses the oldest message that has not begun to leave.
    DropOldest,
    /// It does not get the new message.
    DropNewest,
    /// It gets only the latest of those that wait.
    Latest,
}

/// `proxy = "upstream"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name of an [`Upstream`] that exists.
    pub upstream: Box<str>,
}

/// `[[tcp]]`: a raw TCP listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Where.
    pub listen: Address,
    /// What is done with the bytes.
    pub handler: TcpHandler,
    /// No byte in either direction for this long closes the connection. Default 5 min.
    pub idle_timeout: Duration,
    /// Longest line in bytes, its end included (`lines`): 1 byte to 64 KiB. Default 16 KiB.
    pub line_size: usize,
    /// What happens to a peer who reads slower than the others speak (`lines`). Default close.
    pub slow_consumer: SlowConsumer,
}

/// What a raw TCP listener does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpHandler {
    /// Sends back what it gets.
    Echo,
    /// A line from one goes to all others.
    Lines,
    /// A tunnel to the upstream of this name.
    Proxy(Box<str>),
}

/// `[[upstream]]`: a group of servers behind this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name, unique.
    pub name: Box<str>,
    /// At least one.
    pub servers: Arc<[UpstreamServer]>,
    /// How one is chosen. Default round-robin.
    pub balance: Balance,
    /// How they are watched; `None`: only by what requests meet.
    pub health: Option<HealthCheck>,
    /// Idle connections kept to each server, over all workers: 0 to 10,000. Default 64.
    pub keepalive: usize,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it is.
    pub address: UpstreamAddress,
    /// Its share: 1 to 1,000. Default 1.
    pub weight: u32,
}

/// Where an upstream's server is: names are looked up while running, since one that does not resolve is no reason not
/// to start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// IP address and port.
    Ip(SocketAddr),
    /// Host name (lower case) and port.
    Name(Box<str>, u16),
    /// Unix stream socket.
    Unix(PathBuf),
}

/// How a server of an upstream is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConnections,
    /// The less busy of two drawn at random.
    TwoChoices,
    /// By the client's address, consistently.
    Hash,
}

/// `health = { .. }` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path that is asked for. Default `/healthz`.
    pub path: Box<str>,
    /// How often. Default 2 s.
    pub interval: Duration,
    /// How long an answer may take. Default 1 s.
    pub timeout: Duration,
    /// Good answers in a row that make a server healthy: 1 to 100. Default 2.
    pub rise: u32,
    /// Bad ones in a row that make it unhealthy: 1 to 100. Default 3.
    pub fall: u32,
}

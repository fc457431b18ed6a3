use super::files::Patience;
use super::*;
use crate::reactor::net::{FileType, Host, Links, OpenError, RelPath, Root, RootKind};
use crate::reactor::token::ListenerId;
use rustix::fs::{Advice, CWD, Mode, OFlags, mknodat};
use rustix::net::sockopt;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("evenkeel-os-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn local() -> OsListener {
    OsListener::tcp("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// Waits until something is ready.
fn wait(net: &mut OsNet) -> Vec<(Token, Ready)> {
    let mut out = Vec::new();
    net.wait(Some(Duration::from_secs(20)), &mut out).unwrap();
    out
}

fn pair(net: &mut OsNet) -> (OsStream, TcpStream) {
    let mut listener = local();
    let client = TcpStream::connect(listener.tcp_addr().unwrap()).unwrap();
    net.watch_listener(&mut listener, Token::of_listener(ListenerId(0))).unwrap();
    assert_eq!(wait(net), [(Token::of_listener(ListenerId(0)), Ready::READABLE)]);
    let Accept::Conn(stream, peer) = net.accept(&mut listener) else { panic!("one waits") };
    assert_eq!(peer.socket_addr(), Some(client.local_addr().unwrap()));
    assert!(matches!(net.accept(&mut listener), Accept::WouldBlock));
    net.close_listener(listener);
    (stream, client)
}

#[test]
fn a_stream_is_small() {
    assert!(size_of::<Option<OsStream>>() <= 8);
}

#[test]
fn an_accepted_connection_has_every_option_without_a_call_of_its_own() {
    let (stream, _client) = pair(&mut OsNet::new().unwrap());
    let socket = SockRef::from(&stream);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap() && socket.nonblocking().unwrap());
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 << 10);
    let probes = (
        sockopt::tcp_keepidle(&stream).unwrap(),
        sockopt::tcp_keepintvl(&stream).unwrap(),
        sockopt::tcp_keepcnt(&stream).unwrap(),
    );
    assert_eq!(probes, (Duration::from_secs(60), Duration::from_secs(15), 4));
    // One that is spoken to is missed as soon as one that is not.
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(probes.0 + probes.1 * probes.2));
    let congestion = socket.tcp_congestion().unwrap();
    assert_eq!(congestion.split(|b| *b == 0).next().unwrap(), b"reno", "it does not leave the machine");
    let flags = rustix::io::fcntl_getfd(&stream).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn the_congestion_control_of_a_socket_that_is_handed_over_is_left_alone() {
    let made = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let before = SockRef::from(&made).tcp_congestion().unwrap();
    let taken = OsListener::from_std(made).unwrap();
    assert_eq!(SockRef::from(&taken).tcp_congestion().unwrap(), before);
}

#[test]
fn what_is_ready_when_watching_begins_is_reported_once() {
    let mut net = OsNet::new().unwrap();
    let (mut stream, mut client) = pair(&mut net);
    let token = Token::from_bits(7 | 1 << 60);
    client.write_all(b"x").unwrap();
    net.watch(&mut stream, token).unwrap();
    assert_eq!(wait(&mut net), [(token, Ready::READABLE)]);
    net.watch_writes(&mut stream, token).unwrap();
    assert_eq!(wait(&mut net), [(token, Ready::READABLE.with(Ready::WRITABLE))]);
    let mut out = Vec::new();
    net.wait(Some(Duration::ZERO), &mut out).unwrap();
    assert_eq!(out, []);
    assert_eq!(net.read(&mut stream, &mut [0; 9]), Io::Done(1));
    assert_eq!(net.read(&mut stream, &mut [0; 9]), Io::WouldBlock);
    drop(client);
    let events = wait(&mut net);
    assert!(events[0].1.has(Ready::READABLE.with(Ready::HANGUP)));
    assert_eq!(net.read(&mut stream, &mut [0; 9]), Io::Eof);
}

#[test]
fn a_closed_connection_is_written_to_without_a_signal_and_comes_back_as_a_fault() {
    let mut net = OsNet::new().unwrap();
    let (mut stream, client) = pair(&mut net);
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    net.watch(&mut stream, Token::from_bits(1)).unwrap();
    drop(client);
    let all = Ready::READABLE.with(Ready::WRITABLE).with(Ready::HANGUP);
    assert_eq!(wait(&mut net), [(Token::from_bits(1), all)]);
    let several = [IoSlice::new(b"a"), IoSlice::new(b"b")];
    assert_eq!(net.write(&mut stream, &several, true), Io::Fault(Fault::Reset));
    assert_eq!(net.write(&mut stream, &several[..1], false), Io::Fault(Fault::BrokenPipe));
    net.close(stream, CloseHow::Reset);
}

#[test]
fn the_waker_ends_a_wait_and_leaves_nothing_behind() {
    let mut net = OsNet::new().unwrap();
    let waker = net.waker();
    waker.wake();
    waker.wake();
    let mut out = Vec::new();
    net.wait(None, &mut out).unwrap();
    let other = std::thread::spawn(move || waker.wake());
    net.wait(None, &mut out).unwrap();
    other.join().unwrap();
    assert_eq!(out, []);
}

#[test]
fn more_events_than_one_call_brings_all_come_with_one_wait() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_some_and(|most| most < 4000) {
        return; // not as many descriptors as this takes
    }
    let mut net = OsNet::new().unwrap();
    let pairs: Vec<_> = (0..1500).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
    for (n, (one, other)) in pairs.iter().enumerate() {
        net.register(one.as_fd(), Token::from_bits(n as u64), Interest::READABLE).unwrap();
        (&*other).write_all(b"x").unwrap();
    }
    assert_eq!(wait(&mut net).len(), 1500);
}

#[test]
fn the_listener_for_every_address_takes_ipv4_too() {
    let Ok(mut listener) = OsListener::tcp("[::]:0".parse().unwrap()) else { return };
    let port = listener.tcp_addr().unwrap().port();
    let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let Accept::Conn(_, peer) = OsNet::new().unwrap().accept(&mut listener) else { panic!("one waits") };
    assert!(peer.ip().unwrap().is_ipv4());
}

#[test]
fn every_error_of_accept_skips_retries_or_waits_and_an_unknown_one_never_spins() {
    let mut listener = local();
    let mut came = |errno| refused(errno, &mut listener);
    assert!(matches!(came(Errno::AGAIN), Accept::WouldBlock));
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
        assert!(matches!(came(errno), Accept::Exhausted), "{errno:?}");
    }
    for errno in [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::OPNOTSUPP] {
        assert!(matches!(came(errno), Accept::Denied), "{errno:?}");
    }
    for errno in [Errno::CONNABORTED, Errno::PROTO, Errno::NETDOWN, Errno::HOSTUNREACH] {
        assert!(matches!(came(errno), Accept::Skip), "{errno:?}");
    }
}

#[test]
fn a_socket_that_was_handed_over_must_listen() {
    assert!(OsListener::from_std(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
    assert!(OsListener::from_std(TcpStream::connect(local_std().local_addr().unwrap()).unwrap()).is_err());
    let taken = OsListener::from_std(local_std()).unwrap();
    assert!(taken.tcp_addr().is_some() && SockRef::from(&taken).nonblocking().unwrap());
}

fn local_std() -> std::net::TcpListener {
    // Leaked: it must outlive the connection made to it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::mem::forget(listener.try_clone().unwrap());
    listener
}

#[test]
fn a_socket_file_is_replaced_only_when_stale_and_removed_only_when_ours() {
    let folder = Folder::new("unix");
    let path = folder.at("s");
    drop(UnixListener::bind(&path).unwrap());
    let listener = OsListener::unix(&path, 0o640).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let refused = |path: &Path| OsListener::unix(path, 0o600).unwrap_err().kind();
    assert_eq!(refused(&path), io::ErrorKind::AddrInUse, "somebody answers there");
    let clone = listener.try_clone().unwrap();
    drop(listener);
    assert!(path.exists(), "a clone still listens");
    drop(clone);
    assert!(!path.exists());

    let listener = OsListener::unix(&path, 0o600).unwrap();
    let _keeps_the_inode = std::fs::hard_link(&path, folder.at("kept"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another's").unwrap();
    drop(listener);
    assert!(path.exists(), "it was another's by then");
    assert_eq!(refused(&path), io::ErrorKind::AlreadyExists);
    assert!(path.exists(), "no socket: not ours to remove");
}

/// Good and bad links, every kind of file.
fn tree(folder: &Folder) {
    std::fs::create_dir_all(folder.at("top/dir/sub")).unwrap();
    std::fs::write(folder.at("outside"), "secret").unwrap();
    std::fs::write(folder.at("top/file"), "file").unwrap();
    std::fs::write(folder.at("top/dir/sub/deep"), "deep!").unwrap();
    std::fs::write(folder.at("top/unreadable"), "").unwrap();
    std::fs::set_permissions(folder.at("top/unreadable"), PermissionsExt::from_mode(0o000)).unwrap();
    let links: [(&str, &str); 16] = [
        ("good", "file"),
        ("gooddir", "dir/sub"),
        ("gooddirslash", "dir/sub/"),
        ("chain", "good"),
        ("fileslash", "file/"),
        ("dir/up", "../file"),
        ("dir/sub/upup", "../../dir/./sub/deep"),
        ("dir/updir", ".."),
        ("escape", "../outside"),
        ("dir/escape", "../../outside"),
        ("outandin", "../top/file"),
        ("parent", ".."),
        ("loop", "loop"),
        ("ping", "dir/pong"),
        ("dir/pong", "../ping"),
        ("dangling", "nothing"),
    ];
    for (name, target) in links {
        symlink(target, folder.at("top").join(name)).unwrap();
    }
    symlink(folder.at("top/file"), folder.at("top/absolute")).unwrap();
    symlink("/", folder.at("top/slash")).unwrap();
    symlink("/proc/self/root", folder.at("top/magic")).unwrap();
    for n in 0..50 {
        let target = if n == 0 { "file".to_owned() } else { format!("many{}", n - 1) };
        symlink(target, folder.at(&format!("top/many{n}"))).unwrap();
    }
    mknodat(CWD, folder.at("top/fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _gone_but_the_file = UnixListener::bind(folder.at("top/socket")).unwrap();
}

type Verdict = (Result<(FileType, u64), OpenError>, Result<FileType, OpenError>);

fn verdicts(net: &mut OsNet, root: &Root) -> BTreeMap<(String, bool), Verdict> {
    let paths = "|file|file/x|dir|dir/sub/deep|unreadable|nothing|good|good/x|gooddir|gooddir/deep|gooddirslash|\
        gooddirslash/deep|chain|fileslash|dir/up|dir/sub/upup|gooddir/upup|dir/updir|dir/updir/file|dir/updir/dir/up|escape|\
        dir/escape|outandin|parent|parent/top|loop|loop/x|ping|dangling|absolute|slash|slash/etc|magic|magic/etc|many0|many39|\
        many40|many49|fifo|fifo/x|socket";
    let mut all = BTreeMap::new();
    for path in paths.split('|') {
        for links in [Links::Refuse, Links::Beneath] {
            let rel = RelPath::new(path.as_bytes()).unwrap();
            let opened = net.open(root, rel, links).map(|(_, stat)| (stat.kind, stat.inode));
            let stat = net.stat(root, rel, links).map(|stat| stat.kind);
            let hurried = net.try_open(root, rel, links).map(|(_, stat)| (stat.kind, stat.inode));
            assert!([opened, Err(OpenError::WouldBlock)].contains(&hurried), "{path:?}: {hurried:?}");
            let hurried = net.try_stat(root, rel, links).map(|stat| stat.kind);
            assert!([stat, Err(OpenError::WouldBlock)].contains(&hurried), "{path:?}: {hurried:?}");
            all.insert((path.to_owned(), links == Links::Beneath), (opened, stat));
        }
    }
    all
}

#[test]
fn the_kernel_and_the_walk_judge_every_path_alike() {
    let folder = Folder::new("tree");
    tree(&folder);
    let mut net = OsNet::new().unwrap();
    let root = net.open_root(&folder.at("top")).unwrap();
    let walking = OsRoot::open(&folder.at("top"), Patience::Some).unwrap().walking();
    let walking = Root(RootKind::Os(Arc::new(walking)));
    if rustix::fs::openat2(CWD, ".", OFlags::PATH, Mode::empty(), rustix::fs::ResolveFlags::empty()).is_ok() {
        assert!(!OsRoot::open(&folder.at("top"), Patience::Some).unwrap().walks(), "the kernel can");
    }
    let by_walk = verdicts(&mut net, &walking);
    let by_kernel = verdicts(&mut net, &root);
    for (path, verdict) in &by_walk {
        assert_eq!(verdict, &by_kernel[path], "{path:?}");
    }
    let kind = |path: &str, links: bool| by_walk[&(path.to_owned(), links)].0.map(|(kind, _)| kind);
    for path in ["good", "chain", "dir/up", "dir/sub/upup", "gooddir/deep", "dir/updir/file", "many39"] {
        assert_eq!(kind(path, true), Ok(FileType::File), "{path}");
        assert_eq!(kind(path, false), Err(OpenError::NotFound), "{path}");
    }
    for path in
        ["escape", "dir/escape", "outandin", "parent", "absolute", "slash/etc", "magic/etc", "loop", "ping"]
    {
        assert_eq!(kind(path, true), Err(OpenError::NotFound), "{path}");
    }
    assert_eq!(kind("", false), Ok(FileType::Folder));
    assert_eq!(kind("many49", true), Err(OpenError::NotFound));
    assert_eq!(kind("fifo", false), Ok(FileType::Other));
    assert_eq!(by_walk[&("socket".to_owned(), false)], (Err(OpenError::NotFound), Ok(FileType::Other)));
    if !rustix::process::geteuid().is_root() {
        assert_eq!(kind("unreadable", false), Err(OpenError::Denied));
    }
}

#[test]
fn a_device_is_no_file() {
    let mut net = OsNet::new().unwrap();
    let root = net.open_root(Path::new("/dev")).unwrap();
    let (_, stat) = net.open(&root, RelPath::new(b"null").unwrap(), Links::Refuse).unwrap();
    assert_eq!(stat.kind, FileType::Other);
    assert!(net.open_root(Path::new("/dev/null")).is_err(), "no folder");
}

#[test]
fn a_folder_is_listed_up_to_the_limit_and_a_file_is_read_at_any_place() {
    let folder = Folder::new("list");
    tree(&folder);
    let mut net = OsNet::new().unwrap();
    let root = net.open_root(&folder.at("top")).unwrap();
    let (handle, _) = net.open(&root, RelPath::ROOT, Links::Refuse).unwrap();
    for _ in 0..2 {
        let all = net.list(&handle, 1000).unwrap();
        let named = |name: &str| all.iter().find(|entry| entry.name == name.as_bytes()).unwrap();
        assert_eq!((named("file").kind, named("file").stat.unwrap().len), (FileType::File, 4));
        assert_eq!(named("dir").kind, FileType::Folder);
        assert_eq!((named("good").kind, named("good").stat), (FileType::Other, None));
        assert!(all.iter().all(|entry| entry.name != b"." && entry.name != b".."));
        assert_eq!(net.list(&handle, 5).unwrap().len(), 5);
    }
    let (file, stat) = net.open(&root, RelPath::new(b"dir/sub/deep").unwrap(), Links::Refuse).unwrap();
    assert!(stat.len == 5 && stat.modified_ns > 1_600_000_000_000_000_000);
    let mut buf = [0; 9];
    assert_eq!(net.read_file(&file, 2, &mut buf), Io::Done(3));
    assert_eq!(&buf[..3], b"ep!");
    assert_eq!(net.read_file(&file, 5, &mut buf), Io::Eof);
    assert!(matches!(net.read_file(&handle, 0, &mut buf), Io::Fault(_)), "a folder has no bytes");
}

#[test]
fn a_file_that_the_system_has_forgotten_is_at_hand_again_once_it_was_fetched() {
    const LEN: u64 = 3 << 20;
    let folder = Folder::new("fetch");
    std::fs::write(folder.at("big"), vec![b'x'; LEN as usize]).unwrap();
    let mut net = OsNet::new().unwrap();
    let root = net.open_root(&folder.0).unwrap();
    let (file, _) = net.open(&root, RelPath::new(b"big").unwrap(), Links::Refuse).unwrap();
    assert_eq!(net.at_hand(&file, 0..LEN), LEN, "it was just written");
    let FileKind::Os(inner) = &file.0 else { panic!("a file of the system") };
    inner.sync_all().unwrap();
    // Not every file system can forget one, or tells that it has.
    let forgotten = (0..1000).any(|_| {
        rustix::fs::fadvise(inner, 0, None, Advice::DontNeed).unwrap();
        net.at_hand(&file, 0..LEN) < LEN
    });
    let began = Instant::now();
    while forgotten && net.at_hand(&file, 0..LEN) < LEN {
        net.fetch(&file, 0..LEN);
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come");
        std::thread::yield_now();
    }
    assert_eq!((net.at_hand(&file, LEN - 10..LEN), net.at_hand(&file, 5..5)), (10, 0));
    assert_eq!(net.at_hand(&file, LEN..LEN + 7), 7, "whoever sends it finds that it has ended");
}

#[test]
fn a_file_whose_time_was_set_back_still_tells_that_it_changed() {
    let folder = Folder::new("changed");
    tree(&folder);
    let mut net = OsNet::new().unwrap();
    let file = std::fs::File::options().write(true).open(folder.at("top/file")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    let root = net.open_root(&folder.at("top")).unwrap();
    let stat = net.stat(&root, RelPath::new(b"file").unwrap(), Links::Refuse).unwrap();
    assert!(stat.modified_ns == 1_000_000_000 && stat.changed_ns > 1_600_000_000_000_000_000);
}

#[test]
fn random_bytes_fill_all_of_it_and_differ() {
    let mut net = OsNet::new().unwrap();
    let (mut one, mut other) = ([0; 1000], [0; 1000]);
    net.fill_random(&mut one);
    net.fill_random(&mut other);
    assert_ne!(one, other);
    assert!(one.chunks(8).all(|chunk| chunk != [0; 8]));
}

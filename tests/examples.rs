//! Each example that embeds the reactor is run and spoken to. They are built by a plain `cargo test`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};

struct Running {
    child: Child,
    addr: String,
}

/// Ends it even if the test failed half-way.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(name: &str) -> Running {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{name} is not built: run `cargo test`, or `cargo build --examples` before");
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut addr = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut addr).unwrap();
    Running { child, addr: addr.trim().to_owned() }
}

fn ask(addr: &str, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(words).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_program_with_its_own_loop_serves_lines_and_ends_by_quit() {
    let mut running = run("embed_reactor");
    assert_eq!(ask(&running.addr, b"one\ntwo\nunfinished"), b"ONE\nTWO\n");
    let mut idle = TcpStream::connect(&running.addr).unwrap();
    idle.write_all(b"half\n").unwrap();
    idle.read_exact(&mut [0; 5]).unwrap();
    running.child.stdin.as_mut().unwrap().write_all(b"what\nquit\n").unwrap();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "draining closes it");
    drop(idle);
    assert!(running.child.wait().unwrap().success());
}

#[test]
fn a_program_with_its_own_poll_nests_the_reactor_and_ends_with_its_input() {
    let mut running = run("nested_poll");
    for _ in 0..3 {
        let words = vec![b'w'; 300_000];
        let mut stream = TcpStream::connect(&running.addr).unwrap();
        let mut half = stream.try_clone().unwrap();
        let back = std::thread::spawn(move || {
            let mut back = Vec::new();
            half.read_to_end(&mut back).unwrap();
            back
        });
        stream.write_all(&words).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(back.join().unwrap() == words);
    }
    drop(running.child.stdin.take());
    assert!(running.child.wait().unwrap().success());
}

fn body(answer: Vec<u8>) -> String {
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes()
}

#[test]
fn hello_answers_by_name_and_ends_with_its_input() {
    let mut running = run("hello");
    assert_eq!(body(ask(&running.addr, &get("/"))), "Hello!\n");
    assert_eq!(body(ask(&running.addr, &get("/hello/you"))), "Hello, you! You are visitor 1.\n");
    drop(running.child.stdin.take());
    assert!(running.child.wait().unwrap().success());
}

#[test]
fn an_upload_is_summed_up_whatever_its_size() {
    let running = run("streaming_upload");
    let head = |length: usize| {
        format!("POST /sum HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
    };
    let answer = |body: &[u8]| {
        let mut stream = TcpStream::connect(&running.addr).unwrap();
        stream.write_all(head(body.len()).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    // RFC 1950's own sum of a well-known word.
    assert_eq!(body(answer(b"Wikipedia")), "9 bytes, 11e60398\n");
    assert!(body(answer(&vec![0; 30_000_000])).starts_with("30000000 bytes, "));
}

#[test]
fn a_thread_answers_late_and_others_are_served_meanwhile() {
    let running = run("late_answer");
    let mut slow = TcpStream::connect(&running.addr).unwrap();
    slow.write_all(&get("/primes/200000")).unwrap();
    assert_eq!(body(ask(&running.addr, &get("/"))), "here\n");
    slow.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert_eq!(body(answer), "17984 primes below 200000\n");
}

#[test]
fn every_listener_hears_what_is_said() {
    let running = run("sse");
    let listen = || {
        let mut stream = TcpStream::connect(&running.addr).unwrap();
        stream.write_all(&get("/events")).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        reader
    };
    let mut listeners = [listen(), listen()];
    let say = b"POST /say HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nahoy!";
    assert_eq!(body(ask(&running.addr, say)), "heard by 2\n");
    for listener in &mut listeners {
        let mut line = String::new();
        while !line.starts_with("data") {
            line.clear();
            assert!(listener.read_line(&mut line).unwrap() > 0);
        }
        assert_eq!(line, "data: ahoy!\n");
    }
}

#[test]
fn people_in_a_room_have_names_and_hear_each_other_and_the_page_says_where() {
    let running = run("chat");
    assert!(body(ask(&running.addr, &get("/"))).contains("/chat/lobby"));
    let refused = String::from_utf8(ask(&running.addr, &get("/chat/a"))).unwrap();
    assert!(refused.starts_with("HTTP/1.1 426 ") && refused.contains("Upgrade: websocket"), "{refused}");
    let enter = |room: &str, name: &str| {
        let stream = TcpStream::connect(&running.addr).unwrap();
        let uri = format!("ws://{}/chat/{room}", running.addr);
        let (mut socket, _) = tungstenite::client(uri, stream).unwrap();
        assert_eq!(hear(&mut socket), "What is your name?");
        say(&mut socket, name);
        assert_eq!(hear(&mut socket), format!("{name} comes in"));
        socket
    };
    let mut ann = enter("a", "Ann");
    let mut elsewhere = enter("b", "Eve");
    let mut bob = enter("a", "Bob");
    assert_eq!(hear(&mut ann), "Bob comes in");
    say(&mut bob, "hello");
    assert_eq!([hear(&mut ann), hear(&mut bob)], ["Bob: hello", "Bob: hello"]);
    say(&mut ann, "/who");
    assert_eq!(hear(&mut ann), "2 are here");
    say(&mut elsewhere, "alone?");
    assert_eq!(hear(&mut elsewhere), "Eve: alone?");
}

type Socket = tungstenite::WebSocket<TcpStream>;

fn say(socket: &mut Socket, text: &str) {
    socket.send(tungstenite::Message::text(text)).unwrap();
}

fn hear(socket: &mut Socket) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

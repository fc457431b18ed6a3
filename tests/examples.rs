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

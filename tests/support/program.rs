//! The program itself, in a process of its own that ends with the test.
#![allow(dead_code)] // each test binary uses its part

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

/// Without the variables around the test: some of them are settings.
pub fn evenkeel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.env_clear();
    command
}

/// The program, serving.
pub struct Program {
    pub child: Child,
    /// Where it says that it listens.
    pub at: SocketAddr,
    log: BufReader<ChildStderr>,
}

/// Even if the test failed half-way.
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts it and waits until it listens. What it writes to standard output after that is lost.
    pub fn start(command: &mut Command) -> Program {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        match line.trim().strip_prefix("listening on ").map(str::parse) {
            Some(Ok(at)) => Program { child, at, log },
            Some(Err(_)) | None => {
                let _ = log.read_to_string(&mut line);
                panic!("it does not serve: {line:?}");
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Reads the log up to a line with these words: that line.
    pub fn await_log(&mut self, words: &str) -> String {
        self.log_until(words).1
    }

    /// Reads the log up to a line with these words: what comes before, and that line.
    pub fn log_until(&mut self, words: &str) -> (String, String) {
        let mut log = String::new();
        loop {
            let before = log.len();
            assert!(self.log.read_line(&mut log).unwrap() > 0, "no {words:?} in the log:\n{log}");
            if log[before..].contains(words) {
                let line = log.split_off(before);
                return (log, line);
            }
        }
    }

    /// Its exit code, and the rest of its log.
    pub fn end(&mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

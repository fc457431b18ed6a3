use super::*;
use std::sync::mpsc;

const LONG: Duration = Duration::from_secs(10);

/// What was written, kept.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says that it was asked to write, then waits to be allowed to.
struct Stalled {
    asked: mpsc::Sender<()>,
    allowed: mpsc::Receiver<()>,
    out: Memory,
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.send(()).ok();
        self.allowed.recv().ok();
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stalled() -> (Stalled, mpsc::Receiver<()>, mpsc::Sender<()>, Memory) {
    let ((asked, was_asked), (allow, allowed)) = (mpsc::channel(), mpsc::channel());
    let out = Memory::default();
    (Stalled { asked, allowed, out: out.clone() }, was_asked, allow, out)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("evenkeel-log-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_stalled_reader_costs_lines_and_never_a_reactor() {
    let (out, was_asked, allow, memory) = stalled();
    let writer = LogWriter::start_with(Box::new(out), 8).unwrap();
    let queue = writer.queue();
    assert!(queue.offer(b"first\n", 1));
    was_asked.recv().unwrap();
    assert!(queue.offer(b"second\n", 1), "the queue is empty: the thread holds the first line");
    for _ in 0..1000 {
        assert!(!queue.offer(b"more\nand more\n", 2), "no room, and no waiting");
    }
    assert_eq!(queue.dropped(), 2000);
    drop(allow);
    assert!(writer.close(LONG));
    assert_eq!(memory.bytes(), b"first\nsecond\n");
    assert!(!queue.offer(b"late\n", 1), "after the end lines are counted, not kept");
    assert_eq!(queue.dropped(), 2001);
}

#[test]
fn lines_after_a_change_of_place_go_to_the_new_place_however_late_the_thread_is() {
    let folder = folder("late");
    let path = folder.join("access.log");
    let (out, was_asked, allow, memory) = stalled();
    let writer = LogWriter::start_with(Box::new(out), 100).unwrap();
    let queue = writer.queue();
    queue.offer(b"held\n", 1);
    was_asked.recv().unwrap();
    queue.offer(b"old\n", 1);
    writer.redirect(Sink::File(path.clone())).unwrap();
    queue.offer(b"new\n", 1);
    drop(allow);
    assert!(writer.close(LONG));
    assert_eq!(memory.bytes(), b"held\nold\n");
    assert_eq!(std::fs::read(&path).unwrap(), b"new\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn closing_gives_up_at_its_bound() {
    let (out, was_asked, allow, _) = stalled();
    let writer = LogWriter::start_with(Box::new(out), 100).unwrap();
    writer.queue().offer(b"line\n", 1);
    was_asked.recv().unwrap();
    assert!(!writer.close(Duration::ZERO));
    drop(allow);
}

#[test]
fn a_rotated_file_gets_the_old_lines_and_the_new_file_the_new_ones() {
    let folder = folder("rotate");
    let (path, old) = (folder.join("access.log"), folder.join("access.log.1"));
    let writer = LogWriter::start(Sink::File(path.clone()), LIMIT).unwrap();
    let queue = writer.queue();
    let mut sent = 0;
    for round in 0..3 {
        for _ in 0..1000 {
            assert!(queue.offer(format!("round {round} line {sent}\n").as_bytes(), 1));
            sent += 1;
        }
        if round == 0 {
            std::fs::rename(&path, &old).unwrap();
        }
        writer.reopen().unwrap();
    }
    assert!(writer.close(LONG));
    let both = std::fs::read_to_string(&old).unwrap() + &std::fs::read_to_string(&path).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(queue.dropped(), 0);
    let lines: Vec<&str> = both.lines().collect();
    assert_eq!(lines.len(), sent, "none lost, none twice");
    assert!(lines.iter().enumerate().all(|(i, line)| line.ends_with(&format!(" line {i}"))), "and in order");
    assert!(lines[999].starts_with("round 0"));
}

#[test]
fn a_file_that_cannot_be_opened_is_said_and_the_old_one_goes_on() {
    let folder = folder("missing");
    let (path, bad) = (folder.join("access.log"), folder.join("no/such/folder"));
    assert!(LogWriter::start(Sink::File(bad.clone()), LIMIT).is_err());
    let writer = LogWriter::start(Sink::File(path.clone()), LIMIT).unwrap();
    assert!(writer.redirect(Sink::File(bad)).is_err());
    writer.queue().offer(b"line\n", 1);
    assert!(writer.close(LONG));
    assert_eq!(std::fs::read(&path).unwrap(), b"line\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_fifo_that_nobody_reads_is_an_error_and_one_that_is_read_gets_every_line() {
    let folder = folder("fifo");
    let path = folder.join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let start = || {
        let (to, from) = mpsc::channel();
        let sink = Sink::File(path.clone());
        thread::spawn(move || to.send(LogWriter::start(sink, LIMIT)));
        from.recv_timeout(LONG).expect("opening it does not wait")
    };
    let said = start().unwrap_err().to_string();
    assert!(said.contains("nobody reads this FIFO") && said.contains(path.to_str().unwrap()), "{said}");
    let reader = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&path);
    let mut reader = reader.unwrap();
    let writer = start().unwrap();
    // From now on reads wait.
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).unwrap();
    // More than a pipe holds.
    let lines: Vec<u8> = (0..20_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    assert!(writer.queue().offer(&lines, 20_000));
    let mut got = vec![0; lines.len()];
    io::Read::read_exact(&mut reader, &mut got).unwrap();
    assert!(got == lines && writer.close(LONG));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Takes `takes[i]` bytes at the i-th write, or fails.
struct Faulty(Vec<Option<usize>>, Memory);

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.pop() {
            Some(Some(n)) => self.1.write(&bytes[..n.min(bytes.len())]),
            Some(None) => Err(ErrorKind::StorageFull.into()),
            None => self.1.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_loses_lines_by_count_and_tears_only_one() {
    let memory = Memory::default();
    let mut out = Faulty(vec![None, None, Some(6)], memory.clone());
    let mut torn = false;
    let mut lost = |batch: &[u8], lines| {
        let written = write_batch(&mut out, batch, lines, &mut torn);
        written.err().map(|(lost, error)| (lost, error.kind()))
    };
    assert_eq!(lost(b"one\ntwo\nthree\n", 3), Some((2, ErrorKind::StorageFull)));
    assert_eq!(lost(b"four\n", 1), Some((1, ErrorKind::StorageFull)), "still full");
    assert_eq!(lost(b"five\n", 1), None);
    assert_eq!(memory.bytes(), b"one\ntw\nfive\n");
}

#[test]
fn lines_of_many_workers_are_never_mixed() {
    let memory = Memory::default();
    let writer = LogWriter::start_with(Box::new(memory.clone()), LIMIT).unwrap();
    thread::scope(|scope| {
        for worker in 0..4u8 {
            let queue = writer.queue();
            scope.spawn(move || {
                let mut line = [b'a' + worker; 100];
                line[99] = b'\n';
                (0..500).for_each(|_| assert!(queue.offer(&line, 1)));
            });
        }
    });
    assert!(writer.close(LONG));
    let bytes = memory.bytes();
    assert_eq!(bytes.len(), 200_000);
    assert!(bytes.chunks(100).all(|line| line[99] == b'\n' && line[..99].iter().all(|b| *b == line[0])));
}

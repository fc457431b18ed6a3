//! What the operating system says about this process, as Prometheus' client libraries report it. Read when scraped, from `/proc`;
//! elsewhere it is all zero.

use std::fs;
use std::sync::OnceLock;

/// The process as it is now.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Process {
    /// User and system time used, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Address space, in bytes.
    pub virtual_bytes: u64,
    /// Open descriptors.
    pub open_fds: u64,
    /// The most that may be open; none if there is no limit.
    pub max_fds: Option<u64>,
    /// When it began: seconds since 1970.
    pub start_seconds: f64,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// Reads it. What cannot be read stays zero. No disk is touched.
    pub fn read() -> Process {
        // When the machine was booted does not change, and `/proc/stat` is long.
        static BOOTED: OnceLock<u64> = OnceLock::new();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let booted = *BOOTED.get_or_init(|| {
            booted(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
        });
        let ticks = rustix::param::clock_ticks_per_second();
        let mut process = parse(&stat, ticks, rustix::param::page_size() as u64, booted).unwrap_or_default();
        process.open_fds = open_fds();
        process.max_fds = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        process
    }
}

fn open_fds() -> u64 {
    // Since Linux 6.2 the folder's length is the number; before, it is 0.
    match fs::metadata("/proc/self/fd").map(|stat| stat.len()) {
        Ok(n) if n > 0 => n,
        Ok(_) => fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64),
        Err(_) => 0,
    }
}

/// `btime` of `/proc/stat`: when the machine was booted, in seconds since 1970.
fn booted(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Reads `/proc/self/stat` (proc_pid_stat(5)). The name in its second field may hold anything, blanks and brackets too.
fn parse(stat: &str, ticks: u64, page: u64, booted: u64) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // The first here is the third there.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks_used: u64| ticks_used as f64 / ticks.max(1) as f64;
    Some(Process {
        cpu_seconds: seconds(field(14)?.saturating_add(field(15)?)),
        resident_bytes: field(24)?.saturating_mul(page),
        virtual_bytes: field(23)?,
        start_seconds: booted as f64 + seconds(field(22)?),
        threads: field(20)?,
        ..Process::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_proc_is_read_whatever_the_name_is() {
        let rest = "S 1 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 1000 8192000 250 18446744073709551615 1";
        for name in ["evenkeel", "a) R 1 1", "(("] {
            let process = parse(&format!("42 ({name}) {rest}"), 100, 4096, 1_700_000_000).unwrap();
            assert_eq!(process.cpu_seconds, 2.0);
            assert_eq!(process.resident_bytes, 250 * 4096);
            assert_eq!((process.virtual_bytes, process.threads), (8_192_000, 3));
            assert_eq!(process.start_seconds, 1_700_000_010.0);
        }
        for bad in ["", "42 (x", "42 (x) S 1 2", "42 (x) S a b c d e f g h i j k l m n o p q r s t u v w x y"]
        {
            assert_eq!(parse(bad, 100, 4096, 0), None);
        }
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_seen() {
        let process = Process::read();
        assert!(process.resident_bytes > 100_000 && process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds >= 3 && process.threads >= 1);
        assert!(process.start_seconds > 1_500_000_000.0);
    }
}

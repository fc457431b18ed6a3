//! The memory budget: how much may be held for connections, and how near we are to it.
//!
//! The limit is the configured one (but at most half of what the control group, `ulimit -v` or a pointer of 32 bits allows: the other
//! half is for the program itself, and for what an allocator cannot use between two pieces), or, without one, a quarter of what the
//! machine has or those allow, whichever is less. Workers report what connections hold; [`Budget::pressure`] then says what is to be done:
//!
//! | pressure | when | what the server does |
//! |---|---|---|
//! | `Fine` | below 80 % | nothing |
//! | `Near` | from 80 % | lets the longest-idle keep-alives go, if it is they who hold much |
//! | `Over` | from 100 % | refuses newcomers, and closes the largest backlogs |
//!
//! The number is what is held for connections, not what the process has in all: the fixed part is small, and known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// If nothing can be found out about the machine, in bytes.
const UNKNOWN: u64 = 256 << 20;
/// The least budget that is of use, in bytes: with less, nothing would be served.
pub const LEAST: u64 = 1 << 20;
/// Half of what a pointer reaches, in bytes: with 32 bits that is not as far as the memory of some machines.
const HALF: u64 = usize::MAX as u64 / 2 + 1;
/// [`Pressure::Near`] begins at so many percent of the limit.
const NEAR_PERCENT: u64 = 80;

/// How near the budget is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pressure {
    /// There is room.
    Fine,
    /// Let go of what can be let go.
    Near,
    /// Take nothing more on.
    Over,
}

impl Pressure {
    /// What so many bytes mean where `limit` may be held.
    pub fn of(held: u64, limit: u64) -> Pressure {
        if held >= limit {
            Pressure::Over
        } else if u128::from(held) * 100 >= u128::from(limit) * u128::from(NEAR_PERCENT) {
            Pressure::Near
        } else {
            Pressure::Fine
        }
    }
}

#[derive(Debug)]
struct Shared {
    limit: AtomicU64,
    held: AtomicU64,
    idle: AtomicU64,
}

/// The budget of the process; clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

impl Budget {
    /// A budget of so many bytes; 0: found out from the machine, see [`resolve`]. Reads a few small files then.
    pub fn new(limit: u64) -> Budget {
        let limit = resolve(limit, read_file);
        Budget(Arc::new(Shared {
            limit: AtomicU64::new(limit),
            held: AtomicU64::new(0),
            idle: AtomicU64::new(0),
        }))
    }

    /// Another limit, with the same meaning of 0.
    pub fn set_limit(&self, limit: u64) {
        self.0.limit.store(resolve(limit, read_file), Ordering::Relaxed);
    }

    /// The limit in bytes; never 0.
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Bytes that all workers hold, as last reported.
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// The part of [`held`](Self::held) that is held for idle connections, as last reported.
    pub fn idle(&self) -> u64 {
        self.0.idle.load(Ordering::Relaxed)
    }

    /// How near the budget is.
    pub fn pressure(&self) -> Pressure {
        Pressure::of(self.held(), self.limit())
    }

    /// A worker's part of it.
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), reported: 0, idle: 0 }
    }
}

/// What one worker holds. Dropped, it holds nothing.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    reported: u64,
    idle: u64,
}

impl Share {
    /// Tells how much the worker holds now, at the end of each turn, and what that means for the process. One comparison and
    /// two loads if nothing changed.
    pub fn report(&mut self, held: u64) -> Pressure {
        change(&self.budget.0.held, &mut self.reported, held);
        self.budget.pressure()
    }

    /// Tells how much of that the worker holds for idle connections, whenever it has looked.
    pub fn report_idle(&mut self, idle: u64) {
        change(&self.budget.0.idle, &mut self.idle, idle);
    }

    /// The budget that it is a part of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

fn change(sum: &AtomicU64, mine: &mut u64, now: u64) {
    if now > *mine {
        sum.fetch_add(now - *mine, Ordering::Relaxed);
    } else if now < *mine {
        sum.fetch_sub(*mine - now, Ordering::Relaxed);
    }
    *mine = now;
}

impl Drop for Share {
    fn drop(&mut self) {
        self.report(0);
        self.report_idle(0);
    }
}

/// The limit that a setting means: itself, but at most half of what this process may have; for 0 a quarter of that or of the
/// machine's memory, whichever is less. `read` gives the content of a file, if there is one.
pub fn resolve(setting: u64, read: impl Fn(&str) -> Option<String>) -> u64 {
    let allowed = allowed(&read);
    if setting > 0 {
        return allowed.map_or(setting, |bytes| setting.min((bytes / 2).max(LEAST))).min(HALF);
    }
    let total = read("/proc/meminfo").and_then(|text| meminfo(&text));
    total.into_iter().chain(allowed).min().map_or(UNKNOWN, |bytes| (bytes / 4).min(HALF / 2)).max(LEAST)
}

/// Bytes that this process may have by the control groups it is in and by its own limits, as far as can be found out.
fn allowed(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(group_of).flat_map(|(root, file, path)| {
        // Any group above ours limits us, too. In a container the path may be the host's, and only the root be there.
        let above = path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| &path[..at]);
        let files: Vec<String> = above.chain([path]).map(|group| format!("{root}{group}/{file}")).collect();
        files.into_iter().filter_map(|file| read(&file)?.trim().parse::<u64>().ok()).collect::<Vec<_>>()
    });
    let own = read("/proc/self/limits").and_then(|text| address_space(&text));
    // Old control groups say "no limit" by a number that no machine has.
    limits.chain(own).filter(|bytes| (1..1 << 60).contains(bytes)).min()
}

/// Where the limit of the memory group on this line of `/proc/self/cgroup` is: root, name of the file, path of the group.
fn group_of(line: &str) -> Option<(&'static str, &'static str, &str)> {
    let mut parts = line.splitn(3, ':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let path = path.trim_end_matches('/');
    if !path.is_empty() && !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    match (id, controllers) {
        ("0", "") => Some(("/sys/fs/cgroup", "memory.max", path)),
        (_, list) if list.split(',').any(|name| name == "memory") => {
            Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
        }
        (_, _) => None,
    }
}

/// `MemTotal` in bytes.
fn meminfo(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit of the address space (`ulimit -v`) in bytes, if there is one.
fn address_space(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn read_file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MEMINFO: &str = "MemTotal:        4194304 kB\nMemFree:          100 kB\n";

    fn world(files: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.to_string())
    }

    #[test]
    fn a_number_is_taken_as_it_is_but_is_no_more_than_half_of_what_is_allowed() {
        assert_eq!(resolve(12_345, world(&[("/proc/meminfo", MEMINFO)])), 12_345);
        let limited = world(&[("/proc/self/cgroup", "0::/"), ("/sys/fs/cgroup/memory.max", "67108864")]);
        assert_eq!(resolve(24 << 20, &limited), 24 << 20);
        assert_eq!(resolve(1 << 30, &limited), 32 << 20);
        assert_eq!(
            resolve(8 * GIB, world(&[("/proc/meminfo", MEMINFO)])),
            (8 * GIB).min(HALF),
            "the machine may have swap"
        );
    }

    #[test]
    fn no_more_is_counted_on_than_a_pointer_reaches() {
        let large = world(&[("/proc/meminfo", "MemTotal:       67108864 kB\n")]);
        assert_eq!(resolve(0, &large), (16 * GIB).min(HALF / 2));
        assert_eq!(resolve(12 * GIB, &large), (12 * GIB).min(HALF));
    }

    #[test]
    fn zero_is_a_quarter_of_the_machine() {
        assert_eq!(resolve(0, world(&[("/proc/meminfo", MEMINFO)])), GIB);
    }

    #[test]
    fn or_a_quarter_of_the_address_space_if_that_is_limited() {
        const LIMITS: &str =
            "Limit  Soft Limit  Hard Limit  Units\nMax address space  67108864  unlimited  bytes\n";
        let limited = world(&[("/proc/meminfo", MEMINFO), ("/proc/self/limits", LIMITS)]);
        assert_eq!(resolve(0, limited), 16 << 20);
        const NONE: &str = "Max address space         unlimited            unlimited            bytes\n";
        assert_eq!(resolve(0, world(&[("/proc/meminfo", MEMINFO), ("/proc/self/limits", NONE)])), GIB);
    }

    #[test]
    fn or_a_quarter_of_the_control_group_if_that_is_less() {
        let v2 = world(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/system.slice/evenkeel.service\n"),
            ("/sys/fs/cgroup/system.slice/evenkeel.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ]);
        assert_eq!(resolve(0, v2), GIB / 4, "a group above ours counts");
        let v1 = world(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "11:cpu,cpuacct:/x\n5:memory:/docker/abc\n1:name=systemd:/\n"),
            ("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(resolve(0, v1), GIB / 8);
        let container = world(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "67108864\n"),
        ]);
        assert_eq!(resolve(0, container), 16 << 20);
        let unlimited = world(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "5:memory:/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(resolve(0, unlimited), GIB);
    }

    #[test]
    fn what_cannot_be_read_or_makes_no_sense_is_left_out() {
        assert_eq!(resolve(0, world(&[])), UNKNOWN);
        for cgroup in ["", "x", "::", "0:", "0::../..", "0::/a/../b", "0::relative"] {
            let files = |path: &str| match path {
                "/proc/self/cgroup" => Some(cgroup.to_string()),
                "/proc/meminfo" => Some("MemTotal: lots kB\nMemTotal: 99999999999999999999 kB".into()),
                "/proc/self/limits" => Some("Max address space         lots".into()),
                path => panic!("{path} is not to be read for {cgroup:?}"),
            };
            assert_eq!(resolve(0, files), UNKNOWN);
        }
        let tiny = world(&[("/proc/self/cgroup", "0::/"), ("/sys/fs/cgroup/memory.max", "4096")]);
        assert_eq!(resolve(0, tiny), LEAST);
    }

    #[test]
    fn pressure_rises_with_what_workers_hold_and_falls_when_they_end() {
        let budget = Budget::new(1000);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert_eq!(one.report(799), Pressure::Fine);
        assert_eq!(two.report(1), Pressure::Near);
        assert_eq!(two.report(200), Pressure::Near);
        assert_eq!(two.report(201), Pressure::Over);
        assert_eq!(one.report(0), Pressure::Fine);
        assert_eq!(budget.held(), 201);
        one.report_idle(100);
        two.report_idle(50);
        assert_eq!(budget.idle(), 150);
        drop(two);
        assert_eq!(budget.idle(), 100);
        assert_eq!(budget.held(), 0);
        budget.set_limit(0);
        assert!(budget.limit() >= LEAST);
        assert_eq!(Pressure::of(u64::MAX, u64::MAX), Pressure::Over);
        assert_eq!(Pressure::of(u64::MAX / 2, u64::MAX), Pressure::Fine);
    }
}

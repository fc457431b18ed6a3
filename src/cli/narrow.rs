//! A process whose address space is limited (`ulimit -v`).
//!
//! The C library's allocator reserves 64 MiB of addresses for each thread. Where that cannot be had, it gives every allocation of
//! such a thread a page of its own: an idle TLS connection takes 25 KiB instead of 4. All threads sharing one arena cures it, and
//! that can only be said before the process begins: so it begins once more, as the same process, with that said.

use rustix::process::{Resource, getrlimit};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the allocator reads.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// With so many bytes of addresses there is room for every thread's arena.
const ROOM: u64 = 1 << 30;

/// Begins anew with one arena, if there is need and nobody has said otherwise. Comes back if not, or if it cannot be done.
pub(super) fn share_one_arena() {
    let limited = getrlimit(Resource::As).current.is_some_and(|bytes| bytes < ROOM);
    if !limited || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(me) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(me);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Only an error comes back, and it is none: the process serves as it is.
    let _ = command.args(arguments).env(ARENAS, "1").exec();
}

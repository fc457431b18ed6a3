//! A path kept below its root without the kernel's help: every component is opened on its own, never through a link, and links are
//! resolved here. Folders on the way are held open, so that `..` goes back to where we came from, whatever is renamed meanwhile.

use crate::reactor::net::Links;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Links followed on one path, as many as the kernel does.
const MAX_LINKS: usize = 40;

/// Opens what is at `path` below `root`. `XDEV` if a link leads out of it, `LOOP` for links refused or too many.
pub(super) fn find(root: BorrowedFd<'_>, path: &[u8], links: Links, flags: OFlags) -> Result<OwnedFd, Errno> {
    // What is still to be walked, last first.
    let mut ahead: Vec<Vec<u8>> = Vec::new();
    push(&mut ahead, path);
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut followed = 0;
    while let Some(part) = ahead.pop() {
        let here = folders.last().map_or(root, |folder| folder.as_fd());
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                folders.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            _ => {}
        }
        let last = ahead.is_empty();
        let how = if last { flags } else { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC };
        match open_one(here, &part, how) {
            Ok(found) if last => return Ok(found),
            Ok(folder) => folders.push(folder),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                // Not a link after all (`INVAL`): then it is a file where a folder must be.
                let target = fs::readlinkat(here, part.as_slice(), Vec::new()).map_err(|_| Errno::NOTDIR)?;
                let target = target.as_bytes();
                followed += 1;
                if links == Links::Refuse || followed > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                if target.first() == Some(&b'/') {
                    return Err(Errno::XDEV);
                }
                push(&mut ahead, target);
            }
            Err(errno) => return Err(errno),
        }
    }
    let here = folders.last().map_or(root, |folder| folder.as_fd());
    retry_on_intr(|| fs::openat(here, c".", flags, Mode::empty()))
}

fn push(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    ahead.extend(path.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
}

/// Opens a name in a folder; a link is `LOOP` or `NOTDIR`.
fn open_one(folder: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let found = retry_on_intr(|| fs::openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty()))?;
    // By `O_PATH` the link itself can be opened.
    if flags.contains(OFlags::PATH) && !flags.contains(OFlags::DIRECTORY) {
        let kind = fs::FileType::from_raw_mode(fs::fstat(&found)?.st_mode);
        if kind == fs::FileType::Symlink {
            return Err(Errno::LOOP);
        }
    }
    Ok(found)
}

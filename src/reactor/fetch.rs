//! Files are fetched before they are sent, so that no other connection waits for the disk.
//!
//! 1. Of a file leaves what is at hand ([`Host::at_hand`]). If that is nothing, its port waits and looks again, each time after a quarter
//!    of what it has waited so far, by the wheel; meanwhile its peer is not judged.
//! 2. Once a file was waited for, the disk is asked ([`Host::fetch`]) for what follows while what it has brought is sent: in large pieces,
//!    which it has sooner than many small ones, and ever farther ahead while it has brought all of it whenever we look.
//! 3. Patience has an end. A disk that has stopped to answer is a fault of the connection that waits for it. A system that has never
//!    told that it has anything of the file may never do so: then the file is read when it is sent, whatever that takes.

use super::mutant::{self, Mutant};
use super::net::{FileHandle, Host};
use super::outcome::Fault;
use super::token::Millis;
use std::ops::Range;
use std::time::Duration;

/// Bytes that the disk is asked for at once, and how far beyond what is at hand it is asked at first.
const PIECE: u64 = 1 << 20;
/// How far at most.
const FARTHEST: u64 = 8 << 20;
/// How far is looked where the disk need not be asked.
const LOOK: u64 = 4 << 20;
/// How long the disk may take until something more is at hand.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who waits looks again after at least this time.
const SOON: Duration = Duration::from_millis(1);
/// After at most this time.
const LATE: Duration = Duration::from_millis(50);

/// How much of the file at the front of an outbox is at hand.
#[derive(Default, Debug)]
pub(super) struct Fetch {
    /// It is so up to here.
    reach: u64,
    /// Up to here the disk was asked for it, and so far ahead of what is at hand it is asked; none: it need not be.
    asked: Option<(u64, u64)>,
    /// Since when the disk is waited for, and when to look again.
    waits: Option<(Millis, Millis)>,
    /// Something of it was at hand once.
    tells: bool,
}

impl Fetch {
    /// When to look again.
    pub fn again_at(&self) -> Millis {
        let waits = self.waits.filter(|_| !mutant::is(Mutant::ForgetToLookAgain));
        waits.map_or(Millis::NEVER, |(_, again)| again)
    }

    /// The disk is waited for.
    pub fn waits(&self) -> bool {
        self.waits.is_some()
    }

    /// The disk is waited for since now.
    pub fn began(&self, now: Millis) -> bool {
        self.waits.is_some_and(|(since, _)| since == now)
    }

    /// It is not, for now: somebody else is.
    pub fn forget(&mut self) {
        self.waits = None;
    }

    /// How many bytes of the range's beginning can be sent now. 0: the disk is waited for. A fault: it has been for too long.
    pub fn at_hand(
        &mut self,
        host: &mut impl Host,
        file: &FileHandle,
        range: &Range<u64>,
        now: Millis,
    ) -> Result<u64, Fault> {
        let may_look = self.reach <= range.start && (!self.waits() || self.again_at() <= now);
        if may_look {
            self.look(host, file, range, now)?;
        }
        Ok(self.reach.min(range.end).saturating_sub(range.start))
    }

    /// Looks how much is at hand, and keeps the disk ahead of it.
    fn look(
        &mut self,
        host: &mut impl Host,
        file: &FileHandle,
        range: &Range<u64>,
        now: Millis,
    ) -> Result<(), Fault> {
        let waited = self.waits();
        let (asked, ahead) = self.asked.unwrap_or((0, PIECE));
        let far = if self.asked.is_some() { ahead } else { LOOK };
        let end = range.end.min(range.start + far);
        self.reach = range.start + host.at_hand(file, range.start..end);
        let is_nothing = self.reach == range.start;
        if self.asked.is_some() || self.reach < end {
            let is_quick = waited && self.reach >= asked;
            let ahead = if is_quick { FARTHEST.min(2 * ahead) } else { ahead };
            // As a wait begins: what was there may be gone again.
            let asked = if is_nothing && !waited { self.reach } else { asked.max(self.reach) };
            self.ask(host, file, range.end, asked, ahead);
        }
        if is_nothing {
            let since = self.waits.map_or(now, |(since, _)| since);
            let so_far = now.since(since);
            if so_far < PATIENCE {
                self.waits = Some((since, now.after((so_far / 4).clamp(SOON, LATE))));
                return Ok(());
            }
            if self.tells {
                log::warn!(
                    "the disk has had nothing more of a file for {} s: its download is cut",
                    so_far.as_secs()
                );
                return Err(Fault::Other);
            }
            self.reach = u64::MAX;
        }
        (self.tells, self.waits) = (true, None);
        Ok(())
    }

    /// Asks the disk for the file from `asked` on, so far ahead of what is at hand, and in whole pieces.
    fn ask(&mut self, host: &mut impl Host, file: &FileHandle, end: u64, asked: u64, ahead: u64) {
        let mut asked = asked;
        while asked < end.min(self.reach + ahead) {
            let to = end.min(asked + PIECE);
            host.fetch(file, asked..to);
            asked = to;
        }
        self.asked = Some((asked, ahead));
    }
}

#[cfg(test)]
mod tests {
    use super::super::net::sim::SimNet;
    use super::super::net::{Links, Net, RelPath};
    use super::super::outcome::Io;
    use super::*;
    use std::path::Path;

    const LEN: u64 = 6 * PIECE;

    /// A file whose bytes the disk has after so many milliseconds, and none of them at hand.
    fn cold(disk_ms: u64) -> (SimNet, FileHandle) {
        let mut net = SimNet::new(1);
        net.files.file("f", vec![0; LEN as usize], 0);
        net.files.chill("f");
        net.files.disk_ms = disk_ms;
        let root = net.open_root(Path::new("/")).unwrap();
        let (file, _) = net.open(&root, RelPath::new(b"f").unwrap(), Links::Refuse).unwrap();
        (net, file)
    }

    /// Waits for its beginning as a port does: how long, in milliseconds, and how much is at hand then.
    fn wait(fetch: &mut Fetch, net: &mut SimNet, file: &FileHandle) -> (u64, u64) {
        let begin = net.now();
        loop {
            let now = net.now();
            match fetch.at_hand(net, file, &(0..LEN), now).unwrap() {
                0 => net.wait(Some(fetch.again_at().since(now)), &mut Vec::new()).unwrap(),
                n => return (now.since(begin).as_millis() as u64, n),
            }
        }
    }

    #[test]
    fn it_is_looked_for_again_soon_at_first_and_then_ever_more_rarely() {
        for (disk_ms, waited, looks) in [(1, 1, 2), (8, 9, 8), (100, 118, 19), (1000, 1032, 38)] {
            let (mut net, file) = cold(disk_ms);
            let seen = wait(&mut Fetch::default(), &mut net, &file);
            assert_eq!((seen, net.calls().at_hands), ((waited, PIECE), looks), "{disk_ms} ms");
        }
    }

    #[test]
    fn a_disk_that_is_behind_is_asked_for_a_piece_beyond_what_is_at_hand_and_no_more() {
        let (mut net, file) = cold(8);
        let mut fetch = Fetch::default();
        for _ in 0..5 {
            let now = net.now();
            assert_eq!(fetch.at_hand(&mut net, &file, &(0..LEN), now), Ok(0));
            assert_eq!(fetch.asked, Some((PIECE, PIECE)));
            net.wait(Some(SOON), &mut Vec::new()).unwrap();
        }
        assert_eq!(net.calls().fetches, 1);
    }

    #[test]
    fn a_disk_that_has_all_it_was_asked_for_whenever_it_was_waited_for_is_asked_ever_farther_ahead() {
        let (mut net, file) = cold(1);
        let mut fetch = Fetch::default();
        assert_eq!(wait(&mut fetch, &mut net, &file), (1, PIECE));
        assert_eq!(fetch.asked, Some((3 * PIECE, 2 * PIECE)));
        let now = net.now();
        for at in [1, PIECE - 1] {
            assert_eq!(fetch.at_hand(&mut net, &file, &(at..LEN), now), Ok(PIECE - at));
            assert_eq!(fetch.asked, Some((3 * PIECE, 2 * PIECE)), "nothing more while it is sent");
        }
        assert_eq!(fetch.at_hand(&mut net, &file, &(PIECE..LEN), now), Ok(2 * PIECE));
        assert_eq!(fetch.asked, Some((5 * PIECE, 2 * PIECE)), "it was not waited for this time");
    }

    #[test]
    fn what_is_at_hand_is_not_asked_for_nor_looked_for_again_while_it_is_sent() {
        let (mut net, file) = cold(1);
        assert_eq!(net.read_file(&file, 0, &mut [0]), Io::Done(1));
        let (mut fetch, now) = (Fetch::default(), net.now());
        for at in [0, 1, LOOK - 1] {
            assert_eq!(fetch.at_hand(&mut net, &file, &(at..LEN), now), Ok(LOOK - at));
        }
        assert_eq!((net.calls().at_hands, net.calls().fetches), (1, 0));
    }

    #[test]
    fn a_disk_that_never_told_that_it_has_it_is_waited_for_as_long_as_patience_lasts_and_then_no_more() {
        let (mut net, file) = cold(u64::MAX);
        let (waited, at_hand) = wait(&mut Fetch::default(), &mut net, &file);
        let patience = PATIENCE.as_millis() as u64;
        assert!((patience..patience + 50).contains(&waited), "{waited}");
        assert_eq!(at_hand, LEN);
    }
}

//! How long a peer may take what waits for it, and how slowly.
//!
//! 1. Only what is taken after the kernel's first refusal counts: what it took before filled its own buffer ([`Outbox`]). Nor does
//!    what is taken in the second after it, which fills the buffer of the peer's kernel. The time counts from the refusal.
//! 2. With `TCP_NOTSENT_LOWAT` an edge comes only once half of that is free, 64 KiB, which takes a slow peer longer than a window.
//!    So nobody is judged before a write was tried once more: room is there without an edge.
//!
//! [`Outbox`]: super::outbox::Outbox

use super::context::App;
use super::net::{Net, Ready};
use super::port::{Phase, Port, Settings};
use super::token::{Millis, Token};
use super::turn::Reactor;

impl<A: App, N: Net> Reactor<A, N> {
    /// A deadline for what waits has passed, buffers have settled, or the disk may have what it was asked for: tries to send some of it before the peer is judged.
    pub(super) fn ask_kernel_again(&mut self, token: Token) {
        let now = self.core.now;
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if !is_due(port, &self.core.settings, now) {
            return;
        }
        match port.phase {
            Phase::Open | Phase::Flushing if port.ready.has(Ready::WRITABLE) => {}
            Phase::Open => {
                port.ready = port.ready.with(Ready::WRITABLE);
                self.flush_open(token);
                // If that made room, what was held back is to be read: no edge tells of it.
                self.core.enqueue(token);
            }
            Phase::Flushing => {
                port.ready = port.ready.with(Ready::WRITABLE);
                self.run_flushing(token);
            }
            Phase::Detached | Phase::Connecting | Phase::Handshaking | Phase::ReadOnly | Phase::Lingering => {
            }
        }
        if let Some(outbox) = self.core.ports.get_mut(token).and_then(|port| port.outbox.as_mut()) {
            outbox.settle(now);
        }
    }
}

fn is_due<R>(port: &Port<R>, settings: &Settings, now: Millis) -> bool {
    let Some(outbox) = port.outbox.as_ref() else { return false };
    let stalled = outbox.progress_at.after(settings.write_timeout) <= now;
    stalled
        || outbox.fetch.again_at() <= now
        || outbox.settles_at() <= now
        || settings.send_rate > 0 && outbox.window.0.after(settings.send_window) <= now
}

/// The peer has taken nothing for the write timeout. Measured anew if the session lives on.
pub(super) fn stalled<R>(port: &mut Port<R>, settings: &Settings, now: Millis) -> bool {
    let Some(outbox) = port.outbox.as_mut() else { return false };
    let due = outbox.progress_at.after(settings.write_timeout) <= now;
    if due {
        outbox.progress_at = now;
    }
    due
}

/// The peer has taken less than its allotment in the window that ends now. A new window begins.
pub(super) fn too_slow<R>(port: &mut Port<R>, settings: &Settings, now: Millis) -> bool {
    let Some(outbox) = port.outbox.as_mut() else { return false };
    if settings.send_rate == 0 || outbox.window.0.after(settings.send_window) > now {
        return false;
    }
    let taken = std::mem::replace(&mut outbox.window, (now, 0)).1;
    taken < settings.allotment()
}

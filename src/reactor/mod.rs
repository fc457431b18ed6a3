//! Sockets, time, memory. No protocol.

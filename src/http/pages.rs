//! Error pages (stub until merged).
use super::{Reply, Request, Responder};
/// stub
pub fn error(reply: Responder<'_>, _request: Option<&Request<'_>>, status: u16, detail: &str) -> Reply {
    reply.start(status).body(detail.as_bytes())
}
/// stub
pub fn not_allowed(reply: Responder<'_>, _request: &Request<'_>, allow: &str) -> Reply {
    let _ = allow;
    reply.start(405).body(b"")
}

//! WebSocket syntax (RFC 6455, RFC 7692).

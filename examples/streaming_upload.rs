//! A body of any size is received piece by piece and summed up; memory stays flat. `cargo run --example streaming_upload`, then
//! `curl --data-binary @FILE http://ADDRESS/sum`.

use evenkeel::http::{Accepting, Reply, Responder, Server, Site, Upload};

/// Adler-32 (RFC 1950) of what has come so far.
struct Sum {
    bytes: u64,
    a: u32,
    b: u32,
}

impl Upload for Sum {
    fn data(&mut self, bytes: &[u8]) -> Accepting {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            self.a = (self.a + u32::from(*byte)) % 65521;
            self.b = (self.b + self.a) % 65521;
        }
        Accepting::More
    }

    fn end(self: Box<Self>, whole: bool, reply: Responder<'_>) -> Reply {
        debug_assert!(whole, "only an upload that answers early sees less");
        let sum = self.b << 16 | self.a;
        reply.start(200).body(format!("{} bytes, {sum:08x}\n", self.bytes).as_bytes())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut site = Site::default();
    site.on_upload("POST PUT", "/sum", 16 << 30, |_, reply| {
        reply.receive(Box::new(Sum { bytes: 0, a: 1, b: 0 }))
    })?;
    let mut server = Server::new(site)?;
    println!("{}", server.bind("127.0.0.1:0")?);
    Ok(server.run()?)
}

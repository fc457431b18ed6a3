//! The smallest HTTP server: closures for routes, one thread. It ends politely when its standard input does.
//!
//! `cargo run --example hello`, then `curl http://ADDRESS/hello/you`.

use evenkeel::http::{Server, Site};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut site = Site::default();
    site.on("GET", "/", |_, reply| reply.start(200).body(b"Hello!\n"))?;
    let mut visits = 0;
    site.on("GET", "/hello/{name}", move |request, reply| {
        visits += 1;
        let name = String::from_utf8_lossy(request.param("name").unwrap_or_default());
        let page = format!("Hello, {name}! You are visitor {visits}.\n");
        reply.start(200).text("content-type", "text/plain; charset=utf-8").body(page.as_bytes())
    })?;

    let mut server = Server::new(site)?;
    println!("{}", server.bind("127.0.0.1:0")?);
    let handle = server.handle();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        handle.drain(Duration::from_secs(10));
    });
    Ok(server.run()?)
}

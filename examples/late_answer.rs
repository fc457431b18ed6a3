//! Slow work is done by another thread, which answers when it is ready; meanwhile the reactor serves everybody else.
//! `cargo run --example late_answer`, then `curl http://ADDRESS/primes/100000`.

use evenkeel::http::{Server, Site, Ticket};
use std::sync::mpsc;

fn primes(below: u32) -> usize {
    let prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..below).filter(prime).count()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (work, orders) = mpsc::channel::<(u32, Ticket)>();
    std::thread::spawn(move || {
        for (below, ticket) in orders {
            let page = format!("{} primes below {below}\n", primes(below));
            // Should the client be gone, nothing happens.
            ticket.answer(move |reply| reply.start(200).body(page.as_bytes()));
        }
    });

    let mut site = Site::default();
    site.on("GET", "/", |_, reply| reply.start(200).body(b"here\n"))?;
    site.on("GET", "/primes/{below}", move |request, reply| {
        let below = request.param("below").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let Some(below) = below else { return reply.start(400).body(b"a number, please\n") };
        match work.send((below, reply.ticket())) {
            Ok(()) => reply.later(),
            Err(_) => reply.start(503).body(b"nobody works here any more\n"),
        }
    })?;
    let mut server = Server::new(site)?;
    println!("{}", server.bind("127.0.0.1:0")?);
    Ok(server.run()?)
}

//! Server-sent events: whoever posts a word is heard by all who listen. `cargo run --example sse`, then `curl -N
//! http://ADDRESS/events` here and `curl -d word http://ADDRESS/say` there.

use evenkeel::http::{Body, Flow, Server, Site, Ticket};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Most words that wait for a listener who reads slowly; older ones are lost to it.
const WAITING: usize = 100;

/// What waits for one listener, and how to tell it.
struct Ear {
    words: Mutex<VecDeque<String>>,
    ticket: Ticket,
}

/// The body of a listener's answer: it waits until there is something to say.
struct Events(Arc<Ear>);

impl Body for Events {
    fn more(&mut self, out: &mut Vec<u8>) -> Flow {
        let mut words = self.0.words.lock().unwrap_or_else(PoisonError::into_inner);
        for word in words.drain(..) {
            out.extend_from_slice(format!("data: {word}\n\n").as_bytes());
        }
        Flow::Wait
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ears: Arc<Mutex<Vec<Weak<Ear>>>> = Arc::default();
    let (listening, speaking) = (ears.clone(), ears);

    let mut site = Site::default();
    site.on("GET", "/events", move |_, reply| {
        let ear = Arc::new(Ear { words: Mutex::default(), ticket: reply.ticket() });
        listening.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&ear));
        let answer =
            reply.start(200).text("content-type", "text/event-stream").text("cache-control", "no-store");
        answer.stream(None, Box::new(Events(ear)))
    })?;
    site.on("POST", "/say", move |request, reply| {
        let said = String::from_utf8_lossy(request.body()).replace(['\r', '\n'], " ");
        let mut ears = speaking.lock().unwrap_or_else(PoisonError::into_inner);
        // A listener that has gone took its body, and so its ear, with it.
        ears.retain(|ear| ear.strong_count() > 0);
        for ear in ears.iter().filter_map(Weak::upgrade) {
            let mut words = ear.words.lock().unwrap_or_else(PoisonError::into_inner);
            words.push_back(said.clone());
            if words.len() > WAITING {
                words.pop_front();
            }
            drop(words);
            ear.ticket.nudge();
        }
        reply.start(200).body(format!("heard by {}\n", ears.len()).as_bytes())
    })?;
    let mut server = Server::new(site)?;
    println!("{}", server.bind("127.0.0.1:0")?);
    Ok(server.run()?)
}

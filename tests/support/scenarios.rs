//! Short runs of the reactor in a simulated world, each of which proves the sentence that is its name.

use super::echo::{Echo, EchoApp, Note, Reason};
use super::{run_for, settle};
use evenkeel::reactor::net::Ready;
use evenkeel::reactor::net::sim::{AcceptFault, Script, SimId, SimListener, SimNet};
use evenkeel::reactor::{CloseHow, Failure, Fault, Op, PortReason, Reactor, Settings, Target, Turn};
use std::time::Duration;

pub type World = Reactor<EchoApp, SimNet>;

/// A scenario and its sentence.
pub type Scenario = (&'static str, fn());

macro_rules! scenarios {
    ($($name:ident)*) => { &[$((stringify!($name), $name as fn())),*] };
}

/// Every scenario.
pub const ALL: &[Scenario] = scenarios! {
    a_request_costs_one_read_and_one_write_and_no_registration
    what_came_while_paused_is_shown_on_resume
    what_was_kept_while_paused_is_shown_on_resume
    more_bytes_than_a_turn_reads_are_all_read_without_another_edge
    more_bytes_than_a_turn_writes_are_all_written_without_another_edge
    a_timer_dies_with_its_connection
    an_earlier_deadline_is_kept
    a_full_send_buffer_is_waited_for
    a_short_read_before_a_fin_does_not_hide_the_fin
    a_reply_that_is_taken_in_part_arrives_whole_and_once
    a_note_to_a_stale_token_vanishes
    an_event_for_a_stale_token_vanishes
    a_connection_that_is_reset_gives_its_buffer_back
    never_more_connections_than_the_maximum
    whoever_waits_at_the_maximum_is_served_when_a_slot_frees
    an_accept_is_tried_again_after_descriptors_ran_out
    an_accept_that_is_denied_is_tried_again_and_costs_nobody_anything
    the_longest_idle_are_let_go_when_descriptors_run_out
    a_peer_that_still_sends_gets_its_reply_before_the_close
    a_close_is_counted_once
    a_producer_above_high_water_goes_on_when_it_drained
    a_producer_whose_output_was_taken_at_once_goes_on
    what_was_held_back_is_read_once_the_peer_took_all_without_an_edge
    what_was_held_back_is_read_when_a_write_fails
    two_sessions_speak_through_a_connect_and_a_note
    a_message_from_outside_wakes_the_wait
    draining_finishes_what_is_under_way_and_ends
    a_peer_that_takes_nothing_is_given_up
    a_peer_that_trickles_below_the_rate_is_given_up
    more_unread_than_the_largest_buffer_ends_the_connection
    a_connect_that_hangs_is_given_up
    a_file_that_is_not_at_hand_is_fetched_while_others_are_served
    who_waits_for_the_disk_is_not_judged_as_a_peer_that_takes_nothing
    a_fault_of_the_disk_comes_out_after_all
    a_disk_that_stops_to_answer_costs_who_waits_for_it_the_connection_and_nobody_else_anything
};

fn world(settings: Settings, seed: u64) -> (World, SimListener) {
    let mut net = SimNet::new(seed);
    let listener = net.listen();
    let app = EchoApp { upstream: Some(Target::Tcp(net.address(listener))), ..EchoApp::default() };
    let mut reactor = Reactor::new(app, net, settings);
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

fn one(settings: Settings, script: Script) -> (World, SimId) {
    let (mut reactor, listener) = world(settings, 1);
    let id = reactor.net_mut().arrive(listener, script);
    settle(&mut reactor);
    (reactor, id)
}

fn reasons(reactor: &World) -> Vec<Reason> {
    reactor.app().ends.iter().map(|(_, reason)| *reason).collect()
}

fn text(reactor: &World, id: SimId) -> &str {
    std::str::from_utf8(reactor.net().sent(id)).unwrap()
}

fn a_request_costs_one_read_and_one_write_and_no_registration() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    let mut script = Script::new();
    for n in 1..=100 {
        script = script.send("0123456\n").await_sent(8 * n);
    }
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 10);
    let calls = reactor.net().calls();
    assert_eq!((calls.reads, calls.writes), (100, 100));
    assert_eq!((calls.watches, calls.watch_writes), (1, 0));
    assert_eq!(reactor.net().sent_len(id), 800);
}

fn what_came_while_paused_is_shown_on_resume() {
    let (reactor, id) =
        one(Settings::default(), Script::new().send("pause 100\n").wait(10).send("x\n").await_sent(2).fin());
    assert_eq!((text(&reactor, id), reasons(&reactor)), ("x\n", vec![Reason::Eof]));
    assert!(reactor.net().elapsed_ms() < 1000);
}

fn what_was_kept_while_paused_is_shown_on_resume() {
    let (reactor, id) = one(Settings::default(), Script::new().send("pause 100\nx\n").await_sent(2).fin());
    assert_eq!((text(&reactor, id), reasons(&reactor)), ("x\n", vec![Reason::Eof]));
    assert!(reactor.net().elapsed_ms() < 1000);
}

fn more_bytes_than_a_turn_reads_are_all_read_without_another_edge() {
    let line = [b'x'; 99];
    let all: Vec<u8> = (0..6000).flat_map(|_| line.iter().copied().chain([b'\n'])).collect();
    let (reactor, id) = one(Settings::default(), Script::new().send(&all).await_sent(600_000).fin());
    assert!(reactor.net().sent(id) == all, "{} bytes", reactor.net().sent_len(id));
    assert_eq!(reactor.net().elapsed_ms(), 0);
}

fn more_bytes_than_a_turn_writes_are_all_written_without_another_edge() {
    let settings = Settings { high_water: 3 << 20, ..Settings::default() };
    let script = Script::new().window(0).send("produce 2900000\n").wait(10).window(u64::MAX);
    let (reactor, id) = one(settings, script.await_sent(2_900_000).fin());
    assert_eq!(reactor.net().sent_len(id), 2_900_000);
    assert_eq!(reactor.net().elapsed_ms(), 10);
}

fn a_timer_dies_with_its_connection() {
    let (reactor, _) = one(Settings::default(), Script::new().send("abort\n"));
    assert_eq!((reasons(&reactor), reactor.next()), (vec![Reason::Aborted], Turn::Idle));
}

fn an_earlier_deadline_is_kept() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    let id = reactor.net_mut().arrive(listener, Script::new().wait(20).send("pause 100\nx\n"));
    run_for(&mut reactor, 130);
    assert_eq!(text(&reactor, id), "x\n");
}

fn a_full_send_buffer_is_waited_for() {
    let script =
        Script::new().window(10).send("produce 1000\n").wait(10).window(500).wait(10).window(u64::MAX);
    let (reactor, id) = one(Settings::default(), script.await_sent(1000).fin());
    assert_eq!((reactor.net().sent_len(id), reasons(&reactor)), (1000, vec![Reason::Eof]));
    assert_eq!((reactor.net().elapsed_ms(), reactor.net().calls().watch_writes), (20, 1));
}

fn a_short_read_before_a_fin_does_not_hide_the_fin() {
    let (reactor, id) = one(Settings::default(), Script::new().send("x\n").fin());
    assert_eq!((text(&reactor, id), reasons(&reactor)), ("x\n", vec![Reason::Eof]));
    assert_eq!(reactor.net().elapsed_ms(), 0);
}

fn a_reply_that_is_taken_in_part_arrives_whole_and_once() {
    let script = Script::new().window(3).send("hello\nworld\n").wait(5).window(4).wait(5).window(u64::MAX);
    let (reactor, id) = one(Settings::default(), script.wait(5).fin());
    assert_eq!((text(&reactor, id), reasons(&reactor)), ("hello\nworld\n", vec![Reason::Eof]));
}

fn a_note_to_a_stale_token_vanishes() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    reactor.net_mut().arrive(listener, Script::new().send("abort\n"));
    run_for(&mut reactor, 1);
    let id = reactor.net_mut().arrive(listener, Script::new().wait(50).send("x\n").fin());
    run_for(&mut reactor, 1);
    let stale = reactor.app().ends[0].0;
    reactor.with_app(|_, cx| cx.notify(stale, Note::Answer(b"not for you".to_vec())));
    settle(&mut reactor);
    assert_eq!((text(&reactor, id), reactor.counters().stale_notes), ("x\n", 1));
}

fn an_event_for_a_stale_token_vanishes() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    reactor.net_mut().arrive(listener, Script::new().send("abort\n"));
    run_for(&mut reactor, 1);
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 1);
    let stale = reactor.app().ends[0].0;
    let before = reactor.net().calls().reads;
    reactor.net_mut().report_anyway(stale, Ready::READABLE);
    run_for(&mut reactor, 1);
    assert_eq!((reactor.counters().stale_events, reactor.net().calls().reads), (1, before));
}

fn a_connection_that_is_reset_gives_its_buffer_back() {
    let (reactor, _) = one(Settings::default(), Script::new().send("half a line").wait(5).reset());
    assert_eq!(reasons(&reactor).len(), 1);
    assert_eq!(reactor.net().open_streams(), 0);
}

fn never_more_connections_than_the_maximum() {
    let (mut reactor, listener) = world(Settings { max_connections: 2, ..Settings::default() }, 1);
    let ids: Vec<SimId> = (0..7)
        .map(|_| reactor.net_mut().arrive(listener, Script::new().send("x\n").wait(10).fin()))
        .collect();
    settle(&mut reactor);
    assert_eq!((reactor.app().most, reactor.app().admitted), (2, 7));
    assert!(ids.iter().all(|id| text(&reactor, *id) == "x\n"));
}

fn whoever_waits_at_the_maximum_is_served_when_a_slot_frees() {
    let (mut reactor, listener) = world(Settings { max_connections: 1, ..Settings::default() }, 1);
    reactor.net_mut().arrive(listener, Script::new().wait(50).send("quit\n").fin());
    let id = reactor.net_mut().arrive_in(listener, 5, Script::new().send("x\n").await_sent(2).fin());
    settle(&mut reactor);
    assert_eq!(text(&reactor, id), "x\n");
    assert!(reactor.net().elapsed_ms() < 100);
}

fn an_accept_is_tried_again_after_descriptors_ran_out() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    let faults = [AcceptFault::Skip, AcceptFault::Exhausted, AcceptFault::Exhausted];
    reactor.net_mut().fail_accept(listener, faults);
    reactor.net_mut().arrive(listener, Script::new());
    let id = reactor.net_mut().arrive(listener, Script::new().send("x\n").await_sent(2).fin());
    settle(&mut reactor);
    assert_eq!((text(&reactor, id), reactor.counters().accept_exhausted), ("x\n", 2));
    let ms = reactor.net().elapsed_ms();
    assert!((200..400).contains(&ms), "{ms} ms");
    assert!(reactor.counters().turns < 30, "no spinning: {} turns", reactor.counters().turns);
}

fn an_accept_that_is_denied_is_tried_again_and_costs_nobody_anything() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    reactor.app_mut().evictable = true;
    let idle = reactor.net_mut().arrive(listener, Script::new().send("x\n"));
    run_for(&mut reactor, 10);
    reactor.net_mut().fail_accept(listener, [AcceptFault::Denied; 3]);
    let late = reactor.net_mut().arrive(listener, Script::new().send("late\n"));
    run_for(&mut reactor, 250);
    assert_eq!((text(&reactor, late), reactor.counters().accept_denied), ("", 3));
    run_for(&mut reactor, 100);
    assert_eq!((text(&reactor, late), reactor.counters().evicted), ("late\n", 0));
    assert!(reactor.net().closed(idle).is_none());
    assert!(reactor.counters().turns < 30, "no spinning: {} turns", reactor.counters().turns);
}

fn the_longest_idle_are_let_go_when_descriptors_run_out() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    reactor.app_mut().evictable = true;
    let ids: Vec<SimId> =
        (0..20).map(|_| reactor.net_mut().arrive(listener, Script::new().send("x\n"))).collect();
    run_for(&mut reactor, 10);
    reactor.net_mut().fail_accept(listener, [AcceptFault::Exhausted]);
    let late = reactor.net_mut().arrive(listener, Script::new().send("late\n"));
    run_for(&mut reactor, 200);
    assert_eq!(text(&reactor, late), "late\n");
    let closed = ids.iter().filter(|id| reactor.net().closed(**id).is_some()).count();
    assert_eq!((closed, reactor.counters().evicted), (16, 16));
    assert!(reasons(&reactor).iter().all(|reason| *reason == Reason::Port(PortReason::Evicted)));
    assert!(reactor.net().closed(ids[19]).is_none());
}

fn a_peer_that_still_sends_gets_its_reply_before_the_close() {
    let upload = vec![b'u'; 500_000];
    let script = Script::new().send("quit\n").wait(10).send(&upload).wait(1500).send(&upload).wait(10).fin();
    let (reactor, id) = one(Settings::default(), script);
    assert_eq!((text(&reactor, id), reasons(&reactor)), ("bye\n", vec![Reason::Quit]));
    assert!(!reactor.net().was_reset(id));
    assert_eq!(reactor.net().closed(id), Some(CloseHow::Normal));
    assert_eq!(reactor.counters().lingered_bytes, 1_000_000);
}

fn a_close_is_counted_once() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    for script in [Script::new().send("quit\n"), Script::new().fin(), Script::new().reset()] {
        reactor.net_mut().arrive(listener, script);
    }
    settle(&mut reactor);
    let counters = reactor.counters();
    assert_eq!((counters.closed, counters.accepted, reactor.app().ends.len()), (3, 3, 3));
    assert_eq!(reactor.net().calls().closes, 3);
}

fn a_producer_above_high_water_goes_on_when_it_drained() {
    let script = Script::new().window(0).send("produce 1000000\n").wait(10).window(u64::MAX);
    let (reactor, id) = one(Settings::default(), script.await_sent(1_000_000).fin());
    assert_eq!((reactor.net().sent_len(id), reasons(&reactor)), (1_000_000, vec![Reason::Eof]));
    assert_eq!(reactor.net().elapsed_ms(), 10);
}

fn a_producer_whose_output_was_taken_at_once_goes_on() {
    let (reactor, id) =
        one(Settings::default(), Script::new().send("produce 3000000\n").await_sent(3_000_000).fin());
    assert_eq!((reactor.net().sent_len(id), reasons(&reactor)), (3_000_000, vec![Reason::Eof]));
    assert_eq!(reactor.net().elapsed_ms(), 0);
}

/// More lines than may wait for a peer.
fn lines() -> Vec<u8> {
    b"a line of input\n".repeat(40_000)
}

fn what_was_held_back_is_read_once_the_peer_took_all_without_an_edge() {
    let script = Script::new().window(0).send(lines()).wait(500).quiet_window(u64::MAX);
    let (reactor, id) = one(Settings::default(), script.await_sent(640_000).fin());
    assert_eq!((reactor.net().sent_len(id), reasons(&reactor)), (640_000, vec![Reason::Eof]));
    assert!(reactor.net().elapsed_ms() < 1100, "{} ms", reactor.net().elapsed_ms());
}

fn what_was_held_back_is_read_when_a_write_fails() {
    let script = Script::new().window(0).send(lines()).fin().wait(10).fail_write(Fault::BrokenPipe);
    let (reactor, id) = one(Settings::default(), script);
    assert!(matches!(reasons(&reactor)[..], [Reason::Failed(_)]));
    // The peer's end was seen, so nothing was waited for, and nothing of it was thrown away.
    assert_eq!((reactor.net().elapsed_ms(), reactor.net().closed(id)), (10, Some(CloseHow::Normal)));
}

fn two_sessions_speak_through_a_connect_and_a_note() {
    let (reactor, id) = one(Settings::default(), Script::new().send("dial ahoy\nx\n").await_sent(11).fin());
    assert_eq!(text(&reactor, id), "ahoy\nbye\nx\n");
    assert_eq!(reactor.app().ends.len(), 3);
}

fn a_message_from_outside_wakes_the_wait() {
    let (mut reactor, _) = world(Settings::default(), 1);
    let handle = reactor.handle();
    handle.post(7).unwrap();
    assert_eq!(reactor.next(), Turn::Now);
    assert_eq!(reactor.turn(None).unwrap(), Turn::Idle);
    assert_eq!(reactor.app().messages, [7]);
    handle.stop();
    assert_eq!(reactor.turn(None).unwrap(), Turn::Finished);
}

fn draining_finishes_what_is_under_way_and_ends() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    let idle = reactor.net_mut().arrive(listener, Script::new().send("x\n"));
    let busy = reactor.net_mut().arrive(listener, Script::new().send("pause 1000\nquit\n"));
    let stuck = reactor.net_mut().arrive(listener, Script::new().window(0).send("produce 1000\n"));
    run_for(&mut reactor, 10);
    let late = reactor.net_mut().arrive(listener, Script::new().send("late\n"));
    run_for(&mut reactor, 1);
    reactor.handle().drain(Duration::from_secs(20));
    settle(&mut reactor);
    assert_eq!(reactor.turn(None).unwrap(), Turn::Finished);
    assert_eq!(
        (text(&reactor, idle), text(&reactor, busy), text(&reactor, late)),
        ("x\n", "bye\n", "late\n")
    );
    assert_eq!(reactor.net().closed(stuck), Some(CloseHow::Reset));
    assert_eq!(reasons(&reactor).last(), Some(&Reason::Port(PortReason::Stopped)));
    assert!(reactor.net().elapsed_ms() < 21_000);
}

fn a_peer_that_takes_nothing_is_given_up() {
    let (reactor, _) = one(Settings::default(), Script::new().window(5).send("produce 1000\n"));
    assert!(matches!(reasons(&reactor)[..], [Reason::Slow(_)]));
    assert!((30_000..30_100).contains(&reactor.net().elapsed_ms()));
}

fn a_peer_that_trickles_below_the_rate_is_given_up() {
    let (reactor, _) =
        one(Settings::default(), Script::new().window(0).send("produce 900000\n").sip(100, 1000, 90));
    assert!(matches!(reasons(&reactor)[..], [Reason::Slow(_)]));
    let (reactor, id) =
        one(Settings::default(), Script::new().window(0).send("produce 90000\n").sip(2000, 1000, 45).fin());
    assert_eq!((reasons(&reactor), reactor.net().sent_len(id)), (vec![Reason::Eof], 90_000));
}

fn more_unread_than_the_largest_buffer_ends_the_connection() {
    let (reactor, id) = one(Settings::default(), Script::new().send(vec![b'x'; 70_000]));
    assert_eq!(reasons(&reactor), [Reason::Port(PortReason::InputOverflow)]);
    assert_eq!(reactor.net().closed(id), Some(CloseHow::Reset));
}

fn a_connect_that_hangs_is_given_up() {
    use evenkeel::reactor::net::sim::Plan;
    let (mut reactor, _) = world(Settings::default(), 1);
    let to = Target::Unix("/run/there.sock".into());
    for plan in [Plan::Hang, Plan::Refuse(Fault::Refused), Plan::Fail(7, Fault::Unreachable)] {
        reactor.net_mut().on_connect(to.clone(), plan);
        let session = Echo::errand(None, to.clone(), b"x\nquit\n");
        assert!(reactor.with_app(|_, cx| cx.spawn(session)).is_ok());
    }
    reactor.net_mut().on_connect(to.clone(), Script::new().await_sent(7).send("there\n").fin());
    let session = Echo::errand(None, to, b"x\nquit\n");
    assert!(reactor.with_app(|_, cx| cx.spawn(session)).is_ok());
    settle(&mut reactor);
    assert_eq!(reactor.app().ends.len(), 4);
    assert!(reasons(&reactor).contains(&Reason::Idle) && reasons(&reactor).contains(&Reason::Eof));
    assert!((5000..5100).contains(&reactor.net().elapsed_ms()));
}

/// A file of 2 MiB of which nothing is at hand.
fn on_disk(settings: Settings, disk_ms: u64) -> (World, SimListener) {
    let (mut reactor, listener) = world(settings, 1);
    let files = &mut reactor.net_mut().files;
    files.file("big", vec![b'f'; 2 << 20], 0);
    files.chill("big");
    files.disk_ms = disk_ms;
    (reactor, listener)
}

const WHOLE: u64 = 6 + (2 << 20);

fn a_file_that_is_not_at_hand_is_fetched_while_others_are_served() {
    let (mut reactor, listener) = on_disk(Settings::default(), 300);
    let file = reactor.net_mut().arrive(listener, Script::new().send("file big\n"));
    let last = reactor.net_mut().arrive(listener, Script::new().send("file big\nquit\n"));
    let other = reactor.net_mut().arrive(listener, Script::new().send("hello\n"));
    run_for(&mut reactor, 5);
    for (id, sent) in [(file, "file:\n"), (last, "file:\n"), (other, "hello\n")] {
        assert_eq!(text(&reactor, id), sent);
    }
    run_for(&mut reactor, 400);
    assert_eq!(reactor.net().sent_len(file), WHOLE);
    assert_eq!((reactor.net().sent_len(last), reactor.net().fin_sent(last)), (WHOLE + 4, true));
    let calls = reactor.net().calls();
    assert_eq!((calls.disk_waits, reactor.counters().disk_waits), (0, 2));
    assert!(calls.fetches <= 4, "{}", calls.fetches);
}

fn who_waits_for_the_disk_is_not_judged_as_a_peer_that_takes_nothing() {
    let second = Duration::from_secs(1);
    let settings = Settings { write_timeout: second, send_window: second, ..Settings::default() };
    let (mut reactor, listener) = on_disk(settings, 8000);
    let file = reactor.net_mut().arrive(listener, Script::new().send("file big\n").await_sent(WHOLE).fin());
    settle(&mut reactor);
    assert_eq!((reasons(&reactor), reactor.net().sent_len(file)), (vec![Reason::Eof], WHOLE));
    assert_eq!(reactor.net().calls().disk_waits, 0);
}

fn a_fault_of_the_disk_comes_out_after_all() {
    let (mut reactor, listener) = on_disk(Settings::default(), u64::MAX);
    reactor.net_mut().files.fail_file("big", 1 << 20, Fault::Other);
    let file = reactor.net_mut().arrive(listener, Script::new().send("file big\n"));
    run_for(&mut reactor, 9_900);
    assert_eq!(text(&reactor, file), "file:\n");
    settle(&mut reactor);
    let failed = Failure { op: Op::Write, fault: Fault::Other };
    assert_eq!(reasons(&reactor), [Reason::Failed(failed)]);
    assert_eq!(reactor.net().sent_len(file), 6 + (1 << 20));
}

fn a_disk_that_stops_to_answer_costs_who_waits_for_it_the_connection_and_nobody_else_anything() {
    let (mut reactor, listener) = world(Settings::default(), 1);
    reactor.net_mut().files.file("big", vec![b'f'; 9 << 20], 0);
    let file = reactor.net_mut().arrive(listener, Script::new().window(100).send("file big\n"));
    run_for(&mut reactor, 10);
    assert_eq!(reactor.net().sent_len(file), 100);
    reactor.net_mut().files.chill("big");
    reactor.net_mut().files.disk_ms = u64::MAX;
    reactor.net_mut().go_on(file, Script::new().window(u64::MAX));
    run_for(&mut reactor, 9_900);
    let reached = reactor.net().sent_len(file);
    assert!((100..9 << 20).contains(&reached) && reasons(&reactor).is_empty());
    let waits = reactor.net().calls().disk_waits;
    settle(&mut reactor);
    let failed = Failure { op: Op::Write, fault: Fault::Other };
    assert_eq!((reasons(&reactor), reactor.net().sent_len(file)), (vec![Reason::Failed(failed)], reached));
    assert_eq!(reactor.net().calls().disk_waits, waits, "nobody has waited in its place");
}

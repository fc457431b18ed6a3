//! The scenarios pass; and for each way to break the reactor, at least one of them fails. It tests the tests.

mod support;

use evenkeel::reactor::mutant::{self, Mutant};
use std::panic::{catch_unwind, set_hook, take_hook};
use support::scenarios;

/// Only one test at a time decides whether panics are printed.
static QUIET: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The scenarios that fail, under this mutant or none.
fn failing(mutant: Option<Mutant>) -> Vec<&'static str> {
    let fails = |(_, scenario): &&scenarios::Scenario| {
        mutant::choose(mutant);
        let outcome = catch_unwind(scenario);
        mutant::choose(None);
        outcome.is_err()
    };
    scenarios::ALL.iter().filter(fails).map(|(name, _)| *name).collect()
}

#[test]
fn every_scenario_passes() {
    let _alone = QUIET.lock();
    assert_eq!(failing(None), [""; 0]);
}

/// The check that must notice each mutant, whatever else does.
fn killer(mutant: Mutant) -> &'static str {
    match mutant {
        Mutant::ForgetReadinessOnResume => "what_came_while_paused_is_shown_on_resume",
        Mutant::LoseRequeueAfterReads => "more_bytes_than_a_turn_reads_are_all_read_without_another_edge",
        Mutant::LoseRequeueAfterWrites => {
            "more_bytes_than_a_turn_writes_are_all_written_without_another_edge"
        }
        Mutant::LeakTimer => "a_timer_dies_with_its_connection",
        Mutant::IgnoreEarlierDeadline => "an_earlier_deadline_is_kept",
        Mutant::NeverWatchWrites => "a_full_send_buffer_is_waited_for",
        Mutant::ShortReadDrainsDespiteHangup => "a_short_read_before_a_fin_does_not_hide_the_fin",
        Mutant::DropRestOfCork => "a_reply_that_is_taken_in_part_arrives_whole_and_once",
        Mutant::SendCorkTwice => "a_reply_that_is_taken_in_part_arrives_whole_and_once",
        Mutant::DeliverStaleNote => "a_note_to_a_stale_token_vanishes",
        Mutant::DeliverStaleEvent => "an_event_for_a_stale_token_vanishes",
        Mutant::KeepBuffer => "a_connection_that_is_reset_gives_its_buffer_back",
        Mutant::AcceptPastMaximum => "never_more_connections_than_the_maximum",
        Mutant::NoRetryWhenExhausted => "an_accept_is_tried_again_after_descriptors_ran_out",
        Mutant::NoLinger => "a_peer_that_still_sends_gets_its_reply_before_the_close",
        Mutant::CountCloseTwice => "a_close_is_counted_once",
        Mutant::ForgetDrained => "a_producer_above_high_water_goes_on_when_it_drained",
        Mutant::ForgetToResumeListeners => "whoever_waits_at_the_maximum_is_served_when_a_slot_frees",
        Mutant::ForgetToLookAgain => "a_file_that_is_not_at_hand_is_fetched_while_others_are_served",
    }
}

#[test]
fn every_mutant_is_killed_by_the_check_meant_for_it() {
    if !cfg!(debug_assertions) {
        return;
    }
    let _alone = QUIET.lock();
    let loud = take_hook();
    set_hook(Box::new(|_| {}));
    let survivors: Vec<_> =
        Mutant::ALL.into_iter().filter(|mutant| !failing(Some(*mutant)).contains(&killer(*mutant))).collect();
    set_hook(loud);
    assert_eq!(survivors, []);
}

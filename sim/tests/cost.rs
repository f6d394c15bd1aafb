//! What convergence costs, measured small: every target holds, and two measurements say the same.

use godown_sim::cost::{Figure, Part, Size};

fn measured(part: Part) -> Figure {
    let figure = part.measure(Size::Quick);
    let missed: Vec<_> =
        figure.lines.iter().filter(|line| line.target.is_some_and(|target| !target.holds)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(figure.holds() && !figure.lines.is_empty());
    figure
}

#[test]
fn a_node_that_was_away_gets_a_few_changes_in_two_round_trips() {
    measured(Part::FewOfMany);
}

#[test]
fn a_node_that_was_away_receives_little_more_than_what_it_missed() {
    measured(Part::MissedOnePercent);
}

#[test]
fn no_more_replicas_move_than_have_to() {
    measured(Part::FourthNode);
}

#[test]
fn a_key_at_rest_has_its_metadata_in_24_bytes_and_a_deleted_one_leaves_nothing() {
    measured(Part::Rest);
}

#[test]
fn reachability_and_gossip_cost_each_node_the_same_in_small_clusters_and_large_ones() {
    measured(Part::Gossip);
}

#[test]
fn a_dead_node_is_found_out_and_measured_twice_it_takes_as_long() {
    assert_eq!(measured(Part::Detect), measured(Part::Detect));
}

#[test]
fn replicas_that_were_apart_become_equal() {
    measured(Part::Heal);
}

//! What a node says of its cluster, for people: aligned columns, and sentences that say what to do next.

use super::report::{Done, Member, Partitions, Plan, Status, Transfer};
use crate::load::screen::thousands;
use crate::report::table::align;

/// How a cluster stands.
pub(crate) fn status(status: &Status) -> String {
    let node = &status.node;
    let Some(cluster) = &status.cluster else {
        return format!("{node} is in no cluster yet.");
    };
    let mut text = format!("Cluster {cluster}, layout {}\n", thousands(status.epoch));
    if !status.member {
        text.push_str(&format!("{node} is no member of it any more, and serves nothing.\n"));
    }
    let rows: Vec<[String; 6]> = status.members.iter().map(member).collect();
    text.push('\n');
    text.push_str(&align(["member", "address", "zone", "state", "weight", "partitions"], &rows, 4));
    text.push('\n');
    text.push_str(&change(status));
    let Partitions { held, complete, dropping, .. } = status.partitions;
    text.push_str(&format!(
        "{node} answers for {} of the {} partitions that it holds; {} are on their way to it, {} are being dropped.\n",
        count(complete.min(held)),
        count(held),
        count(status.transfers.len()),
        count(dropping),
    ));
    for blocked in status.blocked.iter().filter(|blocked| blocked.rows > 0) {
        let rows = count(blocked.rows);
        text.push_str(&format!("Log rows that stay until {} has what they name: {rows}.\n", blocked.peer));
    }
    for hints in &status.hints {
        let (peer, rows, bytes) = (&hints.peer, thousands(hints.rows), thousands(hints.bytes));
        let minutes = thousands(hints.oldest_age_ms / 60_000);
        text.push_str(&format!(
            "Kept for {peer} until it can be reached: {rows} writes, {bytes} bytes, the oldest for {minutes} minutes.\n"
        ));
    }
    if status.damaged > 0 {
        text.push_str(&format!("Damaged rows that are not mended yet: {}.\n", count(status.damaged)));
    }
    text.push_str(&staged(&status.staged));
    text
}

fn count(number: usize) -> String {
    thousands(number as u64)
}

fn member(member: &Member) -> [String; 6] {
    let state = if member.stays { member.state.clone() } else { format!("{}, leaves", member.state) };
    [
        member.name.clone(),
        member.address.clone(),
        member.zone.clone(),
        state,
        thousands(member.weight.into()),
        count(member.partitions),
    ]
}

/// What a change that is under way waits for.
fn change(status: &Status) -> String {
    if status.oldest == status.epoch {
        return String::new();
    }
    let mut text = format!("Layout {} gives way to it:\n", thousands(status.oldest));
    for member in &status.members {
        let what = match status.epoch {
            newest if member.ack < newest => "still writes under an older layout",
            newest if member.synced < newest => "has not all of its data yet",
            newest if member.sync_ack < newest => "still reads by an older layout",
            _ => "is done",
        };
        text.push_str(&format!("  {} {what}\n", member.name));
    }
    text.push('\n');
    text
}

/// What is staged, and what to do about it.
fn staged(staged: &[String]) -> String {
    if staged.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nStaged, and not applied yet (godown cluster plan, apply, unstage):\n");
    for change in staged {
        text.push_str(&format!("  {change}\n"));
    }
    text
}

/// What the staged changes would do.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut text = format!("Layout {} would be made by:\n", thousands(plan.next));
    for change in &plan.staged {
        text.push_str(&format!("  {change}\n"));
    }
    let rows: Vec<[String; 4]> = plan
        .moves
        .iter()
        .map(|moved| {
            let [gained, lost, holds] = [moved.gained, moved.lost, moved.holds].map(count);
            [moved.node.clone(), gained, lost, holds]
        })
        .collect();
    text.push('\n');
    text.push_str(&align(["node", "gets", "gives", "then holds"], &rows, 1));
    let gained: usize = plan.moves.iter().map(|moved| moved.gained).sum();
    text.push_str(&format!("\n{} copies of partitions move.\n", count(gained)));
    for warning in &plan.warnings {
        text.push_str(&format!("Warning: {warning}\n"));
    }
    text.push_str(&format!(
        "\nApply it with: godown cluster apply --epoch {} --hash {}\n",
        plan.epoch, plan.hash
    ));
    text
}

/// What came of an order.
pub(crate) fn done(done: &Done) -> String {
    format!("{}\n{}", done.done, staged(&done.staged))
}

/// Partitions on their way.
pub(crate) fn transfers(transfers: &[Transfer]) -> String {
    if transfers.is_empty() {
        return "Nothing is on its way to this node.".into();
    }
    let row = |transfer: &Transfer| [transfer.partition.to_string(), transfer.from.clone()];
    let rows: Vec<[String; 2]> = transfers.iter().map(row).collect();
    align(["partition", "from"], &rows, 2)
}

#[cfg(test)]
mod tests {
    use super::super::report::{Blocked, Move};
    use super::*;

    #[test]
    fn a_status_shows_the_members_in_columns_and_what_is_not_done() {
        let member = |name: &str, state: &str, stays, synced| Member {
            name: name.into(),
            address: format!("{name}.example:7000"),
            zone: "default".into(),
            weight: 100,
            state: state.into(),
            stays,
            partitions: 1_192,
            ack: 4,
            synced,
            sync_ack: synced,
        };
        let said = Status {
            node: "apple".into(),
            cluster: Some("c1".into()),
            member: true,
            epoch: 4,
            oldest: 3,
            members: vec![member("apple", "self", true, 4), member("fig", "down", false, 3)],
            partitions: Partitions { held: 1_192, complete: 7, settling: 0, dropping: 0 },
            staged: vec!["leave fig".into()],
            blocked: vec![Blocked { peer: "fig".into(), rows: 12_345 }],
            ..Status::default()
        };
        let expected = "\
Cluster c1, layout 4

  member  address             zone     state         weight  partitions
  apple   apple.example:7000  default  self             100       1,192
  fig     fig.example:7000    default  down, leaves     100       1,192

Layout 3 gives way to it:
  apple is done
  fig has not all of its data yet

apple answers for 7 of the 1,192 partitions that it holds; 0 are on their way to it, 0 are being dropped.
Log rows that stay until fig has what they name: 12,345.

Staged, and not applied yet (godown cluster plan, apply, unstage):
  leave fig
";
        assert_eq!(status(&said), expected);
        assert_eq!(status(&Status { cluster: None, ..said.clone() }), "apple is in no cluster yet.");
        assert!(status(&Status { member: false, ..said }).contains("no member of it any more"));
    }

    #[test]
    fn a_plan_shows_what_moves_and_how_to_apply_it() {
        let moved = |node: &str, gained, lost, holds| Move { node: node.into(), gained, lost, holds };
        let said = Plan {
            epoch: 4,
            next: 5,
            hash: "00ab".into(),
            staged: vec!["join fig".into()],
            moves: vec![moved("apple", 0, 1_064, 3_000), moved("fig", 1_064, 0, 1_064)],
            warnings: vec!["two zones are too few".into()],
        };
        let expected = "\
Layout 5 would be made by:
  join fig

  node    gets  gives  then holds
  apple      0  1,064       3,000
  fig    1,064      0       1,064

1,064 copies of partitions move.
Warning: two zones are too few

Apply it with: godown cluster apply --epoch 4 --hash 00ab
";
        assert_eq!(plan(&said), expected);
    }
}

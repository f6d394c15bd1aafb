//! What it takes to bring a replica up to date that the logs of the others do not reach any more.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, Table, actors, key_of};
use godown_core::actors::Actors;
use godown_core::causal::{Clock, Context, Dot};
use godown_core::config::Settings;
use godown_core::fingerprint::{ObjectHash, Seed, Sum};
use godown_core::hlc::Hlc;
use godown_core::id::{Life, NodeId, OpId};
use godown_core::key::Partition;
use godown_core::kind::{Object, Sibling};
use godown_core::layout::active::View;
use godown_core::message::{Compared, Given, GivenObject, Message, Page, Probed, Refusal, Span};
use godown_core::node::Node;
use godown_core::replica::Checkpoint;
use godown_core::stats::Stats;
use godown_core::stored::{self, Row};
use godown_core::wire;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const P0: Partition = Partition(0);
/// A life that has written everything, and is over.
const AUTHOR: Life = Life(99);
const HOUR: Duration = Duration::from_secs(3_600);

/// What a replica holds: keys with the number of the write that is visible.
type Held = BTreeMap<String, u64>;

fn name(n: u64) -> String {
    format!("key/{n:06}")
}

fn object(n: u64, value_bytes: usize) -> Object {
    let value = Bytes::from(vec![n as u8; value_bytes]);
    let mut object = Object::delta(
        Context::new(),
        Dot { actor: AUTHOR, n },
        Some(Sibling { value, content_type: Bytes::new(), at: Hlc(n << 16), expires: 0 }),
    );
    object.context = Context::new();
    object
}

/// A store in which all writes up to `seen` have had their effect, and whose log reaches back to none of them.
fn table(held: &Held, seen: u64, value_bytes: usize) -> Table {
    let mut context = Context::new();
    context.raise(AUTHOR, seen);
    let floor = BTreeMap::from([(AUTHOR, seen)]);
    let checkpoint = Checkpoint { clock: Clock::from_context(context), floor, complete: true };
    let mut actors = Actors::new();
    let mut rows = vec![stored::checkpoint_row(P0, &checkpoint)];
    for (key, &n) in held {
        rows.push(stored::object_row(P0, &key_of(key), Some(&object(n, value_bytes)), &mut actors));
    }
    rows.extend(stored::actor_rows(P0, &actors));
    rows.into_iter().map(|Row { key, value }| (key, value.expect("a row to put"))).collect()
}

/// Two nodes over these stores.
fn pair(tables: [Table; 2], change: impl FnOnce(&mut Settings)) -> Cluster {
    let mut cluster = Cluster::new(2, |settings| {
        settings.replicas = 2;
        change(settings);
    });
    for (id, table) in [N1, N2].into_iter().zip(tables) {
        cluster.crash(id);
        let own = &mut cluster.machines.get_mut(&id).expect("a member").table;
        // What it knows of its cluster stays, of its data nothing.
        own.retain(|row, _| !b"aclmo".contains(&row.0[0]));
        own.extend(table);
    }
    cluster.sent.clear();
    cluster.start(N1);
    cluster.start(N2);
    cluster
}

fn node(cluster: &Cluster, id: NodeId) -> &Node {
    cluster.machines[&id].node.as_ref().expect("it runs")
}

fn stats(cluster: &Cluster, id: NodeId) -> &Stats {
    node(cluster, id).stats()
}

fn seen(cluster: &Cluster, id: NodeId) -> u64 {
    node(cluster, id).clock(P0).expect("it holds all").as_context().base(AUTHOR)
}

/// The dots that are visible at a node, by key.
fn held(cluster: &Cluster, id: NodeId) -> Held {
    let table = &cluster.machines[&id].table;
    let actors = actors(table).remove(&P0).unwrap_or_default();
    let objects = table.iter().filter_map(|(row, value)| {
        let (_, key) = stored::key_of(row)?;
        let object = stored::read_object(row, value, &actors).ok()?;
        let dot = object.dots().next()?;
        Some((key.to_string(), dot.n))
    });
    objects.collect()
}

fn frame_bytes(message: &Message) -> usize {
    let mut frame = Vec::new();
    assert!(wire::encode(wire::VERSION_MAX, View::default(), message, &mut frame));
    frame.len()
}

const fn is_of_a_transfer(message: &Message) -> bool {
    matches!(
        message,
        Message::Compare { .. } | Message::Compared { .. } | Message::Pull { .. } | Message::Page { .. }
    )
}

#[test]
fn a_transfer_costs_little_more_than_what_differs() {
    const KEYS: u64 = 20_000;
    const VALUE_BYTES: usize = 256;
    // One in a hundred is newer at n1, spread over all; a few more are new there, or gone.
    let before: Held = (1..=KEYS).map(|n| (name(n), n)).collect();
    let mut after = before.clone();
    let mut last = KEYS;
    let mut write = || {
        last += 1;
        last
    };
    for n in 1..=KEYS / 100 {
        after.insert(name(n * 7_919 % KEYS + 1), write());
    }
    for n in 0..10 {
        after.remove(&name(n * 1_999 + 5));
        write();
        after.insert(format!("key/{:06}/new", n * 1_999 + 8), write());
    }
    let tables = [table(&after, last, VALUE_BYTES), table(&before, KEYS, VALUE_BYTES)];
    let mut cluster = pair(tables, |_| {});
    cluster.pass(HOUR);
    assert_eq!(seen(&cluster, N2), last);
    assert_eq!(held(&cluster, N2), after);

    let differing = after.iter().filter(|(key, n)| before.get(*key) != Some(n));
    let (count, useful) =
        differing.fold((0, 0), |(count, bytes), (key, _)| (count + 1, bytes + key.len() + VALUE_BYTES));
    let moved = cluster.sent.iter().filter(|(.., message)| is_of_a_transfer(message));
    let (messages, bytes) =
        moved.fold((0, 0), |(count, sum), (.., message)| (count + 1, sum + frame_bytes(message)));
    eprintln!(
        "{count} objects of {useful} bytes differ; {messages} messages of {bytes} bytes were sent: {:.2} times",
        bytes as f64 / useful as f64
    );
    assert!(bytes <= 4 * useful, "{bytes} bytes for {useful}");
    assert_eq!(stats(&cluster, N2).sync_pulled, count);
    let same = before.iter().filter(|(key, n)| after.get(*key) == Some(n)).count();
    assert_eq!(stats(&cluster, N2).sync_same, same as u64);
    // What is not of use comes to less than eight bytes for each object that the partition holds.
    assert!((bytes - useful) as u64 <= KEYS * 8, "{bytes} bytes for {useful}");
}

#[test]
fn equal_objects_cost_less_than_a_byte_each_where_clocks_differ() {
    // n1 has seen one delete more, of a key that neither has.
    const KEYS: u64 = 20_000;
    let both: Held = (1..=KEYS).map(|n| (name(n), n)).collect();
    let mut cluster = pair([table(&both, KEYS + 1, 64), table(&both, KEYS, 64)], |_| {});
    cluster.pass(HOUR);
    assert_eq!(seen(&cluster, N2), KEYS + 1);
    let bytes: usize = cluster.sent.iter().map(|(.., message)| frame_bytes(message)).sum();
    eprintln!("{KEYS} equal objects, {bytes} bytes");
    assert!((bytes as u64) < KEYS);
    assert_eq!((stats(&cluster, N2).sync_pulled, stats(&cluster, N2).sync_same), (0, KEYS));
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_stopped() {
    let all: Held = (1..=3_000).map(|n| (name(n), n)).collect();
    let mut cluster = pair([table(&all, 3_000, 64), Table::new()], |settings| {
        settings.w = 1;
        // Slow enough to cut it in two.
        settings.sync_bytes_per_s = 1 << 20;
    });
    while stats(&cluster, N2).sync_pulled < 1_500 {
        cluster.next_tick();
    }
    cluster.cut.extend([(N1, N2), (N2, N1)]);
    cluster.pass(Duration::from_secs(60));
    let first = stats(&cluster, N2).sync_pulled;
    assert!((1_500..1_800).contains(&first));
    cluster.crash(N2);
    cluster.start(N2);
    cluster.cut.clear();
    cluster.pass(HOUR);
    assert_eq!((seen(&cluster, N2), held(&cluster, N2).len()), (3_000, 3_000));
    let again = stats(&cluster, N2);
    assert_eq!((again.sync_pulled + again.sync_same, again.sync_same), (3_000, first), "nothing came twice");
}

#[test]
fn a_transfer_keeps_to_its_pace() {
    let all: Held = (1..=2_000).map(|n| (name(n), n)).collect();
    let mut cluster = pair([table(&all, 2_000, 64), Table::new()], |settings| {
        settings.w = 1;
        settings.sync_bytes_per_s = 1 << 20;
    });
    while stats(&cluster, N2).sync_pulled == 0 {
        cluster.next_tick();
    }
    // Small objects count as blocks of 4 KiB: 256 a second, and beyond that a tenth of a second and one page.
    let start = cluster.now;
    let mut seconds = 0;
    while seen(&cluster, N2) < 2_000 {
        seconds += 1;
        cluster.pass(start.after(Duration::from_secs(seconds)).since(cluster.now));
        let pulled = stats(&cluster, N2).sync_pulled;
        assert!(pulled <= 256 * seconds + 26 + 2 * 128, "{pulled} objects in {seconds} s");
        assert!(pulled >= (256 * seconds).min(2_000) - 128, "{pulled} objects in {seconds} s: it dawdles");
    }
    assert!((6..10).contains(&seconds), "2,000 objects took {seconds} s");
}

#[test]
fn without_a_pace_nothing_waits() {
    let all: Held = (1..=2_000).map(|n| (name(n), n)).collect();
    let mut cluster = pair([table(&all, 2_000, 64), Table::new()], |settings| {
        settings.w = 1;
        settings.sync_bytes_per_s = 0;
    });
    while seen(&cluster, N2) == 0 {
        assert_eq!(stats(&cluster, N2).sync_pulled, 0, "once it has begun it needs no more time");
        cluster.next_tick();
    }
}

/// A node that meets its peers again after so many writes that it has missed; and whether it compared ranges.
fn meets_again(writes: usize) -> (Cluster, bool) {
    let mut cluster = Cluster::new(3, |settings| settings.log_rows_max = 32);
    let n3 = NodeId(3);
    cluster.cut.extend([(N1, n3), (N2, n3), (n3, N1), (n3, N2)]);
    for n in 0..writes {
        cluster.put(N1, &name(n as u64), Some("v"), Context::new());
    }
    cluster.cut.clear();
    cluster.sent.clear();
    cluster.pass(24 * HOUR);
    let compares = cluster.sent.iter().any(|(.., message)| is_of_a_transfer(message));
    (cluster, compares)
}

#[test]
fn the_log_waits_for_a_peer_up_to_its_bound_and_no_further() {
    // Of 32 rows a sixteenth more may stand before the log is cut back to 32.
    for (writes, compares) in [(34, false), (35, true)] {
        let (cluster, compared) = meets_again(writes);
        assert_eq!(compared, compares, "after {writes} writes");
        let cut: u64 = cluster.nodes().map(|node| node.stats().log_cut).sum();
        assert_eq!(cut, if compares { 2 * 3 } else { 0 }, "by the two that took the writes");
        for id in [N1, N2, NodeId(3)] {
            assert_eq!(held(&cluster, id).len(), writes, "{id}");
            assert!(node(&cluster, id).is_quiet(), "{id}: {:?}", node(&cluster, id).unrest());
        }
    }
}

#[test]
fn what_lies_beyond_a_gap_stays_in_the_log_however_long_it_becomes() {
    let mut cluster = Cluster::new(3, |settings| settings.log_rows_max = 32);
    let n3 = NodeId(3);
    cluster.cut.extend([(N1, n3), (N2, n3), (n3, N1), (n3, N2)]);
    // The first write of that life is on a disk that was lost.
    for n in 2..=100 {
        let (key, dot) = (key_of(&name(n)), Dot { actor: AUTHOR, n });
        let delta = Object::delta(Context::new(), dot, object(n, 4).store.0.remove(&dot));
        for (to, from) in [(N1, N2), (N2, N1)] {
            let (key, delta) = (key.clone(), delta.clone());
            cluster.peer(to, from, Message::Store { op: op(n), key, dot, delta });
        }
    }
    for n in 1..=100 {
        cluster.put(N1, &name(200 + n), Some("v"), Context::new());
    }
    assert!(stats(&cluster, N1).log_cut > 60, "the rows below other lives' bases are cut");
    cluster.cut.clear();
    cluster.pass(24 * HOUR);
    assert_eq!(held(&cluster, n3).len(), 199, "a transfer claims bases only: the log has to name the rest");
    let clocks: Vec<_> = cluster.nodes().map(|node| node.clock(P0)).collect();
    assert!(clocks.iter().all(|clock| *clock == clocks[0]), "{clocks:?}");
}

// --- Rounds with many partitions, and with several peers -------------------------------------------------------------

/// Three nodes with many partitions, and writes to so many keys that the third has missed and is still cut off from.
fn misses(keys: u64, partitions: u32) -> Cluster {
    let mut cluster = Cluster::new(3, |settings| {
        settings.partitions = partitions;
        settings.timeout_max = 24 * HOUR;
    });
    // Nobody gives up while a test holds something up.
    cluster.settings.timeout = 24 * HOUR;
    for id in [N1, N2, NodeId(3)] {
        cluster.crash(id);
        cluster.start(id);
    }
    cluster.pass(3 * HOUR);
    let n3 = NodeId(3);
    cluster.cut.extend([(N1, n3), (N2, n3), (n3, N1), (n3, N2)]);
    for n in 0..keys {
        cluster.put(N1, &name(n), Some("v"), Context::new());
    }
    cluster.sent.clear();
    cluster
}

fn has_all(cluster: &Cluster, keys: u64) -> bool {
    (0..keys).all(|n| cluster.values(NodeId(3), &name(n)) == ["v"])
}

#[test]
fn a_peer_is_asked_about_many_partitions_before_it_has_answered_the_first() {
    const KEYS: u64 = 200;
    let mut cluster = misses(KEYS, 64);
    let n3 = NodeId(3);
    cluster.cut.retain(|&link| link == (N2, n3) || link == (n3, N2));
    cluster.pass(3 * HOUR);
    assert!(has_all(&cluster, KEYS));
    // What n3 asks and is given, in order: how many answers it waits for at a time, and for how many at most.
    let (mut open, mut asks, mut most) = (0_i32, 0, 0);
    for (from, to, message) in &cluster.sent {
        match message {
            Message::Ask { .. } if (*from, *to) == (n3, N1) => (open, asks) = (open + 1, asks + 1),
            Message::Give { .. } if (*from, *to) == (N1, n3) => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    assert_eq!(most, 17, "sixteen are asked about ahead");
    assert_eq!(open, 0, "each is answered");
    assert!(asks <= 64 + 16, "{asks}: none is asked about again and again");
}

#[test]
fn what_was_missed_comes_once_however_many_peers_have_it() {
    const KEYS: u64 = 1_000;
    for partitions in [1, 64] {
        let mut cluster = misses(KEYS, partitions);
        let n3 = NodeId(3);
        cluster.cut.clear();
        // Its disk takes its time: the round with the one peer begins while what the other gave is being written.
        cluster.hold(n3);
        cluster.pass(2 * HOUR);
        let asked = |cluster: &Cluster| {
            let asks = cluster.sent.iter().filter_map(|(from, to, message)| match message {
                Message::Ask { partition, .. } if *from == n3 => Some((*partition, *to)),
                _ => None,
            });
            asks.collect::<std::collections::BTreeSet<_>>()
        };
        let first = asked(&cluster);
        let at: std::collections::BTreeSet<Partition> =
            first.iter().map(|(partition, _)| *partition).collect();
        assert!(!first.is_empty());
        if partitions == 1 {
            assert_eq!(first.len(), at.len(), "no partition is asked about at two peers");
        }
        cluster.release(n3);
        cluster.pass(24 * HOUR);
        assert!(has_all(&cluster, KEYS));
        assert_eq!(stats(&cluster, n3).sync_objects, KEYS, "of {partitions} partitions");
    }
}

#[test]
fn a_round_whose_probe_was_lost_begins_anew_when_the_peer_is_back() {
    let mut cluster = Cluster::new(2, |settings| {
        settings.replicas = 2;
        settings.w = 1;
        settings.sync_every = Duration::from_secs(30);
        settings.probe_every = Duration::from_secs(60);
        settings.timeout_max = HOUR;
        settings.timeout = HOUR;
    });
    cluster.cut.extend([(N1, N2), (N2, N1)]);
    cluster.put(N1, "key", Some("v"), Context::new());
    cluster.pass(HOUR / 6);
    cluster.cut.clear();
    cluster.pass(HOUR / 6);
    assert_eq!(cluster.values(N2, "key"), ["v"]);
}

// --- What frames leave out ---------------------------------------------------------------------------------------------

/// What `lives` lives have written, one dot each.
fn seen_by_all(lives: u64) -> Context {
    let mut context = Context::new();
    (0..lives).for_each(|life| context.raise(Life(1 << 100 | u128::from(life)), 7));
    context
}

fn given(objects: u64, clock: &Context, seen: &Context) -> Given {
    let given = |n| {
        let mut object = object(n, 10);
        object.context = seen.clone();
        GivenObject { key: key_of(&name(n)), dots: vec![Dot { actor: AUTHOR, n }], object }
    };
    let (clock, objects) = (Clock::from_context(clock.clone()), (1..=objects).map(given).collect());
    Given { partition: P0, clock, complete: true, reaches: true, more: false, objects }
}

/// The bytes of a frame that says the same when it is read again.
fn says_the_same(given: &Given) -> usize {
    let page = Page {
        clock: given.clock.clone(),
        complete: true,
        objects: given.objects.iter().map(|given| (given.key.clone(), given.object.clone())).collect(),
        same: Vec::new(),
        end: None,
    };
    let given = Message::Give { op: op(1), given: given.clone() };
    let sizes = [given, Message::Page { op: op(1), outcome: Ok(page) }].map(|message| {
        let mut frame = Vec::new();
        assert!(wire::encode(wire::VERSION_MAX, View::default(), &message, &mut frame));
        assert_eq!(wire::decode(&frame[wire::PREFIX..]), Ok((View::default(), message)));
        frame.len()
    });
    sizes[0].max(sizes[1])
}

#[test]
fn what_a_clock_implies_is_sent_once_and_not_with_every_object() {
    let sizes = [1, 50].map(|lives| {
        let seen = seen_by_all(lives);
        says_the_same(&given(100, &seen, &seen))
    });
    assert!(sizes[1] - sizes[0] < 50 * 20, "{sizes:?}: 49 lives more are told once");
    let seen = seen_by_all(50);
    // One that has seen more, beyond a gap and without one, and one that has seen less.
    let mut more = seen.clone();
    more.insert(Dot { actor: Life(1 << 100), n: 9 });
    more.raise(Life(1 << 100 | 1), 12);
    more.raise(Life(7), 3);
    assert!(says_the_same(&given(100, &seen, &more)) < sizes[1] + 100 * 70);
    assert!(says_the_same(&given(100, &seen, &seen_by_all(49))) > 100 * 49 * 17, "nothing can be left out");
    // A clock with gaps: what lies beyond them is implied by nobody.
    assert!(says_the_same(&given(100, &more, &seen)) > 100 * 49 * 17);
    assert!(says_the_same(&given(100, &more, &more)) > 0);
    let (none, few) = (Context::new(), seen_by_all(2));
    assert!(says_the_same(&given(0, &few, &few)) > 0 && says_the_same(&given(3, &none, &none)) > 0);
}

#[test]
fn a_frame_takes_no_more_memory_than_it_may_when_it_is_read() {
    // A thousand lives for each of two thousand objects: that is beyond what may be left out.
    let seen = seen_by_all(1_000);
    assert!(says_the_same(&given(1_000, &seen, &seen)) < 300_000);
    assert!(says_the_same(&given(1_100, &seen, &seen)) > 1_100 * 1_000 * 17);
}

#[test]
fn the_number_that_opens_a_round_covers_every_clock_that_both_share() {
    const PARTITIONS: u32 = 8;
    for partition in (0..PARTITIONS).map(|index| Partition(index as u16)) {
        // All clocks are equal but one.
        let mut cluster = Cluster::new(3, |settings| settings.partitions = PARTITIONS);
        cluster.pass(3 * HOUR);
        let missed = (0..).map(name).find(|key| Partition::of(&key_of(key), PARTITIONS) == partition);
        let missed = missed.expect("some key is in every partition");
        let n3 = NodeId(3);
        cluster.cut.extend([(N1, n3), (N2, n3), (n3, N1), (n3, N2)]);
        cluster.put(N1, &missed, Some("v"), Context::new());
        cluster.cut.clear();
        assert!(cluster.values(n3, &missed).is_empty());
        cluster.pass(3 * HOUR);
        assert_eq!(cluster.values(n3, &missed), ["v"], "{partition:?}");
    }
}

// --- What the giver may say -----------------------------------------------------------------------------------------

const SIBLING: Life = Life(55);

fn op(n: u64) -> OpId {
    OpId { origin: SIBLING, n }
}

/// One range over the whole partition with these objects in it.
fn whole(held: &Held) -> Vec<Span> {
    let seed = Seed::of(SIBLING);
    let sum: Sum =
        held.iter().filter_map(|(key, &n)| ObjectHash::of(seed, &key_of(key), &object(n, 4))).collect();
    vec![Span { end: None, sum: Some((sum.fingerprint(seed), held.len() as u32)) }]
}

/// What n1 answers n2 to a comparison; None when it has not.
fn compare(cluster: &mut Cluster, n: u64, held: &Held) -> Option<Result<Vec<u32>, Refusal>> {
    let spans = whole(held);
    cluster.peer(N1, N2, Message::Compare { op: op(n), partition: P0, after: None, spans });
    compared(cluster, n)
}

fn compared(cluster: &Cluster, n: u64) -> Option<Result<Vec<u32>, Refusal>> {
    cluster.sent.iter().rev().find_map(|(.., message)| match message {
        Message::Compared { op: asked, outcome } if *asked == op(n) => {
            Some(outcome.as_ref().map(|compared| compared.equal.clone()).map_err(|refusal| *refusal))
        }
        _ => None,
    })
}

/// n1 with three objects, and n2 that is cut off from it; the test asks in its name.
fn giver() -> (Cluster, Held) {
    let all: Held = (1..=3).map(|n| (name(n), n)).collect();
    let mut cluster = pair([table(&all, 3, 4), table(&all, 3, 4)], |_| {});
    cluster.cut.extend([(N1, N2), (N2, N1)]);
    (cluster, all)
}

#[test]
fn a_range_is_equal_only_if_all_that_is_in_it_is() {
    let (mut cluster, all) = giver();
    assert_eq!(compare(&mut cluster, 1, &all), Some(Ok(vec![0])));
    let mut other = all.clone();
    other.insert(name(2), 4);
    assert_eq!(compare(&mut cluster, 2, &other), Some(Ok(vec![])));
    other.remove(&name(2));
    assert_eq!(compare(&mut cluster, 3, &other), Some(Ok(vec![])));
}

#[test]
fn a_row_that_cannot_be_read_makes_its_range_unequal_even_to_one_without_it() {
    let (mut cluster, mut all) = giver();
    cluster.damage(N1, &name(2));
    assert_eq!(compare(&mut cluster, 1, &all), Some(Ok(vec![])));
    all.remove(&name(2));
    assert_eq!(compare(&mut cluster, 2, &all), Some(Ok(vec![])), "unknown is not absent");
}

#[test]
fn a_key_that_is_being_written_makes_its_range_unequal() {
    let (mut cluster, all) = giver();
    cluster.hold(N1);
    cluster.put(N1, &name(9), Some("v"), Context::new());
    // What its disk shows already may be lost again with the machine.
    assert_eq!(compare(&mut cluster, 1, &all), Some(Ok(vec![])));
    cluster.fail(N1);
    assert_eq!(compare(&mut cluster, 2, &all), Some(Ok(vec![0])));
}

#[test]
fn a_page_waits_for_the_keys_in_it_that_are_being_written() {
    let (mut cluster, _) = giver();
    cluster.hold(N1);
    cluster.put(N1, &name(9), Some("v"), Context::new());
    let pull = |n| Message::Pull { op: op(n), partition: P0, after: None, until: None, have: Vec::new() };
    cluster.peer(N1, N2, pull(1));
    let page = |cluster: &Cluster| {
        cluster.sent.iter().rev().find_map(|(.., message)| match message {
            Message::Page { outcome: Ok(page), .. } => Some(page.objects.len()),
            _ => None,
        })
    };
    assert_eq!(page(&cluster), None);
    cluster.release(N1);
    assert_eq!(page(&cluster), Some(4));
}

#[test]
fn a_pull_leaves_out_what_the_asker_has() {
    let (mut cluster, mut all) = giver();
    all.insert(name(2), 4);
    let seed = Seed::of(SIBLING);
    let have: Vec<ObjectHash> =
        all.iter().filter_map(|(key, &n)| ObjectHash::of(seed, &key_of(key), &object(n, 4))).collect();
    let until = Some(key_of(&name(2)));
    cluster.peer(N1, N2, Message::Pull { op: op(1), partition: P0, after: None, until, have });
    let page = cluster.sent.iter().rev().find_map(|(.., message)| match message {
        Message::Page { outcome: Ok(page), .. } => Some(page.clone()),
        _ => None,
    });
    let page = page.expect("n1 gives a page");
    assert_eq!(page.objects.keys().collect::<Vec<_>>(), [&key_of(&name(2))]);
    assert_eq!((page.same, page.end), (vec![0], None), "the third key lies beyond the range");
}

// --- What the asker may conclude ------------------------------------------------------------------------------------

/// n2 with a hundred objects, cut off from n1, in whose name the test answers: it has seen one write more, which it does
/// not log any more, and n2 has asked which ranges are equal.
fn asker() -> Cluster {
    let all: Held = (1..=100).map(|n| (name(n), n)).collect();
    let mut cluster = pair([table(&all, 100, 4), table(&all, 100, 4)], |_| {});
    cluster.cut.extend([(N1, N2), (N2, N1)]);
    cluster.sent.clear();
    while last(&cluster).is_none() {
        cluster.next_tick();
    }
    answer(&mut cluster, |op| Message::Probed { op, outcome: Probed::Differ { digests: vec![1] } });
    let (complete, reaches, more, objects) = (true, false, false, Vec::new());
    let given = Given { partition: P0, clock: clock(101), complete, reaches, more, objects };
    answer(&mut cluster, |op| Message::Give { op, given });
    assert!(matches!(last(&cluster), Some(Message::Compare { .. })));
    cluster
}

fn clock(up_to: u64) -> Clock {
    let mut context = Context::new();
    context.raise(AUTHOR, up_to);
    Clock::from_context(context)
}

/// What n2 has asked n1 last.
fn last(cluster: &Cluster) -> Option<&Message> {
    let asks = |message: &Message| {
        matches!(
            message,
            Message::Probe { .. } | Message::Ask { .. } | Message::Compare { .. } | Message::Pull { .. }
        )
    };
    let sent = cluster.sent.iter().rev();
    sent.filter(|(from, ..)| *from == N2).map(|(.., message)| message).find(|message| asks(message))
}

fn answer(cluster: &mut Cluster, message: impl FnOnce(OpId) -> Message) {
    let op = match last(cluster) {
        Some(
            Message::Probe { op, .. }
            | Message::Ask { op, .. }
            | Message::Compare { op, .. }
            | Message::Pull { op, .. },
        ) => *op,
        other => panic!("n2 has asked nothing: {other:?}"),
    };
    cluster.peer(N2, N1, message(op));
}

/// The giver has seen all up to this write, and so many of the first ranges are equal.
fn says(cluster: &mut Cluster, up_to: u64, equal: u32) {
    let compared = Compared { clock: clock(up_to), equal: (0..equal).collect() };
    answer(cluster, |op| Message::Compared { op, outcome: Ok(compared) });
}

#[test]
fn when_all_ranges_are_equal_the_givers_clock_is_taken_over() {
    let mut cluster = asker();
    // It has seen more since: that is for the next round.
    says(&mut cluster, 105, 16);
    assert_eq!(seen(&cluster, N2), 101);
}

#[test]
fn while_one_range_differs_nothing_is_taken_over() {
    let mut cluster = asker();
    says(&mut cluster, 101, 11);
    assert!(matches!(last(&cluster), Some(Message::Pull { until: None, have, .. }) if have.len() < 32));
    assert_eq!(seen(&cluster, N2), 100);
}

#[test]
fn a_giver_that_has_lost_its_data_is_not_believed_that_ranges_are_equal() {
    let mut cluster = asker();
    says(&mut cluster, 99, 16);
    assert_eq!(seen(&cluster, N2), 100);
}

#[test]
fn a_delta_that_lands_while_ranges_are_compared_is_not_claimed_with_them() {
    let mut cluster = asker();
    // The giver has seen it removed before it compared: no fingerprint says so.
    let dot = Dot { actor: AUTHOR, n: 101 };
    let delta = Object::delta(Context::new(), dot, object(101, 4).store.0.remove(&dot));
    cluster.peer(N2, N1, Message::Store { op: op(1), key: key_of("gone"), dot, delta });
    let before = stats(&cluster, N2).writes;
    says(&mut cluster, 101, 16);
    assert_eq!(stats(&cluster, N2).writes, before, "no checkpoint takes the clock over");
    assert!(!matches!(last(&cluster), Some(Message::Pull { .. })));
}

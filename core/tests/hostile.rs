//! A peer may say anything: the node neither panics nor loses its wits, whatever well-formed message arrives.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, key_of};
use godown_core::causal::{Clock, Context, Dot, DotFun};
use godown_core::fingerprint::{Fingerprint, ObjectHash};
use godown_core::hlc::Hlc;
use godown_core::id::{Life, NodeId, OpId};
use godown_core::input::Reply;
use godown_core::key::{Key, Partition};
use godown_core::kind::{Object, Sibling};
use godown_core::layout::active::View;
use godown_core::message::{
    Change, Compared, Failure, Given, GivenObject, Listed, Message, Page, Probed, Refusal, Span, Terms, Value,
};
use godown_core::wire::{self, DecodeError};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same cases on every machine; another number here is another set of them.
const SEED: u64 = 1;

/// Lives that mean something to the node under test, and one that does not.
fn life() -> impl Strategy<Value = Life> {
    prop_oneof![Just(1u128), Just(2), Just(3), Just(77)].prop_map(|node| Life((node << 112) | (1 << 96)))
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..5u64, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

fn dot() -> impl Strategy<Value = Dot> {
    (life(), number()).prop_map(|(actor, n)| Dot { actor, n })
}

fn context() -> impl Strategy<Value = Context> {
    (prop::collection::vec((life(), number()), 0..3), prop::collection::vec(dot(), 0..3)).prop_map(
        |(bases, cloud)| {
            let mut context: Context = cloud.into_iter().collect();
            for (actor, base) in bases {
                context.raise(actor, base);
            }
            context
        },
    )
}

fn object() -> impl Strategy<Value = Object> {
    (prop::collection::vec((dot(), number()), 0..3), context()).prop_map(|(dots, context)| {
        let sibling = |at| Sibling { value: "v".into(), content_type: Bytes::new(), at: Hlc(at), expires: 0 };
        Object { store: DotFun(dots.into_iter().map(|(dot, at)| (dot, sibling(at))).collect()), context }
    })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![Just("a"), Just("b"), Just("")].prop_map(key_of)
}

fn partition() -> impl Strategy<Value = Partition> {
    prop_oneof![Just(Partition(0)), Just(Partition(3)), Just(Partition(u16::MAX))]
}

fn op() -> impl Strategy<Value = OpId> {
    (life(), 0..30u64).prop_map(|(origin, n)| OpId { origin, n })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![Just(Refusal::CatchingUp), Just(Refusal::Storage), life().prop_map(Refusal::OtherLife)]
}

fn outcome<T: std::fmt::Debug>(ok: impl Strategy<Value = T>) -> impl Strategy<Value = Result<T, Refusal>> {
    prop_oneof![ok.prop_map(Ok), refusal().prop_map(Err)]
}

fn given() -> impl Strategy<Value = Given> {
    let objects =
        prop::collection::vec(
            (key(), prop::collection::vec(dot(), 0..3), object())
                .prop_map(|(key, dots, object)| GivenObject { key, dots, object }),
            0..3,
        );
    let flags = any::<(bool, bool, bool)>();
    (partition(), context(), flags, objects).prop_map(
        |(partition, clock, (complete, reaches, more), objects)| {
            let clock = Clock::from_context(clock);
            Given { partition, clock, complete, reaches, more, objects }
        },
    )
}

fn places() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![0..3u32, any::<u32>()], 0..3)
}

fn page() -> impl Strategy<Value = Page> {
    let objects = prop::collection::btree_map(key(), object(), 0..3);
    (context(), any::<bool>(), objects, places(), prop::option::of(key())).prop_map(
        |(clock, complete, objects, same, end)| Page {
            clock: Clock::from_context(clock),
            complete,
            objects,
            same,
            end,
        },
    )
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let sum = (any::<u128>(), any::<u32>()).prop_map(|(sum, count)| (Fingerprint(sum), count));
    let span = (prop::option::of(key()), prop::option::of(sum)).prop_map(|(end, sum)| Span { end, sum });
    // In order they are counted, otherwise refused.
    (prop::collection::vec(span, 0..5), any::<bool>()).prop_map(|(mut spans, is_sorted)| {
        if is_sorted {
            spans.sort_by(|a, b| (a.end.is_none(), &a.end).cmp(&(b.end.is_none(), &b.end)));
            spans.dedup_by(|a, b| a.end == b.end);
        }
        spans
    })
}

fn message() -> impl Strategy<Value = Message> {
    let change = (key(), context(), any::<bool>()).prop_map(|(key, seen, is_put)| {
        let value = is_put.then(|| Value { bytes: "v".into(), content_type: Bytes::new(), ttl: None });
        Change { key, seen, value }
    });
    let forward = (op(), life(), number(), change, any::<u8>(), number()).prop_map(
        |(op, to, floor, change, w, secs)| Message::Forward {
            op,
            to,
            floor,
            change,
            w,
            timeout: Duration::from_secs(secs),
            terms: Terms { primaries: w / 2, sloppy: w % 2 == 0, stands_in: w % 3 == 0 },
        },
    );
    let forwarded = (
        op(),
        prop_oneof![context().prop_map(Ok), refusal().prop_map(|refusal| Err(Failure::NotTaken(refusal))),],
    );
    let probed = prop_oneof![
        prop::collection::vec(partition(), 0..3).prop_map(|incomplete| Probed::Equal { incomplete }),
        prop::collection::vec(number(), 0..6).prop_map(|digests| Probed::Differ { digests }),
    ];
    let hashes = prop::collection::vec(any::<u128>(), 0..3);
    let pull = (op(), partition(), prop::option::of(key()), prop::option::of(key()), hashes);
    let compared = (context(), places())
        .prop_map(|(clock, equal)| Compared { clock: Clock::from_context(clock), equal });
    let list = (op(), partition(), partition(), prop::option::of(key()), any::<u32>());
    let listed = (prop::collection::vec(key(), 0..3), prop::option::of(key()));
    prop_oneof![
        forward,
        forwarded.prop_map(|(op, outcome)| Message::Forwarded { op, outcome }),
        (op(), key(), dot(), object(), 1..6u64).prop_map(|(op, key, dot, delta, target)| Message::Hint {
            op,
            target: NodeId(target),
            key,
            dot,
            delta
        }),
        (op(), key()).prop_map(|(op, key)| Message::FetchHints { op, key }),
        (op(), key(), dot(), object()).prop_map(|(op, key, dot, delta)| Message::Store {
            op,
            key,
            dot,
            delta
        }),
        (op(), outcome(Just(()))).prop_map(|(op, outcome)| Message::Stored { op, outcome }),
        (op(), key()).prop_map(|(op, key)| Message::Fetch { op, key }),
        (op(), key()).prop_map(|(op, key)| Message::Salvage { op, key }),
        (op(), outcome(object())).prop_map(|(op, outcome)| Message::Fetched { op, outcome }),
        (key(), object()).prop_map(|(key, object)| Message::Repair { key, object }),
        (op(), number()).prop_map(|(op, digest)| Message::Probe { op, digest }),
        (op(), probed).prop_map(|(op, outcome)| Message::Probed { op, outcome }),
        (op(), partition(), context()).prop_map(|(op, partition, clock)| Message::Ask {
            op,
            partition,
            clock: Clock::from_context(clock)
        }),
        (op(), given()).prop_map(|(op, given)| Message::Give { op, given }),
        pull.prop_map(|(op, partition, after, until, have)| {
            let have = have.into_iter().map(ObjectHash).collect();
            Message::Pull { op, partition, after, until, have }
        }),
        (op(), outcome(page())).prop_map(|(op, outcome)| Message::Page { op, outcome }),
        (op(), partition(), prop::option::of(key()), spans())
            .prop_map(|(op, partition, after, spans)| { Message::Compare { op, partition, after, spans } }),
        (op(), outcome(compared)).prop_map(|(op, outcome)| Message::Compared { op, outcome }),
        list.prop_map(|(op, first, last, after, limit)| Message::List { op, first, last, after, limit }),
        (op(), outcome(listed.prop_map(|(keys, next)| Listed { keys, next })))
            .prop_map(|(op, outcome)| Message::Listed { op, outcome }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(SEED), ..ProptestConfig::default() })]

    #[test]
    fn a_node_survives_whatever_a_member_says(messages in prop::collection::vec((1..5u64, message()), 1..25)) {
        let mut cluster = Cluster::new(3, |settings| settings.partitions = 4);
        let n1 = NodeId(1);
        // Calls of its own are open, so that forged answers find something to meet.
        cluster.cut.extend([(n1, NodeId(2)), (n1, NodeId(3))]);
        let mut calls = vec![cluster.get(n1, "a"), cluster.put(n1, "b", Some("v"), Context::new())];
        for (from, message) in messages {
            // The harness checks the node's invariants after every input. Node 4 is no member.
            cluster.peer(n1, NodeId(from), message);
        }
        calls.push(cluster.get(n1, "b"));
        cluster.pass(Duration::from_secs(120));
        for id in calls {
            prop_assert!(cluster.replies.contains_key(&id), "call {:?} was never answered", id);
        }
    }

    #[test]
    fn bytes_that_are_no_frame_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(wire::decode(&bytes).is_err());
    }

    #[test]
    fn a_body_that_is_none_of_its_kind_is_an_error_or_a_message(kind in 1..32u8, body in prop::collection::vec(any::<u8>(), 0..200)) {
        // With a checksum that matches, only the body itself can be wrong: it must be told, or understood whole.
        for version in wire::VERSION_MIN..=wire::VERSION_MAX {
            let checked = [&[version, kind], &body[..]].concat();
            let frame = [&crc32fast::hash(&checked).to_le_bytes()[..], &checked].concat();
            if let Ok((view, message)) = wire::decode(&frame) {
                let mut again = Vec::new();
                wire::encode(version, view, &message, &mut again);
                prop_assert_eq!(wire::decode(&again[wire::PREFIX..]), Ok((view, message)));
            }
        }
    }
}

#[test]
fn a_clock_from_the_future_cannot_swallow_writes_to_come() {
    let mut cluster = Cluster::new(3, |_| {});
    let n1 = NodeId(1);
    let life = cluster.nodes().next().expect("n1").life();
    let mut forged = Context::new();
    forged.raise(life, u64::MAX);
    cluster.put(n1, "a", Some("forged"), forged);
    let id = cluster.put(n1, "a", Some("honest"), Context::new());
    assert!(matches!(cluster.replies[&id], Reply::Stored { .. }));
    for node in 1..=3 {
        assert_eq!(cluster.values(NodeId(node), "a"), ["forged", "honest"]);
    }
}

#[test]
fn a_node_whose_identity_another_uses_serves_nothing_any_more() {
    let mut cluster = Cluster::new(3, |_| {});
    let n1 = NodeId(1);
    let life = cluster.nodes().next().expect("n1").life();
    cluster.put(n1, "a", Some("v"), Context::new());
    let mut ahead = Context::new();
    ahead.raise(life, 2);
    let op = OpId { origin: Life(77), n: 1 };
    cluster.peer(
        n1,
        NodeId(2),
        Message::Ask { op, partition: Partition(0), clock: Clock::from_context(ahead) },
    );
    let id = cluster.put(n1, "a", Some("w"), Context::new());
    assert_eq!(cluster.replies[&id], Reply::Failed(Failure::NotTaken(Refusal::Fenced)));
    assert!(cluster.nodes().next().is_some_and(|node| node.is_fenced() && !node.is_ready()));
    // The others go on without it.
    let id = cluster.put(NodeId(2), "a", Some("x"), Context::new());
    assert!(matches!(cluster.replies[&id], Reply::Stored { .. }));
}

#[test]
fn a_doubled_or_late_forward_mints_nothing() {
    let mut cluster = Cluster::new(3, |_| {});
    let n1 = NodeId(1);
    let to = cluster.nodes().next().expect("n1").life();
    let forward = |n, floor| Message::Forward {
        op: OpId { origin: Life(77), n },
        to,
        floor,
        change: Change {
            key: key_of("a"),
            seen: Context::new(),
            value: Some(Value { bytes: "v".into(), content_type: Bytes::new(), ttl: None }),
        },
        w: 2,
        timeout: Duration::from_secs(1),
        terms: Terms::default(),
    };
    for message in [forward(5, 5), forward(5, 5), forward(7, 6), forward(5, 5), forward(6, 6), forward(6, 6)]
    {
        cluster.peer(n1, NodeId(2), message);
    }
    assert_eq!(cluster.values(n1, "a").len(), 3, "forwards 5, 6 and 7, once each");
    let doubled = cluster.nodes().next().expect("n1").stats().forwards_doubled;
    assert_eq!(doubled, 3);
}

/// Numbers of contexts that the clock of a message may imply of its objects, all of them together.
const IMPLIED_MAX: usize = 1 << 20;

/// A clock of so many lives.
fn lives(count: usize) -> Clock {
    let mut context = Context::new();
    (0..count).for_each(|life| context.raise(Life(1 << 100 | life as u128), 9));
    Clock::from_context(context)
}

/// So many objects, each of which has seen the bases of `clock`.
fn objects(count: usize, clock: &Clock) -> impl Iterator<Item = (Key, Object)> {
    let context = clock.as_context().clone();
    let object = Object { store: DotFun::default(), context };
    (0..count).map(move |n| (key_of(&format!("{n:06}")), object.clone()))
}

/// The objects as an answer by the log, and as a page.
fn answers(count: usize, seen: &Clock, clock: &Clock) -> [Message; 2] {
    let (op, complete) = (OpId { origin: Life(1), n: 1 }, true);
    let (partition, reaches, more, clock) = (Partition(0), true, false, clock.clone());
    let given = objects(count, seen).map(|(key, object)| GivenObject { key, dots: Vec::new(), object });
    let given = Given { partition, clock: clock.clone(), complete, reaches, more, objects: given.collect() };
    let (objects, same, end) = (objects(count, seen).collect(), Vec::new(), None);
    let page = Page { clock, complete, objects, same, end };
    [Message::Give { op, given }, Message::Page { op, outcome: Ok(page) }]
}

/// A frame that says of so many objects that they are without what a clock of so many lives implies, whatever that comes
/// to: put together from one with the clock alone and one with the objects alone.
fn frames_that_imply(count: usize, clock: &Clock) -> [Vec<u8>; 2] {
    // Checksum; version and kind; the sender's view, the request, and the partition or that there is a page.
    const HEAD: usize = 4 + 2 + 6;
    // No bases and no single dots.
    const NO_CLOCK: usize = 2;
    // What follows the clock where there are no objects.
    const TAIL: usize = 5;
    let frames = |messages: [Message; 2]| {
        messages.map(|message| {
            let mut frame = Vec::new();
            assert!(wire::encode(wire::VERSION_MAX, View::default(), &message, &mut frame));
            frame.split_off(wire::PREFIX)
        })
    };
    let nothing = Clock::new();
    let with_clock = frames(answers(0, &nothing, clock));
    let mut with_objects = frames(answers(count, &nothing, &nothing)).into_iter();
    with_clock.map(|with_clock| {
        let with_objects = with_objects.next().expect("one for each");
        let clock = &with_clock[HEAD..with_clock.len() - TAIL];
        let mut frame = [&with_objects[..HEAD], clock, &with_objects[HEAD + NO_CLOCK..]].concat();
        let checksum = crc32fast::hash(&frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        frame
    })
}

#[test]
fn a_short_frame_that_implies_more_than_a_frame_may_is_an_error() {
    const LIVES: usize = 1 << 10;
    let clock = lives(LIVES);
    let most = IMPLIED_MAX / LIVES;
    // As much as may be is understood, and is no other message than the one that says everything.
    let frames = frames_that_imply(most, &clock);
    for (frame, message) in frames.into_iter().zip(answers(most, &clock, &clock)) {
        assert!(frame.len() < 100_000, "{} bytes", frame.len());
        assert!(wire::decode(&frame) == Ok((View::default(), message)));
    }
    for count in [most + 1, 100_000] {
        for frame in frames_that_imply(count, &clock) {
            let kind = frame[5];
            assert!(wire::decode(&frame) == Err(DecodeError::Body(kind)), "{count} objects");
        }
    }
    // Of no object anything may be implied, and by an empty clock of any number.
    for frame in
        frames_that_imply(0, &lives(2 * LIVES)).into_iter().chain(frames_that_imply(100_000, &lives(0)))
    {
        assert!(wire::decode(&frame).is_ok());
    }
}

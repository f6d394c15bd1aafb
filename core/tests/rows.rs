//! What an object costs at rest, and what becomes of the numbers that stand for actors when writes fail.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, Table, actors, key_of};
use godown_core::actors::Actors;
use godown_core::causal::{Context, Dot};
use godown_core::hlc::Hlc;
use godown_core::id::{Life, NodeId, OpId};
use godown_core::input::{Call, Reply, Wish};
use godown_core::key::{Key, Partition};
use godown_core::kind::{Object, Sibling};
use godown_core::message::{Change, Message, Value};
use godown_core::stored::{self, Row, RowKey};

const N1: NodeId = NodeId(1);
const N3: NodeId = NodeId(3);
/// The most bytes that an object may take at rest beyond its key, value and content type.
const METADATA_MAX: usize = 24;

fn sibling(value: &str) -> Sibling {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Sibling { value, content_type: "text/plain".into(), at: Hlc(u64::MAX), expires: 0 }
}

/// Bytes of a row beyond its key, and the value and content type of `object`.
fn metadata(key: &Key, row: &RowKey, value: &Bytes, object: &Object) -> usize {
    row.0.len() + value.len() - key.0.len() - object.size()
}

#[test]
fn an_object_at_rest_has_its_metadata_in_24_bytes() {
    let key = key_of("key");
    for (actor, n, bytes) in [(0, 1, 20), (126, (1 << 28) - 1, 23), (127, (1 << 28) - 1, METADATA_MAX)] {
        let mut actors = Actors::new();
        for life in 0..=actor {
            actors.number(Life(life));
        }
        for value in ["", "value"] {
            let mut object =
                Object::delta(Context::new(), Dot { actor: Life(actor), n }, Some(sibling(value)));
            object.context = Context::new();
            let row = stored::object_row(Partition(0), &key, Some(&object), &mut actors);
            let value = row.value.expect("a row to put");
            assert_eq!(metadata(&key, &row.key, &value, &object), bytes);
            assert_eq!(stored::read_object(&row.key, &value, &actors), Ok(object));
        }
    }
}

#[test]
fn ten_thousand_keys_of_a_few_actors_have_their_metadata_in_24_bytes_each() {
    const KEYS: usize = 10_000;
    let mut cluster = Cluster::new(3, |settings| settings.partitions = 16);
    let put = |cluster: &mut Cluster, number: usize| {
        let bytes = Bytes::from(format!("value {number}"));
        let value = Some(Value { bytes, content_type: "application/octet-stream".into(), ttl: None });
        let change = Change { key: key_of(&format!("key {number}")), seen: Context::new(), value };
        let id = cluster.call(NodeId(number as u64 % 3 + 1), Call::Put { change, wish: Wish::default() });
        assert!(matches!(cluster.replies[&id], Reply::Stored { .. }));
        cluster.told.clear();
        cluster.sent.clear();
    };
    for number in 0..KEYS {
        if number % (KEYS / 4) == KEYS / 8 {
            let id = NodeId((number % 3 + 1) as u64);
            cluster.crash(id);
            cluster.start(id);
        }
        put(&mut cluster, number);
    }
    // What a crash or a message under way left behind is reconciled, pruned and stripped.
    for _ in 0..100 {
        if cluster.nodes().all(|node| node.is_quiet()) {
            break;
        }
        cluster.pass(Duration::from_secs(3600));
    }
    assert!(cluster.nodes().all(|node| node.is_quiet()), "the cluster came to rest");
    for machine in cluster.machines.values() {
        let actors = actors(&machine.table);
        let (mut objects, mut bytes) = (0, 0);
        for (row, value) in &machine.table {
            let Some((partition, key)) = stored::key_of(row) else { continue };
            let object = stored::read_object(row, value, &actors[&partition]).expect("a good row");
            let metadata = metadata(&key, row, value, &object);
            assert!(metadata <= METADATA_MAX, "{metadata} bytes for {key}: {object:?}");
            objects += 1;
            bytes += metadata;
        }
        assert_eq!(objects, KEYS);
        let lives = actors.values().map(Actors::len).max().unwrap_or(0);
        eprintln!("{:.2} bytes of metadata a key, by at most {lives} actors", bytes as f64 / objects as f64);
        assert!(lives > 3, "restarts made new actors");
    }
}

/// The row of an object with one value, as the version that knew no table of actors wrote it.
fn row_of_version_1(partition: Partition, key: &str, dot: Dot, value: &str) -> Row {
    let row = stored::object_key(partition, &key_of(key));
    let small = |n: u128| u8::try_from(n).expect("a small number");
    let lengths = [1, small(dot.actor.0), small(dot.n.into()), small(value.len() as u128)];
    let body = [&lengths[..], value.as_bytes(), &[0, 9, 0, 0]].concat();
    let mut sum = crc32fast::Hasher::new();
    sum.update(&[1]);
    sum.update(&row.0);
    sum.update(&body);
    let stored = [&[1][..], &sum.finalize().to_le_bytes(), &body].concat();
    Row { key: row, value: Some(stored.into()) }
}

#[test]
fn rows_of_version_1_are_read_and_rewritten_with_their_key() {
    let mut cluster = Cluster::new(1, |_| {});
    cluster.crash(N1);
    for key in ["a", "b"] {
        let Row { key, value } = row_of_version_1(Partition(0), key, Dot { actor: Life(77), n: 1 }, "old");
        cluster.machines.get_mut(&N1).expect("n1").table.insert(key, value.expect("a row to put"));
    }
    cluster.start(N1);
    for key in ["a", "b"] {
        let id = cluster.get(N1, key);
        let Reply::Got { siblings, .. } = &cluster.replies[&id] else { panic!("{:?}", cluster.replies[&id]) };
        assert_eq!(siblings.iter().map(|sibling| &sibling.value[..]).collect::<Vec<_>>(), [b"old"]);
    }
    cluster.put(N1, "a", Some("new"), Context::new());
    let format = |key| cluster.machines[&N1].table[&stored::object_key(Partition(0), &key_of(key))][0];
    assert_eq!((format("a"), format("b")), (2, 1));
    cluster.crash(N1);
    cluster.start(N1);
    let mut values = cluster.values(N1, "a");
    values.sort();
    assert_eq!((values, cluster.values(N1, "b")), (vec!["new".into(), "old".into()], vec!["old".into()]));
}

/// A write that an actor of its own has made, sent to n3 by n1.
fn store(cluster: &mut Cluster, actor: u128, key: &str) {
    let dot = Dot { actor: Life(actor), n: 1 };
    let delta = Object::delta(Context::new(), dot, Some(sibling(key)));
    let op = OpId { origin: Life(50), n: actor as u64 };
    cluster.peer(N3, N1, Message::Store { op, key: key_of(key), dot, delta });
}

fn lives(table: &Table) -> Vec<Life> {
    let actors = actors(table).remove(&Partition(0)).unwrap_or_default();
    (0..actors.len() as u64).map(|number| actors.life(number).expect("it was given")).collect()
}

#[test]
fn whichever_of_several_writes_fails_every_stored_object_names_stored_actors() {
    let keys = ["a", "b", "c"];
    for failing in 0..8u8 {
        let mut cluster = Cluster::new(3, |_| {});
        for (place, key) in keys.iter().enumerate() {
            cluster.hold(N3);
            store(&mut cluster, 90 + place as u128, key);
            // The next write is made while this one is under way.
        }
        for place in 0..3 {
            if failing & (1 << place) == 0 { cluster.land_first(N3) } else { cluster.fail_first(N3) }
        }
        cluster.release(N3);
        // One more write: it carries what has failed.
        store(&mut cluster, 93, "d");
        assert_eq!(lives(&cluster.machines[&N3].table), [90, 91, 92, 93].map(Life), "{failing:03b}");
        cluster.crash(N3);
        cluster.start(N3);
        for (place, key) in keys.iter().enumerate() {
            let landed = failing & (1 << place) == 0;
            assert_eq!(cluster.values(N3, key).len(), usize::from(landed), "{key} with {failing:03b}");
        }
        assert_eq!(cluster.values(N3, "d"), ["d"]);
    }
}

#[test]
fn an_actors_row_is_written_until_it_is_on_disk_and_then_no_more() {
    let mut cluster = Cluster::new(3, |_| {});
    let actors_written = |cluster: &mut Cluster| {
        let lines =
            std::mem::take(&mut cluster.told).into_iter().filter(|line| line.starts_with("n3: on disk"));
        lines.map(|line| line.matches("actor").count()).collect::<Vec<_>>()
    };
    cluster.hold(N3);
    store(&mut cluster, 90, "a");
    store(&mut cluster, 91, "b");
    cluster.release(N3);
    assert_eq!(actors_written(&mut cluster), [1, 2], "the first may still fail when the second is made");
    store(&mut cluster, 92, "c");
    assert_eq!(actors_written(&mut cluster), [1]);
    // The life's own first write, and its second.
    cluster.put(N3, "d", Some("v"), Context::new());
    cluster.put(N3, "e", Some("v"), Context::new());
    assert_eq!(actors_written(&mut cluster), [1, 0]);
}

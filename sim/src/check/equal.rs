//! Replicas are equal in the end: every one of a key's replicas holds the same siblings under the same dots.
//!
//! Judged from the disks and not from what nodes say: rows are decoded as a starting node would. Contexts are not
//! compared; replicas may remember the same past in different words. Where anti-entropy runs, clocks must be equal
//! as well. No node may hold a key that is not its own.

use std::collections::BTreeMap;

use godown_core::causal::{Clock, Dot};
use godown_core::key::{Key, Partition};
use godown_core::layout::Layout;

use super::{Check, Failure};
use crate::disk::{Disk, Objects};
use crate::record::{Held, Record};
use crate::scenario::{Scenario, node_id, place_of, plan};
use crate::workload::identity;

/// The siblings on one disk, by key.
type Siblings = BTreeMap<(Partition, Key), Vec<(Dot, Vec<u8>)>>;

/// The siblings on a disk.
///
/// # Errors
/// In words, a row that is not what was written.
fn siblings(layout: &Layout, disk: &Disk) -> Result<Siblings, String> {
    let mut found = Siblings::new();
    let last = layout.partitions().next_back().expect("there is a partition");
    for (partition, key, object) in disk.objects().between(Partition(0), last) {
        let object = object.map_err(|error| error.to_string())?;
        let siblings = object.store.0.iter().map(|(dot, sibling)| (*dot, sibling.value.to_vec()));
        let siblings: Vec<_> = siblings.collect();
        if !siblings.is_empty() {
            found.insert((partition, key), siblings);
        }
    }
    Ok(found)
}

/// Says in which way replicas differ; None when they are equal. The clock of each node's partition comes from `clock`.
#[must_use]
pub fn difference<'a>(
    scenario: &Scenario,
    layout: &Layout,
    disks: &[&Disk],
    clock: impl Fn(usize, Partition) -> Option<&'a Clock>,
) -> Option<Failure> {
    if !scenario.leaves_repair_to_reads()
        && let Some(difference) = clocks_differ(layout, clock)
    {
        return Some(difference);
    }
    let mut all = Vec::with_capacity(disks.len());
    for (node, disk) in disks.iter().enumerate() {
        match siblings(layout, disk) {
            Ok(siblings) => all.push(siblings),
            Err(error) => return Some(differ(format!("n{}: {error}", node + 1), &[node])),
        }
    }
    for (node, held) in all.iter().enumerate() {
        for ((partition, key), siblings) in held {
            if !layout.holds(node_id(node), *partition) {
                return Some(differ(format!("n{} holds {key}, which is not its own", node + 1), &[node]));
            }
            for other in layout.primaries(*partition).iter().map(|id| place_of(*id)) {
                let theirs = all[other].get(&(*partition, key.clone()));
                if theirs != Some(siblings) {
                    let theirs = theirs.map_or(&[][..], Vec::as_slice);
                    let says = format!(
                        "n{} holds {} of {key}, n{} holds {}",
                        node + 1,
                        shown(siblings),
                        other + 1,
                        shown(theirs)
                    );
                    let number = plan::key(&key.to_string()).ok();
                    return Some(Failure { key: number, ..differ(says, &[node, other]) });
                }
            }
        }
    }
    None
}

fn clocks_differ<'a>(
    layout: &Layout,
    clock: impl Fn(usize, Partition) -> Option<&'a Clock>,
) -> Option<Failure> {
    for partition in layout.partitions() {
        let nodes: Vec<usize> = layout.primaries(partition).iter().map(|id| place_of(*id)).collect();
        for pair in nodes.windows(2) {
            let [one, other] = [clock(pair[0], partition), clock(pair[1], partition)];
            if one != other {
                let told = |clock: Option<&Clock>| {
                    clock.map_or("nothing".to_owned(), |clock| format!("{:?}", clock.as_context()))
                };
                let says = format!(
                    "the clocks of {partition:?} differ: n{} has seen {}, n{} {}",
                    pair[0] + 1,
                    told(one),
                    pair[1] + 1,
                    told(other)
                );
                return Some(differ(says, pair));
            }
        }
    }
    None
}

fn differ(says: String, nodes: &[usize]) -> Failure {
    Failure::new(Check::Equal, says).on(nodes)
}

fn shown(siblings: &[(Dot, Vec<u8>)]) -> String {
    let shown = siblings.iter().map(|(dot, value)| format!("{}@{dot}", identity(value)));
    format!("[{}]", shown.collect::<Vec<_>>().join(" "))
}

/// What every replica of every key of the scenario holds, for the final reads of a history.
#[must_use]
pub fn held(record: &Record, layout: &Layout, disks: &[&Disk]) -> Vec<Held> {
    let mut held = Vec::new();
    let objects: Vec<Objects<'_>> = disks.iter().map(|disk| disk.objects()).collect();
    for (place, key) in record.keys().iter().enumerate().map(|(place, key)| (place, Scenario::key(*key))) {
        let partition = layout.partition(&key);
        for node in layout.primaries(partition).iter().map(|id| place_of(*id)) {
            let object = objects[node].of(partition, &key).and_then(Result::ok);
            let ids = object.iter().flat_map(|object| object.siblings().map(|s| identity(&s.value)));
            held.push(Held { node, key: place, ids: ids.collect() });
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::actors::Actors;
    use godown_core::causal::Context;
    use godown_core::hlc::Hlc;
    use godown_core::id::{ClusterId, Life};
    use godown_core::kind::{Object, Sibling};
    use godown_core::layout::Member;
    use godown_core::stored;

    use super::*;

    /// Three nodes that all hold the one key, and a disk for each with siblings of these identities.
    fn disks(ids: [&[u64]; 3]) -> (Scenario, Layout, Vec<Disk>) {
        let scenario = Scenario::plain();
        let members = (0..3).map(|place| Member::plain(node_id(place))).collect();
        let layout = Layout::first(ClusterId(7), members, scenario.partitions, 3).expect("a layout");
        let key = Scenario::key(KEY);
        let partition = layout.partition(&key);
        let disk = |ids: &[u64]| {
            let mut object = Object::default();
            for &n in ids {
                let sibling = Sibling {
                    value: Bytes::from(n.to_string()),
                    content_type: Bytes::new(),
                    at: Hlc(0),
                    expires: 0,
                };
                let actor = Life(1);
                object.join(Object::delta(Context::new(), Dot { actor, n }, Some(sibling)));
            }
            let mut disk = Disk::default();
            let mut actors = Actors::new();
            let mut rows = vec![stored::object_row(partition, &key, Some(&object), &mut actors)];
            rows.extend(stored::actor_rows(partition, &actors));
            disk.write(rows, None);
            disk
        };
        let disks = ids.map(disk).into();
        (scenario, layout, disks)
    }

    const KEY: u32 = 7;

    fn differ(ids: [&[u64]; 3]) -> Option<Failure> {
        let (scenario, layout, disks) = disks(ids);
        let disks: Vec<&Disk> = disks.iter().collect();
        difference(&scenario, &layout, &disks, |_, _| None)
    }

    #[test]
    fn replicas_with_the_same_siblings_are_equal() {
        assert_eq!(differ([&[1, 2], &[1, 2], &[1, 2]]), None);
        assert_eq!(differ([&[], &[], &[]]), None);
    }

    #[test]
    fn a_replica_that_lacks_a_sibling_or_holds_another_differs() {
        for ids in [[&[1, 2][..], &[1, 2], &[1]], [&[][..], &[1], &[1]], [&[1][..], &[2], &[1]]] {
            let Failure { says, nodes, key, .. } = differ(ids).expect("they differ");
            assert!(says.contains(" holds [") && says.contains("@00000000:"), "{says}");
            assert!(nodes.len() == 2 && key == Some(KEY), "{nodes:?} {key:?}");
        }
    }

    #[test]
    fn final_reads_show_what_each_replica_holds() {
        let (_, layout, disks) = disks([&[1, 2], &[1], &[]]);
        let disks: Vec<&Disk> = disks.iter().collect();
        let record = Record::new(vec![KEY]);
        let mut held: Vec<Vec<u64>> =
            held(&record, &layout, &disks).into_iter().map(|held| held.ids).collect();
        held.sort_unstable();
        assert_eq!(held, [vec![], vec![1], vec![1, 2]]);
    }
}

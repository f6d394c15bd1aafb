//! Placement: which seats hold which partition, as a pure function of the seats and of the table before.
//!
//! Every partition ranks all seats by weighted rendezvous hashing (Thaler and Ravishankar 1998; the weighted score
//! −weight / ln h is that of Schindelhauer and Schomaker 2005), and takes the best that its zones allow, those that
//! hold it already before all others. That table moves as little as any, but is uneven. Then seats that hold more
//! than their share hand replicas to seats that hold less, each time along the cheapest chain of hand-overs
//! (successive shortest paths: Jewell 1958, Busacker and Gowen 1960), until everybody is within its quota.
//!
//! So three promises hold at once and always, and the tests prove each. The replicas of a partition are spread over the
//! zones as evenly as the zones' sizes allow. Every seat's load is within its [`quotas`]: at most its weighted share,
//! rounded up. And no other table that keeps these two promises moves fewer replicas. Nothing here knows names,
//! epochs or who is reachable; all arithmetic is on integers, so every machine draws the same table.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use xxhash_rust::xxh3::xxh3_64;

use crate::config::WEIGHT_MAX;
use crate::id::NodeId;

/// One part in so many of its share a seat may lack, rather than that replicas move to fill it up.
const SLACK: u128 = 64;

/// Bits behind the point of a [`rarity`].
const FRACTION_BITS: u32 = 40;

/// A member as placement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Who sits there.
    pub node: NodeId,
    /// The number of its zone: seats of one zone are expected to fail together.
    pub zone: u32,
    /// Its share of the load, beside the others', 1 to 1,000.
    pub weight: u32,
}

/// The table that a new one should differ little from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Previous<'a> {
    /// `copies` nodes per partition, one partition after the other, in any order. Nodes that have no seat any more
    /// are passed over. Where one node takes another's place, its id stands here instead of the other's.
    pub table: &'a [NodeId],
    /// Nodes per partition.
    pub copies: usize,
}

/// `copies` nodes for each of `partitions`, one partition after the other, in preference order: a random one that
/// stays the same for those who stay, in which each holder is first in its part of what it holds.
///
/// Memory grows with the square of the seats and with seats times partitions, time somewhat faster: 256 partitions on
/// 100 seats take milliseconds, the most partitions on 100 seats a second, and on 1,000 seats half a minute.
///
/// # Panics
/// When there are fewer seats than `copies`, or two seats of one node.
pub(crate) fn assign(
    partitions: u32,
    copies: usize,
    seats: &[Seat],
    previous: Option<Previous<'_>>,
) -> Vec<NodeId> {
    assert!(copies <= seats.len(), "{copies} copies on {} seats", seats.len());
    let mut draft = Draft::new(partitions, copies, seats, previous);
    draft.level(|load, quota| load > quota.most, |load, quota| load < quota.most);
    draft.level(|load, quota| load > quota.least, |load, quota| load < quota.least);
    draft.check();
    draft.into_table()
}

/// The nodes of all seats by their rendezvous score for `partition`, the best first.
pub(crate) fn rank(partition: u32, seats: &[Seat]) -> Vec<NodeId> {
    ranked(partition, seats).into_iter().map(|index| seats[index].node).collect()
}

/// From this many to that many, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    least: u32,
    most: u32,
}

/// What a seat has to do with a partition.
#[derive(Clone, Copy, Default)]
struct Cell {
    holds: bool,
    held_before: bool,
}

/// A table under construction, complete and legal for the zones at any time. Seats go by their index.
struct Draft {
    /// In the order of their nodes.
    seats: Vec<Seat>,
    /// The zone of each seat, numbered from zero without gaps.
    zones: Vec<usize>,
    /// How many replicas of one partition each zone holds.
    spread: Vec<Bounds>,
    /// How many replicas each seat should hold.
    quotas: Vec<Bounds>,
    /// How many replicas each seat holds.
    loads: Vec<u32>,
    /// The seats of each partition, `copies` apiece.
    rows: Vec<usize>,
    copies: usize,
    /// By partition, then by seat.
    cells: Vec<Cell>,
    /// By partition, then by zone: how many replicas of the partition the zone holds.
    in_zone: Vec<u32>,
    /// By seat that would give, then by seat that would take: in how many partitions it may, by [`Draft::cost`] plus 1.
    swaps: Vec<[u32; 3]>,
}

impl Draft {
    /// The table that moves the fewest replicas when loads do not matter, by rank where that leaves a choice.
    fn new(partitions: u32, copies: usize, seats: &[Seat], previous: Option<Previous<'_>>) -> Self {
        let mut seats = seats.to_vec();
        seats.sort_unstable_by_key(|seat| seat.node);
        assert!(seats.windows(2).all(|pair| pair[0].node != pair[1].node), "two seats of one node");
        let zones = dense_zones(&seats);
        let spread = spread(copies, &zones);
        let quotas = quotas(partitions, copies, &seats, &zones, &spread);
        let mut draft = Self {
            loads: vec![0; seats.len()],
            rows: Vec::with_capacity(partitions as usize * copies),
            cells: vec![Cell::default(); partitions as usize * seats.len()],
            in_zone: vec![0; partitions as usize * spread.len()],
            swaps: vec![[0; 3]; seats.len() * seats.len()],
            seats,
            zones,
            spread,
            quotas,
            copies,
        };
        if let Some(previous) = previous {
            draft.remember(previous);
        }
        for partition in 0..partitions as usize {
            draft.seat(partition);
            draft.count(partition, |count| *count += 1);
        }
        draft
    }

    fn remember(&mut self, previous: Previous<'_>) {
        for (partition, row) in previous.table.chunks(previous.copies.max(1)).enumerate() {
            for &node in row {
                let seat = self.seats.binary_search_by_key(&node, |seat| seat.node);
                let cell = seat.ok().and_then(|seat| self.cells.get_mut(partition * self.seats.len() + seat));
                if let Some(cell) = cell {
                    cell.held_before = true;
                }
            }
        }
    }

    /// Gives `partition` its first seats. What the zones allow is a matroid, so taking the best seat that still fits,
    /// again and again, keeps as many as any choice could.
    fn seat(&mut self, partition: usize) {
        let mut order = ranked(partition as u32, &self.seats);
        order.sort_by_key(|&seat| !self.cell(partition, seat).held_before);
        // What is left once every zone gets its least.
        let mut spare = self.copies as u32 - self.spread.iter().map(|zone| zone.least).sum::<u32>();
        for seat in order {
            let (zone, held) = (self.spread[self.zones[seat]], self.in_zone(partition, self.zones[seat]));
            let is_extra = held >= zone.least;
            if held == zone.most || (is_extra && spare == 0) {
                continue;
            }
            spare -= u32::from(is_extra);
            self.rows.push(seat);
            self.take(partition, seat);
        }
        assert_eq!(self.rows.len(), (partition + 1) * self.copies, "a partition has all its copies");
    }

    /// Evens loads out until no seat gives any more, or none takes: each time along the cheapest chain of hand-overs
    /// from a seat that gives to one that takes.
    ///
    /// The table before moved the fewest replicas that its loads allow, and a cheapest chain keeps that true: this is
    /// why the end result moves the fewest, too. Of equally cheap chains it must be a shortest: in a longer one, two
    /// hand-overs of the same partition could each be legal for the zones and not be so together.
    fn level(&mut self, gives: impl Fn(u32, Bounds) -> bool, takes: impl Fn(u32, Bounds) -> bool) {
        while let Some(chain) = self.cheapest_chain(&gives, &takes) {
            if let [from, to] = chain[..] {
                let cost = self.cheapest_swap(from, to).expect("a chain is made of swaps");
                self.hand_over_directly(cost, &gives, &takes);
            } else {
                for hop in chain.windows(2) {
                    self.hand_over(hop[0], hop[1]);
                }
            }
        }
    }

    /// Bellman and Ford's search with a queue. No cycle of swaps has a negative cost, so each seat is queued at most
    /// once per hop of the longest chain.
    fn cheapest_chain(
        &self,
        gives: impl Fn(u32, Bounds) -> bool,
        takes: impl Fn(u32, Bounds) -> bool,
    ) -> Option<Vec<usize>> {
        let count = self.seats.len();
        let asks = |seat: usize| takes(self.loads[seat], self.quotas[seat]);
        let mut queue: VecDeque<usize> =
            (0..count).filter(|&seat| gives(self.loads[seat], self.quotas[seat])).collect();
        if queue.is_empty() || !(0..count).any(asks) {
            return None;
        }
        let mut before = vec![None; count];
        let mut distance = vec![i64::MAX; count];
        let mut is_queued = vec![false; count];
        for &seat in &queue {
            (distance[seat], is_queued[seat]) = (0, true);
        }
        let mut turns = 0;
        while let Some(from) = queue.pop_front() {
            is_queued[from] = false;
            turns += 1;
            assert!(turns <= count * count, "a table moved more replicas than its loads force");
            for to in 0..count {
                let Some(cost) = self.cheapest_swap(from, to) else { continue };
                // A chain has fewer than `count` hops, so they decide only between equal costs.
                let through = distance[from] + cost * count as i64 + 1;
                if through < distance[to] {
                    (distance[to], before[to]) = (through, Some(from));
                    if !core::mem::replace(&mut is_queued[to], true) {
                        queue.push_back(to);
                    }
                }
            }
        }
        let end = (0..count).filter(|&seat| asks(seat) && distance[seat] < i64::MAX);
        let mut chain = vec![end.min_by_key(|&seat| distance[seat])?];
        while let Some(from) = before[chain[chain.len() - 1]] {
            chain.push(from);
        }
        chain.reverse();
        Some(chain)
    }

    /// All hand-overs of this cost from a seat that gives to one that takes. The caller knows that no chain is cheaper,
    /// and none becomes cheaper by these: each is a cheapest chain of its own.
    fn hand_over_directly(
        &mut self,
        cost: i64,
        gives: impl Fn(u32, Bounds) -> bool,
        takes: impl Fn(u32, Bounds) -> bool,
    ) {
        let mut offers = Vec::new();
        for (place, &from) in self.rows.iter().enumerate() {
            let partition = place / self.copies;
            if gives(self.loads[from], self.quotas[from]) {
                let takers = (0..self.seats.len()).filter(|&to| {
                    takes(self.loads[to], self.quotas[to]) && self.cost(partition, from, to) == Some(cost)
                });
                let best = takers.map(|to| (Reverse(self.hash(partition, to)), partition, from, to)).min();
                offers.extend(best);
            }
        }
        offers.sort_unstable();
        for (_, partition, from, to) in offers {
            if gives(self.loads[from], self.quotas[from])
                && takes(self.loads[to], self.quotas[to])
                && self.cost(partition, from, to) == Some(cost)
            {
                self.swap(partition, from, to);
            }
        }
    }

    /// One hand-over, the cheapest, of the partition that suits `to` best.
    fn hand_over(&mut self, from: usize, to: usize) {
        let cost = self.cheapest_swap(from, to);
        let partitions = (0..self.rows.len() / self.copies)
            .filter(|&partition| cost.is_some() && self.cost(partition, from, to) == cost);
        let best = partitions.max_by_key(|&partition| (self.hash(partition, to), Reverse(partition)));
        self.swap(best.expect("a shortest chain does not spoil its own hops"), from, to);
    }

    fn swap(&mut self, partition: usize, from: usize, to: usize) {
        self.count(partition, |count| *count -= 1);
        let row = &mut self.rows[partition * self.copies..][..self.copies];
        *row.iter_mut().find(|seat| **seat == from).expect("`from` holds the partition") = to;
        self.give(partition, from);
        self.take(partition, to);
        self.count(partition, |count| *count += 1);
    }

    fn take(&mut self, partition: usize, seat: usize) {
        self.cells[partition * self.seats.len() + seat].holds = true;
        self.in_zone[partition * self.spread.len() + self.zones[seat]] += 1;
        self.loads[seat] += 1;
    }

    fn give(&mut self, partition: usize, seat: usize) {
        self.cells[partition * self.seats.len() + seat].holds = false;
        self.in_zone[partition * self.spread.len() + self.zones[seat]] -= 1;
        self.loads[seat] -= 1;
    }

    /// Puts the swaps that `partition` allows into the count of all, or takes them out.
    fn count(&mut self, partition: usize, change: impl Fn(&mut u32)) {
        let count = self.seats.len();
        for place in partition * self.copies..(partition + 1) * self.copies {
            let from = self.rows[place];
            for to in 0..count {
                if let Some(cost) = self.cost(partition, from, to) {
                    change(&mut self.swaps[from * count + to][(cost + 1) as usize]);
                }
            }
        }
    }

    /// How many more replicas move, −1 to 1, when `from` hands its replica to `to`; nothing where it may not.
    fn cost(&self, partition: usize, from: usize, to: usize) -> Option<i64> {
        let (giver, taker) = (self.cell(partition, from), self.cell(partition, to));
        let (left, entered) = (self.zones[from], self.zones[to]);
        let fits = left == entered
            || (self.in_zone(partition, left) > self.spread[left].least
                && self.in_zone(partition, entered) < self.spread[entered].most);
        (giver.holds && !taker.holds && fits)
            .then(|| i64::from(giver.held_before) - i64::from(taker.held_before))
    }

    /// The least [`Draft::cost`] of any partition.
    fn cheapest_swap(&self, from: usize, to: usize) -> Option<i64> {
        let swaps = &self.swaps[from * self.seats.len() + to];
        swaps.iter().position(|&partitions| partitions > 0).map(|class| class as i64 - 1)
    }

    fn cell(&self, partition: usize, seat: usize) -> Cell {
        self.cells[partition * self.seats.len() + seat]
    }

    fn in_zone(&self, partition: usize, zone: usize) -> u32 {
        self.in_zone[partition * self.spread.len() + zone]
    }

    fn hash(&self, partition: usize, seat: usize) -> u64 {
        hash(partition as u32, self.seats[seat].node)
    }

    /// Fractions of a replica would fill all quotas exactly, and a flow that fractions can fill, whole numbers can.
    fn check(&self) {
        for (seat, (load, quota)) in self.seats.iter().zip(self.loads.iter().zip(&self.quotas)) {
            assert!((quota.least..=quota.most).contains(load), "{} holds {load}, not {quota:?}", seat.node);
        }
    }

    fn into_table(mut self) -> Vec<NodeId> {
        for (partition, row) in self.rows.chunks_mut(self.copies.max(1)).enumerate() {
            row.sort_by_cached_key(|&seat| turn(partition as u32, self.seats[seat].node));
        }
        self.rows.iter().map(|&seat| self.seats[seat].node).collect()
    }
}

/// The zone of each seat, numbered from zero without gaps.
fn dense_zones(seats: &[Seat]) -> Vec<usize> {
    let mut names: Vec<u32> = seats.iter().map(|seat| seat.zone).collect();
    names.sort_unstable();
    names.dedup();
    seats.iter().map(|seat| names.partition_point(|&name| name < seat.zone)).collect()
}

/// How many of a partition's `copies` each zone holds, so that they are spread as evenly as the zones' sizes allow:
/// one or none where there are zones enough, otherwise each zone the same number, give or take one, and a zone that
/// has fewer seats than that one on each.
fn spread(copies: usize, zones: &[usize]) -> Vec<Bounds> {
    let mut sizes = vec![0; zones.iter().max().map_or(0, |&zone| zone + 1)];
    for &zone in zones {
        sizes[zone] += 1_usize;
    }
    let room = |level: usize| sizes.iter().map(|&size| size.min(level)).sum::<usize>();
    let level = (0..=copies).find(|&level| room(level) >= copies).expect("as many seats as copies");
    let bounds = |&size: &usize| Bounds {
        least: size.min(level.saturating_sub(1)) as u32,
        most: size.min(level) as u32,
    };
    sizes.iter().map(bounds).collect()
}

/// How many replicas each seat should hold: its share by weight, rounded up, at most; and that share less one part in
/// [`SLACK`], rounded down, at least. What a zone or a seat cannot hold is shared among the others.
fn quotas(partitions: u32, copies: usize, seats: &[Seat], zones: &[usize], spread: &[Bounds]) -> Vec<Bounds> {
    let all = u128::from(partitions);
    let mut of_zones: Vec<Vessel> = (spread.iter())
        .map(|zone| Vessel {
            weight: 0,
            least: all * u128::from(zone.least),
            most: all * u128::from(zone.most),
        })
        .collect();
    for (seat, &zone) in seats.iter().zip(zones) {
        of_zones[zone].weight += weight(seat);
    }
    let (parts, unit) = pour(all * copies as u128, &of_zones);
    let mut quotas = vec![Bounds { least: 0, most: 0 }; seats.len()];
    for (zone, &part) in parts.iter().enumerate() {
        let members: Vec<usize> = (0..seats.len()).filter(|&seat| zones[seat] == zone).collect();
        let of_seats: Vec<Vessel> = (members.iter())
            .map(|&seat| Vessel { weight: weight(&seats[seat]), least: 0, most: all * unit })
            .collect();
        let (shares, fraction) = pour(part, &of_seats);
        for (&seat, share) in members.iter().zip(shares) {
            quotas[seat] = Bounds {
                least: (share * (SLACK - 1) / (unit * fraction * SLACK)) as u32,
                most: share.div_ceil(unit * fraction) as u32,
            };
        }
    }
    quotas
}

/// What takes part of a quantity, in proportion to its weight, within bounds.
struct Vessel {
    weight: u128,
    least: u128,
    most: u128,
}

/// Shares `quantity` out by weight, within the bounds, which must allow it. Exact: the parts are counted in units, and
/// the second number says how many units make one.
fn pour(quantity: u128, vessels: &[Vessel]) -> (Vec<u128>, u128) {
    let mut settled: Vec<Option<u128>> = vec![None; vessels.len()];
    // Every round but the last settles a vessel.
    loop {
        let open =
            || vessels.iter().zip(&settled).filter(|(_, part)| part.is_none()).map(|(vessel, _)| vessel);
        let unit = open().map(|vessel| vessel.weight).sum::<u128>().max(1);
        let left = quantity - settled.iter().flatten().sum::<u128>();
        let over = |vessel: &Vessel| (left * vessel.weight).saturating_sub(vessel.most * unit);
        let under = |vessel: &Vessel| (vessel.least * unit).saturating_sub(left * vessel.weight);
        let (excess, lack) = (open().map(over).sum::<u128>(), open().map(under).sum::<u128>());
        if excess == 0 && lack == 0 {
            let parts = vessels.iter().zip(&settled);
            let parts = parts.map(|(vessel, part)| part.map_or(left * vessel.weight, |part| part * unit));
            return (parts.collect(), unit);
        }
        // The greater trouble is certain to stay, whatever the smaller one gives or takes; so it is settled first.
        for (vessel, part) in vessels.iter().zip(&mut settled).filter(|(_, part)| part.is_none()) {
            if excess >= lack && over(vessel) > 0 {
                *part = Some(vessel.most);
            } else if excess < lack && under(vessel) > 0 {
                *part = Some(vessel.least);
            }
        }
    }
}

/// The indexes of `seats` by their score for `partition`, the best first.
fn ranked(partition: u32, seats: &[Seat]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..seats.len()).collect();
    order.sort_by_cached_key(|&seat| Standing::of(partition, &seats[seat]));
    order
}

/// A seat's score for a partition, the better the less: weight / rarity, descending; of equal ones by node.
#[derive(PartialEq, Eq)]
struct Standing {
    weight: u128,
    rarity: u128,
    node: NodeId,
}

impl Standing {
    fn of(partition: u32, seat: &Seat) -> Self {
        let rarity = u128::from(rarity(hash(partition, seat.node)));
        Self { weight: weight(seat), rarity, node: seat.node }
    }
}

impl Ord for Standing {
    fn cmp(&self, other: &Self) -> Ordering {
        // Fractions are compared crosswise, without a division that would round.
        (other.weight * self.rarity).cmp(&(self.weight * other.rarity)).then(self.node.cmp(&other.node))
    }
}

impl PartialOrd for Standing {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn weight(seat: &Seat) -> u128 {
    u128::from(seat.weight.clamp(1, WEIGHT_MAX))
}

fn hash(partition: u32, node: NodeId) -> u64 {
    let mut input = [0; 12];
    input[..4].copy_from_slice(&partition.to_le_bytes());
    input[4..].copy_from_slice(&node.0.to_le_bytes());
    xxh3_64(&input)
}

/// The place of `node` among the holders of `partition`, less before greater. Not its score: seats hold the partitions
/// for which they score high, the newest seats above all, and would stand first in too many of them.
fn turn(partition: u32, node: NodeId) -> (u64, NodeId) {
    let mut input = [0; 12];
    input[..8].copy_from_slice(&node.0.to_le_bytes());
    input[8..].copy_from_slice(&partition.to_le_bytes());
    (xxh3_64(&input), node)
}

/// −log₂ of the hash as a fraction of 2⁶⁴, in units of 2⁻⁴⁰, rounded up; never zero. Bit by bit, by squaring.
fn rarity(hash: u64) -> u64 {
    // No logarithm of zero.
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    // From 1 to below 2, with 63 bits behind the point.
    let mut mantissa = hash << zeros;
    let mut fraction = 0;
    for _ in 0..FRACTION_BITS {
        let square = u128::from(mantissa) * u128::from(mantissa);
        let bit = (square >> 127) as u64;
        fraction = fraction << 1 | bit;
        mantissa = (square >> (63 + bit)) as u64;
    }
    (u64::from(zeros + 1) << FRACTION_BITS) - fraction
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::eprintln;

    use proptest::prelude::*;

    use super::*;

    fn seat(node: u64, zone: u32, weight: u32) -> Seat {
        Seat { node: NodeId(node), zone, weight }
    }

    /// Seats of equal weight, in turn in each of some zones.
    fn equal(count: u64, zones: u32) -> Vec<Seat> {
        (1..=count).map(|node| seat(node, node as u32 % zones, 100)).collect()
    }

    fn loads(table: &[NodeId], seats: &[Seat]) -> Vec<usize> {
        seats.iter().map(|seat| table.iter().filter(|&&node| node == seat.node).count()).collect()
    }

    fn next(partitions: u32, copies: usize, seats: &[Seat], table: &[NodeId], before: usize) -> Vec<NodeId> {
        assign(partitions, copies, seats, Some(Previous { table, copies: before }))
    }

    /// Replicas that are somewhere in `after` where they were not in `before`.
    fn moved((before, copies_before): (&[NodeId], usize), (after, copies): (&[NodeId], usize)) -> usize {
        let rows = before.chunks(copies_before).zip(after.chunks(copies));
        rows.flat_map(|(old, new)| new.iter().filter(|node| !old.contains(node))).count()
    }

    /// The greatest load as a multiple of the share by weight, in thousandths.
    fn unevenness(table: &[NodeId], seats: &[Seat]) -> usize {
        let all: usize = seats.iter().map(|seat| seat.weight as usize).sum();
        let over = loads(table, seats).into_iter().zip(seats);
        over.map(|(load, seat)| 1_000 * load * all / (table.len() * seat.weight as usize))
            .max()
            .expect("seats")
    }

    fn bounds(seats: &[Seat], partitions: u32, copies: usize) -> (Vec<usize>, Vec<Bounds>, Vec<Bounds>) {
        let zones = dense_zones(seats);
        let spread = spread(copies, &zones);
        let quotas = quotas(partitions, copies, seats, &zones, &spread);
        (zones, spread, quotas)
    }

    /// Panics unless the table keeps the promises about each partition and each seat.
    fn assert_legal(table: &[NodeId], partitions: u32, copies: usize, seats: &[Seat]) {
        let (zones, _, quotas) = bounds(seats, partitions, copies);
        assert_eq!(table.len(), partitions as usize * copies);
        let size = |zone| zones.iter().filter(|&&other| other == zone).count();
        let zone_count = zones.iter().max().map_or(0, |&zone| zone + 1);
        for row in table.chunks(copies) {
            let places: Vec<usize> = row
                .iter()
                .map(|&node| seats.iter().position(|seat| seat.node == node).expect("a seat"))
                .collect();
            assert!(
                places.iter().enumerate().all(|(index, place)| !places[..index].contains(place)),
                "{row:?}"
            );
            let held = |zone| places.iter().filter(|&&place| zones[place] == zone).count();
            for (a, b) in (0..zone_count).flat_map(|a| (0..zone_count).map(move |b| (a, b))) {
                assert!(held(a) <= held(b) + 1 || held(b) == size(b), "{row:?} could be more even");
            }
        }
        for (load, quota) in loads(table, seats).into_iter().zip(quotas) {
            assert!((quota.least as usize..=quota.most as usize).contains(&load), "{load} of {quota:?}");
        }
    }

    /// Whether a table that keeps the promises could have more of `before` in it. It could if and only if there is a
    /// cycle of negative cost among the changes that single seats, zones and partitions allow (Klein 1967): here each of
    /// them is a vertex, where [`Draft`] knows only chains of seats.
    fn could_move_less(
        table: &[NodeId],
        partitions: u32,
        copies: usize,
        seats: &[Seat],
        before: Option<Previous<'_>>,
    ) -> bool {
        let (zones, spread, quotas) = bounds(seats, partitions, copies);
        let partition_at = seats.len() + 1;
        let zone_at = partition_at + partitions as usize;
        let rim = seats.len();
        let mut edges: Vec<(usize, usize, i64)> = Vec::new();
        for (index, load) in loads(table, seats).into_iter().enumerate() {
            let (load, quota) = (load as u32, quotas[index]);
            edges.extend((load < quota.most).then_some((index, rim, 0)));
            edges.extend((load > quota.least).then_some((rim, index, 0)));
        }
        for (partition, row) in table.chunks(copies).enumerate() {
            let old = before
                .map_or(&[][..], |before| before.table.chunks(before.copies).nth(partition).unwrap_or(&[]));
            for (zone, bounds) in spread.iter().enumerate() {
                let at = zone_at + partition * spread.len() + zone;
                let holds = |index: &usize| row.contains(&seats[*index].node);
                let members: Vec<usize> = (0..seats.len()).filter(|&index| zones[index] == zone).collect();
                let held = members.iter().filter(|&index| holds(index)).count() as u32;
                edges.extend((held > bounds.least).then_some((at, partition_at + partition, 0)));
                edges.extend((held < bounds.most).then_some((partition_at + partition, at, 0)));
                for index in members {
                    let price = i64::from(!old.contains(&seats[index].node));
                    edges.push(if holds(&index) { (index, at, -price) } else { (at, index, price) });
                }
            }
        }
        let mut distance = vec![0; zone_at + partitions as usize * spread.len()];
        for _ in 0..=distance.len() {
            let mut is_settled = true;
            for &(from, to, price) in &edges {
                if distance[from] + price < distance[to] {
                    (distance[to], is_settled) = (distance[from] + price, false);
                }
            }
            if is_settled {
                return false;
            }
        }
        true
    }

    #[test]
    fn loads_and_moves_are_the_measured_ones() {
        let doubled = |seats: &[Seat]| {
            let mut seats = seats.to_vec();
            seats[0].weight *= 2;
            seats
        };
        let cases = [
            ("3 to 4 nodes", equal(3, 1), equal(4, 1), 1_000, 192),
            ("6 to 9 nodes in 3 zones", equal(6, 3), equal(9, 3), 1_007, 252),
            ("one of 6 nodes doubled", equal(6, 1), doubled(&equal(6, 1)), 1_002, 90),
            ("one of 6 nodes in 3 zones doubled", equal(6, 3), doubled(&equal(6, 3)), 1_166, 42),
            ("5 to 4 nodes", equal(5, 1), equal(4, 1), 1_000, 0),
        ];
        for (name, seats, changed, load, moves) in cases {
            let before = assign(256, 3, &seats, None);
            let after = next(256, 3, &changed, &before, 3);
            let (measured, count) = (unevenness(&after, &changed), moved((&before, 3), (&after, 3)));
            eprintln!("{name}: {}.{:03} times the share, {count} moved", measured / 1_000, measured % 1_000);
            let leavers = before.iter().filter(|&&node| changed.iter().all(|seat| seat.node != node)).count();
            assert_eq!((measured, count), (load, moves.max(leavers)), "{name}");
        }
    }

    #[test]
    fn a_cluster_that_grows_and_shrinks_moves_no_more_than_its_quotas_force() {
        let mut table = assign(256, 1, &equal(1, 1), None);
        let mut copies = 1;
        for count in (2..=12).chain((1..12).rev()) {
            let seats = equal(count, 1);
            let wanted = seats.len().min(3);
            let after = next(256, wanted, &seats, &table, copies);
            assert_legal(&after, 256, wanted, &seats);
            // Somebody holds too much, or does not hold enough, or the copies are more than they were.
            let (_, _, quotas) = bounds(&seats, 256, wanted);
            let held = || loads(&table, &seats).into_iter().zip(&quotas);
            let kept: usize = held().map(|(load, quota)| load.min(quota.most as usize)).sum();
            let lack: usize = held().map(|(load, quota)| (quota.least as usize).saturating_sub(load)).sum();
            let least = lack.max((256 * wanted).saturating_sub(kept));
            assert_eq!(moved((&table, copies), (&after, wanted)), least, "to {count} seats");
            (table, copies) = (after, wanted);
        }
    }

    #[test]
    fn a_cluster_of_mixed_weights_and_zones_moves_as_little_as_it_can_at_every_step() {
        let seats: Vec<Seat> =
            (1..=12).map(|node| seat(node, (node * node) as u32 % 5, 1 << (node % 4))).collect();
        let mut table = assign(256, 1, &seats[..1], None);
        let mut copies = 1;
        for count in (2..=12).chain((1..12).rev()) {
            let (seats, wanted) = (&seats[..count], count.min(3));
            let previous = Previous { table: &table, copies };
            let after = assign(256, wanted, seats, Some(previous));
            assert_legal(&after, 256, wanted, seats);
            assert!(!could_move_less(&after, 256, wanted, seats, Some(previous)), "to {count} seats");
            (table, copies) = (after, wanted);
        }
    }

    #[test]
    fn each_seat_of_a_grown_cluster_is_preferred_in_about_a_third_of_what_it_holds() {
        let mut table = assign(4_096, 3, &equal(3, 1), None);
        for count in 4..=12 {
            table = next(4_096, 3, &equal(count, 1), &table, 3);
        }
        for seat in equal(12, 1) {
            let firsts = table.chunks(3).filter(|row| row[0] == seat.node).count();
            // Five standard deviations of 1,024 draws with a chance of one third.
            assert!(firsts.abs_diff(341) < 75, "{} is first in {firsts}", seat.node);
        }
    }

    #[test]
    fn when_one_seat_leaves_only_its_replicas_move() {
        for (count, zones) in [(5, 1), (6, 3), (12, 4), (7, 1)] {
            let seats = equal(count, zones);
            let before = assign(256, 3, &seats, None);
            for leaver in 0..seats.len() {
                let mut rest = seats.clone();
                let left = rest.remove(leaver);
                let after = next(256, 3, &rest, &before, 3);
                let freed = before.iter().filter(|&&node| node == left.node).count();
                let moves = moved((&before, 3), (&after, 3));
                // Where a zone has lost a seat, the others' quotas may be smaller or greater than they were.
                assert!(zones > 1 || moves == freed, "{moves} moved, {freed} freed");
                assert!(!could_move_less(
                    &after,
                    256,
                    3,
                    &rest,
                    Some(Previous { table: &before, copies: 3 })
                ));
            }
        }
    }

    #[test]
    fn a_successor_takes_exactly_the_replicas_of_the_node_that_it_replaces() {
        let seats = equal(6, 3);
        let before = assign(256, 3, &seats, None);
        let swap = |node: NodeId| if node == NodeId(2) { NodeId(99) } else { node };
        let mapped: Vec<NodeId> = before.iter().map(|&node| swap(node)).collect();
        let seats: Vec<Seat> = seats.into_iter().map(|seat| Seat { node: swap(seat.node), ..seat }).collect();
        assert_eq!(moved((&mapped, 3), (&next(256, 3, &seats, &mapped, 3), 3)), 0);
    }

    #[test]
    fn of_all_tables_of_a_small_cluster_none_that_keeps_the_promises_moves_less() {
        let (partitions, copies) = (4, 2);
        let pairs = |count: usize| (0..count).flat_map(move |b| (0..b).map(move |a| [a, b]));
        for zones in [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1], [0, 0, 1, 2], [0, 0, 0, 1]] {
            for weights in [[1, 1, 1, 1], [2, 1, 1, 1], [1, 1, 1, 5], [1, 2, 3, 4]] {
                let seats: Vec<Seat> =
                    (0..4).map(|index| seat(index as u64, zones[index], weights[index])).collect();
                let (zones, spread, quotas) = bounds(&seats, partitions, copies);
                let fits = |row: &[usize; 2]| {
                    let held = |zone| row.iter().filter(|&&seat| zones[seat] == zone).count() as u32;
                    (0..spread.len())
                        .all(|zone| (spread[zone].least..=spread[zone].most).contains(&held(zone)))
                };
                let rows: Vec<[usize; 2]> = pairs(4).filter(fits).collect();
                let tables: Vec<Vec<NodeId>> = (0..rows.len().pow(partitions))
                    .map(|case| {
                        (0..partitions)
                            .map(|at| rows[case / rows.len().pow(at) % rows.len()])
                            .collect::<Vec<_>>()
                    })
                    .filter(|rows| {
                        let load = |seat| rows.iter().flatten().filter(|&&held| held == seat).count() as u32;
                        (0..4).all(|seat| (quotas[seat].least..=quotas[seat].most).contains(&load(seat)))
                    })
                    .map(|rows| rows.iter().flatten().map(|&index| seats[index].node).collect())
                    .collect();
                // Every table of the past whose first and third, and second and fourth, partitions are alike.
                for (first, second) in pairs(5).flat_map(|a| pairs(5).map(move |b| (a, b))) {
                    let before: Vec<NodeId> =
                        [first, second, first, second].iter().flatten().map(|&n| NodeId(n as u64)).collect();
                    let after = next(partitions, copies, &seats, &before, 2);
                    let least = tables.iter().map(|table| moved((&before, 2), (table, copies))).min();
                    assert_eq!(
                        Some(moved((&before, 2), (&after, copies))),
                        least,
                        "{seats:?} after {before:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_table_is_the_same_on_every_machine_and_in_every_version() {
        let seats: Vec<Seat> = (1..=7_u64)
            .map(|node| seat(node.wrapping_mul(0x9e37_79b9_7f4a_7c15), node as u32 % 3, node as u32 * 50))
            .collect();
        let digest = |table: &[NodeId]| {
            xxh3_64(&table.iter().flat_map(|node| node.0.to_le_bytes()).collect::<Vec<u8>>())
        };
        let table = assign(256, 3, &seats, None);
        let grown = next(256, 3, &[&seats[..], &[seat(5, 0, 333)]].concat(), &table, 3);
        let ranks: Vec<NodeId> = (0..256).flat_map(|partition| rank(partition, &seats)).collect();
        let digests = [digest(&table), digest(&grown), digest(&ranks)];
        assert_eq!(
            digests,
            [0xa7a4_d652_24d3_fb00, 0xdf27_9a54_5e2c_4b6e, 0xdd66_3a38_9298_fdf1],
            "{digests:#x?}"
        );
    }

    #[test]
    fn where_no_bound_is_met_quotas_are_shares_by_weight() {
        // One copy of each partition fits into any zone and on any seat.
        let seats: Vec<Seat> = (1..=9).map(|node| seat(node, node as u32 % 4, node as u32 * 11)).collect();
        let all = (1..=9).map(|node| node * 11).sum::<u32>();
        for partitions in [1, 16, 256, 65_536] {
            let (_, _, quotas) = bounds(&seats, partitions, 1);
            for (seat, quota) in seats.iter().zip(quotas) {
                let share = partitions * seat.weight;
                let least = (u64::from(share) * 63 / (u64::from(all) * 64)) as u32;
                assert_eq!(quota, Bounds { least, most: share.div_ceil(all) });
            }
        }
    }

    #[test]
    fn where_a_zone_or_a_seat_is_full_the_others_share_the_rest() {
        let most = |seats: &[Seat], copies| -> Vec<u32> {
            bounds(seats, 100, copies).2.iter().map(|quota| quota.most).collect()
        };
        // Zone 0 holds each partition once, however heavy it is; zones 1 and 2 are left with the other 100.
        let seats = [seat(1, 0, 900), seat(2, 0, 300), seat(3, 1, 100), seat(4, 2, 300)];
        assert_eq!(most(&seats, 2), [75, 25, 25, 75]);
        // Three copies in two zones: one or two in each, and no seat has two of a partition.
        let seats = [seat(1, 0, 1_000), seat(2, 0, 100), seat(3, 1, 10), seat(4, 1, 10)];
        assert_eq!(most(&seats, 3), [100, 100, 50, 50]);
        let seats = [seat(1, 0, 1), seat(2, 1, 1), seat(3, 1, 1), seat(4, 1, 1)];
        assert_eq!(most(&seats, 3), [100, 67, 67, 67]);
    }

    #[test]
    fn a_rarity_is_the_negative_logarithm() {
        let unit = (1_u64 << FRACTION_BITS) as f64;
        let samples = (0..10_000).map(|n: u64| hash(7, NodeId(n)) >> (n % 64));
        for sample in samples.chain([0, 1, 2, 3, u64::MAX, u64::MAX / 2, 1 << 63, (1 << 63) - 1]) {
            let exact = 64.0 - ((sample | 1) as f64).log2();
            let measured = rarity(sample) as f64 / unit;
            assert!((measured - exact).abs() < 1e-11, "{sample:#x}: {measured} for {exact}");
            assert!(rarity(sample) > 0);
        }
    }

    #[test]
    fn a_seat_is_ranked_first_as_often_as_its_weight_says() {
        let seats = [seat(1, 0, 100), seat(2, 0, 200), seat(3, 0, 300), seat(4, 0, 400)];
        let mut firsts = [0; 4];
        for partition in 0..10_000 {
            firsts[rank(partition, &seats)[0].0 as usize - 1] += 1;
        }
        for (index, first) in firsts.into_iter().enumerate() {
            // Four standard deviations of 10,000 draws are at most 200.
            assert!((first - 1_000 * (index as i32 + 1)).abs() < 200, "{firsts:?}");
        }
    }

    #[test]
    fn as_many_copies_as_seats_and_none_at_all_are_tables_too() {
        assert!(assign(16, 0, &[], None).is_empty());
        assert!(assign(0, 3, &equal(5, 1), None).is_empty());
        for count in 1..=9 {
            let seats = equal(count, 2);
            assert_legal(&assign(16, seats.len(), &seats, None), 16, seats.len(), &seats);
        }
    }

    fn some_seats() -> impl Strategy<Value = Vec<Seat>> {
        let weight = prop_oneof![Just(100_u32), 1..=WEIGHT_MAX, Just(0), Just(u32::MAX)];
        let seats = prop::collection::btree_map(0..60_u64, (any::<u32>(), weight), 1..=20);
        let zone_count = prop_oneof![1..6_u32, Just(u32::MAX)];
        (seats, zone_count).prop_map(|(seats, zone_count)| {
            seats.into_iter().map(|(node, (zone, weight))| seat(node, zone % zone_count, weight)).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_seats_and_the_past_every_promise_is_kept_and_no_table_moves_less(
            bits in 0..7_u32, wanted in 1..6_usize, seats in some_seats(), past in some_seats(),
            past_wanted in 1..6_usize,
        ) {
            let (partitions, copies) = (1 << bits, wanted.min(seats.len()));
            let fresh = assign(partitions, copies, &seats, None);
            assert_legal(&fresh, partitions, copies, &seats);
            let past_copies = past_wanted.min(past.len());
            let before = assign(partitions, past_copies, &past, None);
            let previous = Previous { table: &before, copies: past_copies };
            let after = assign(partitions, copies, &seats, Some(previous));
            assert_legal(&after, partitions, copies, &seats);
            prop_assert!(!could_move_less(&after, partitions, copies, &seats, Some(previous)));
            prop_assert_eq!(next(partitions, copies, &seats, &after, copies), after, "it rests");
        }

        #[test]
        fn any_table_of_the_past_will_do(
            seats in some_seats(), before in prop::collection::vec(0..70_u64, 0..200), copies in 0..9_usize,
        ) {
            let before: Vec<NodeId> = before.into_iter().map(NodeId).collect();
            let wanted = seats.len().min(3);
            let after = next(32, wanted, &seats, &before, copies);
            assert_legal(&after, 32, wanted, &seats);
            let previous = Previous { table: &before, copies: copies.max(1) };
            prop_assert!(!could_move_less(&after, 32, wanted, &seats, Some(previous)));
        }

        #[test]
        fn neither_the_order_of_the_seats_nor_the_numbers_of_the_zones_matter(
            (seats, shuffled) in some_seats().prop_flat_map(|seats| (Just(seats.clone()), Just(seats).prop_shuffle())),
        ) {
            let copies = seats.len().min(3);
            let renamed: Vec<Seat> =
                shuffled.into_iter().map(|seat| Seat { zone: seat.zone.reverse_bits() ^ 0x5555, ..seat }).collect();
            prop_assert_eq!(assign(64, copies, &seats, None), assign(64, copies, &renamed, None));
            prop_assert_eq!(rank(9, &seats), rank(9, &renamed));
        }

        #[test]
        fn a_quantity_is_poured_out_to_the_last_drop_by_weight_and_within_bounds(
            vessels in prop::collection::vec((1..1_000_u64, 0..50_u64, 0..50_u64), 1..20), fill in 0..=1_000_u64,
        ) {
            let vessels: Vec<Vessel> = (vessels.into_iter())
                .map(|(weight, least, room)| Vessel {
                    weight: weight.into(),
                    least: least.into(),
                    most: (least + room).into(),
                })
                .collect();
            let least: u128 = vessels.iter().map(|vessel| vessel.least).sum();
            let most: u128 = vessels.iter().map(|vessel| vessel.most).sum();
            let quantity = least + (most - least) * u128::from(fill) / 1_000;
            let (parts, unit) = pour(quantity, &vessels);
            prop_assert_eq!(parts.iter().sum::<u128>(), quantity * unit);
            for (vessel, &part) in vessels.iter().zip(&parts) {
                prop_assert!(vessel.least * unit <= part && part <= vessel.most * unit);
                // Who gets less for its weight than another is full, or the other has no more than it must.
                for (other, &its) in vessels.iter().zip(&parts) {
                    prop_assert!(
                        part * other.weight >= its * vessel.weight
                            || part == vessel.most * unit
                            || its == other.least * unit
                    );
                }
            }
        }
    }
}

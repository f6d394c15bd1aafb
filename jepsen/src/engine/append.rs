//! Whether a text that is read whole, replaced and appended to behaves like one copy.
//!
//! Exact where every piece that is read tells who wrote it: no piece is the beginning of another, so that what is read
//! falls into pieces in one way only, and of several calls that write the same piece real time leaves one. Then a read
//! tells the put it follows and every append since, in order. All reads that follow one put must begin the longest of them; put, appends
//! and reads between them form one block with a known order inside, which real time must allow (`order`). What nobody
//! read is a block of its own. A block must come before another if any of its calls returned before any of the other's
//! was invoked; blocks can be laid out exactly if no two must each come before the other (Gibbons and Korach's zones,
//! 1997, for blocks of any shape: in a longer cycle the block with the latest invocation is in such a pair
//! already). Only the longest read of each block is taken apart, the others are compared with it, so the cost is a
//! glance at all bytes read and n log n of the calls. Everything else is left to a search.

use super::order::Layout;

/// What a call does to the text. In the beginning it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a, T> {
    /// Returned all of it.
    Get(&'a [T]),
    /// Replaced it.
    Put(&'a [T]),
    /// Added at its end.
    Append(&'a [T]),
}

/// One call: what it does, and where it begins and ends among all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call<'a, T> {
    /// What it does.
    pub(crate) step: Step<'a, T>,
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

/// What was found. Calls are named by their places in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is an order that explains every read.
    Linearizable,
    /// What is read does not tell who wrote it: this rule does not apply.
    Ambiguous {
        /// Two calls of which one writes what the other's piece begins with, or the same; or twice one that writes
        /// nothing.
        calls: [u32; 2],
    },
    /// From some place on a read shows what nobody writes.
    Invented {
        /// The read.
        get: u32,
        /// The place in what it shows.
        at: usize,
    },
    /// A read shows what was put, but not at the beginning.
    Buried {
        /// The read.
        get: u32,
        /// The put.
        put: u32,
    },
    /// A read shows an append twice.
    Repeated {
        /// The read.
        get: u32,
        /// The append.
        append: u32,
    },
    /// Two reads show an append after different puts, or one of them after none.
    Torn {
        /// The reads.
        gets: [u32; 2],
        /// The append.
        append: u32,
    },
    /// Two reads show the same beginning and then different appends.
    Contradictory {
        /// The reads.
        gets: [u32; 2],
        /// What each shows where the other shows something else.
        appends: [u32; 2],
    },
    /// A call must have taken effect before another that had returned before it was invoked.
    Disordered {
        /// The call that must come first.
        first: u32,
        /// The call that returned before the first was invoked.
        second: u32,
        /// The read that shows where the second belongs, if that is an append.
        shown_by: Option<u32>,
    },
    /// Two blocks must each come before the other: a put, what was appended to it and the reads that show that stand
    /// together, with nothing between them.
    Crossed {
        /// The one block and the other.
        blocks: [Block; 2],
    },
}

/// A put, what was appended to it and the reads that show so; or a call on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The call of it that returned first; none if it is the block of the beginning, before which there is nothing.
    pub(crate) first_returned: Option<u32>,
    /// The call of it that was invoked last.
    pub(crate) last_invoked: u32,
    /// The longest read of it, if there is one.
    pub(crate) longest: Option<u32>,
}

const NONE: u32 = u32::MAX;

/// Decides whether calls on one text can be put in an order that explains what every read shows. Reads that did not
/// return say nothing and are passed over.
pub(crate) fn decide<T: Ord + Copy>(calls: &[Call<'_, T>]) -> Decision {
    let found = Pieces::new(calls).and_then(|pieces| {
        let blocks = Blocks::new(calls, &pieces)?;
        let zones = blocks.lay_out(calls)?;
        uncrossed(calls, zones)
    });
    found.err().unwrap_or(Decision::Linearizable)
}

/// What was written, and by whom.
struct Pieces<'a, T> {
    /// The different pieces, in order, and where the writers of each begin.
    texts: Vec<(&'a [T], u32)>,
    /// The calls by what they write.
    writers: Vec<u32>,
}

/// Of how many calls that write the same one may be looked for.
const WRITERS_MAX: usize = 64;

impl<'a, T: Ord + Copy> Pieces<'a, T> {
    fn new(calls: &[Call<'a, T>]) -> Result<Self, Decision> {
        let writes = (0u32..).zip(calls).filter_map(|(number, call)| match call.step {
            Step::Get(_) => None,
            Step::Put(piece) | Step::Append(piece) => Some((piece, number)),
        });
        let mut writes: Vec<(&[T], u32)> = writes.collect();
        writes.sort_unstable();
        if let Some((_, call)) = writes.first().filter(|(piece, _)| piece.is_empty()) {
            return Err(Decision::Ambiguous { calls: [*call; 2] });
        }
        let mut pieces = Pieces { texts: Vec::with_capacity(writes.len()), writers: Vec::new() };
        for (piece, call) in writes {
            match pieces.texts.last() {
                Some((last, begin)) if *last == piece => {
                    if pieces.writers.len() - *begin as usize >= WRITERS_MAX {
                        return Err(Decision::Ambiguous { calls: [pieces.writers[*begin as usize], call] });
                    }
                }
                // Among sorted texts the beginning of any of them is also the beginning of the next one.
                Some((last, begin)) if piece.starts_with(last) => {
                    return Err(Decision::Ambiguous { calls: [pieces.writers[*begin as usize], call] });
                }
                _ => pieces.texts.push((piece, pieces.writers.len() as u32)),
            }
            pieces.writers.push(call);
        }
        Ok(pieces)
    }

    /// The number of the piece that a text begins with.
    fn first_of(&self, text: &[T]) -> Option<u32> {
        let after = self.texts.partition_point(|(piece, _)| *piece <= text);
        let number = after.checked_sub(1)?;
        text.starts_with(self.texts[number].0).then_some(number as u32)
    }

    fn length(&self, number: u32) -> usize {
        self.texts[number as usize].0.len()
    }

    /// Who wrote a piece, in order of the input.
    fn writers(&self, number: u32) -> &[u32] {
        let begin = self.texts[number as usize].1 as usize;
        let end = self.texts.get(number as usize + 1).map_or(self.writers.len(), |(_, end)| *end as usize);
        &self.writers[begin..end]
    }

    /// The first who appended a piece.
    fn append(&self, number: u32, calls: &[Call<'_, T>]) -> Option<u32> {
        let writers = self.writers(number).iter().copied();
        writers.into_iter().find(|call| matches!(calls[*call as usize].step, Step::Append(_)))
    }

    /// Says that a piece does not tell who wrote it.
    fn ambiguous(&self, number: u32) -> Decision {
        let writers = self.writers(number);
        Decision::Ambiguous { calls: [writers[0], writers[writers.len() - 1]] }
    }
}

/// Reads and appends by the put they follow. Block 0 follows none.
struct Blocks {
    /// The put of each block, `NONE` for the first; puts never read have none.
    puts: Vec<u32>,
    /// Its longest read; `NONE` only for the first.
    longest: Vec<u32>,
    /// Where the appends of each block begin in `chain`; one more at the end.
    begins: Vec<u32>,
    /// What the longest read shows.
    chain: Vec<Link>,
    /// Block and length of each read, and the read, in this order.
    gets: Vec<(u32, usize, u32)>,
    /// The block of each put and append that was read, or `NONE`.
    of_call: Vec<u32>,
}

/// An append where a read shows it.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// Where it ends in what is shown.
    end: usize,
    /// The number of the piece.
    piece: u32,
    /// Who appended it; `NONE` as long as that is unknown.
    append: u32,
}

fn shown_by<'a, T>(call: &Call<'a, T>) -> &'a [T] {
    match call.step {
        Step::Get(shown) | Step::Put(shown) | Step::Append(shown) => shown,
    }
}

impl Blocks {
    fn new<T: Ord + Copy>(calls: &[Call<'_, T>], pieces: &Pieces<'_, T>) -> Result<Self, Decision> {
        let mut blocks = Blocks {
            puts: vec![NONE],
            longest: vec![NONE],
            begins: Vec::new(),
            chain: Vec::new(),
            gets: Vec::new(),
            of_call: vec![NONE; calls.len()],
        };
        blocks.sort_gets(calls, pieces)?;
        for block in 0..blocks.puts.len() as u32 {
            blocks.begins.push(blocks.chain.len() as u32);
            if blocks.longest[block as usize] != NONE {
                blocks.take_apart(block, calls, pieces)?;
            }
        }
        blocks.begins.push(blocks.chain.len() as u32);
        for (block, _, get) in &blocks.gets {
            blocks.compare(*block, *get, calls, pieces)?;
        }
        blocks.attribute(calls, pieces)?;
        Ok(blocks)
    }

    fn sort_gets<T: Ord + Copy>(
        &mut self,
        calls: &[Call<'_, T>],
        pieces: &Pieces<'_, T>,
    ) -> Result<(), Decision> {
        let succession = Succession::new(calls);
        for (number, call) in (0u32..).zip(calls) {
            let (Step::Get(shown), Some(returned)) = (call.step, call.returned) else { continue };
            let head = match pieces.first_of(shown) {
                None if shown.is_empty() => None,
                None => return Err(Decision::Invented { get: number, at: 0 }),
                Some(piece) => head_of(piece, call.invoked, returned, &succession, calls, pieces)?,
            };
            let block = match head {
                None => 0,
                Some(put) => {
                    let block = &mut self.of_call[put as usize];
                    if *block == NONE {
                        *block = self.puts.len() as u32;
                        self.puts.push(put);
                        self.longest.push(NONE);
                    }
                    *block
                }
            };
            self.gets.push((block, shown.len(), number));
            let longest = &mut self.longest[block as usize];
            if *longest == NONE || shown_by(&calls[*longest as usize]).len() < shown.len() {
                *longest = number;
            }
        }
        self.gets.sort_unstable();
        Ok(())
    }

    /// Finds the appends that the longest read of a block shows.
    fn take_apart<T: Ord + Copy>(
        &mut self,
        block: u32,
        calls: &[Call<'_, T>],
        pieces: &Pieces<'_, T>,
    ) -> Result<(), Decision> {
        let get = self.longest[block as usize];
        let shown = shown_by(&calls[get as usize]);
        let mut end = self.head(block, calls);
        while end < shown.len() {
            let (piece, append) = next_append(get, shown, end, calls, pieces)?;
            end += pieces.length(piece);
            let is_known = pieces.writers(piece).len() == 1;
            if is_known {
                match self.of_call[append as usize] {
                    NONE => self.of_call[append as usize] = block,
                    other if other == block => return Err(Decision::Repeated { get, append }),
                    other => {
                        let gets = [self.longest[other as usize], get];
                        return Err(Decision::Torn { gets, append });
                    }
                }
            }
            self.chain.push(Link { end, piece, append: if is_known { append } else { NONE } });
        }
        Ok(())
    }

    /// How much of what a block's reads show was put.
    fn head<T>(&self, block: u32, calls: &[Call<'_, T>]) -> usize {
        match self.puts[block as usize] {
            NONE => 0,
            put => shown_by(&calls[put as usize]).len(),
        }
    }

    /// Tests that a read begins the longest of its block, and ends where a piece ends.
    fn compare<T: Ord + Copy>(
        &self,
        block: u32,
        get: u32,
        calls: &[Call<'_, T>],
        pieces: &Pieces<'_, T>,
    ) -> Result<(), Decision> {
        let shown = shown_by(&calls[get as usize]);
        let longest = self.longest[block as usize];
        let head = self.head(block, calls);
        let is_beginning = shown_by(&calls[longest as usize]).starts_with(shown);
        let chain = self.chain_of(block);
        if is_beginning
            && (shown.len() == head || chain.binary_search_by_key(&shown.len(), |link| link.end).is_ok())
        {
            return Ok(());
        }
        let mut seen: Vec<u32> = Vec::new();
        let mut at = head;
        while at < shown.len() {
            let (piece, _) = next_append(get, shown, at, calls, pieces)?;
            seen.push(piece);
            at += pieces.length(piece);
        }
        // Pieces are told apart by their beginnings, so texts of the same pieces are the same: one differs.
        let mut pairs = seen.iter().zip(chain.iter().map(|link| &link.piece));
        let differing = pairs.find(|(piece, other)| piece != other).map(|(piece, other)| [*piece, *other]);
        seen.sort_unstable();
        let is_repeated = |pair: &&[u32]| pair[0] == pair[1] && pieces.writers(pair[0]).len() == 1;
        let repeated = seen.windows(2).find(is_repeated).and_then(|pair| pieces.append(pair[0], calls));
        match (repeated, differing.map(|pair| pair.map(|piece| pieces.append(piece, calls)))) {
            (Some(append), _) => Err(Decision::Repeated { get, append }),
            (None, Some([Some(x), Some(y)])) => {
                Err(Decision::Contradictory { gets: [get, longest], appends: [x, y] })
            }
            (None, _) => Ok(()),
        }
    }

    /// Finds out who appended the pieces that several calls write: whoever can have been so by the times of the reads
    /// and of its neighbours in the block. What is found is true in every order that explains the reads.
    fn attribute<T: Ord + Copy>(
        &mut self,
        calls: &[Call<'_, T>],
        pieces: &Pieces<'_, T>,
    ) -> Result<(), Decision> {
        loop {
            let (mut found, mut left) = (0, None);
            let mut gets = self.gets.as_slice();
            for block in 0..self.puts.len() as u32 {
                let its_gets = gets.split_off(..gets.partition_point(|get| get.0 == block)).unwrap_or(&[]);
                let chain = self.begins[block as usize] as usize..self.begins[block as usize + 1] as usize;
                if self.chain[chain.clone()].iter().all(|link| link.append != NONE) {
                    continue;
                }
                let put = self.puts[block as usize];
                let windows = windows(&self.chain[chain.clone()], put, its_gets, calls);
                for (place, (after, before)) in chain.zip(windows) {
                    if self.chain[place].append != NONE {
                        continue;
                    }
                    let piece = self.chain[place].piece;
                    let mut possible = pieces.writers(piece).iter().copied().filter(|writer| {
                        let call = &calls[*writer as usize];
                        matches!(call.step, Step::Append(_))
                            && self.of_call[*writer as usize] == NONE
                            && call.invoked < before
                            && call.returned.is_none_or(|returned| returned > after)
                    });
                    match (possible.next(), possible.next()) {
                        (Some(append), None) => {
                            self.chain[place].append = append;
                            self.of_call[append as usize] = block;
                            found += 1;
                        }
                        _ => left = Some(piece),
                    }
                }
            }
            match left {
                None => return Ok(()),
                Some(piece) if found == 0 => return Err(pieces.ambiguous(piece)),
                Some(_) => {}
            }
        }
    }

    fn chain_of(&self, block: u32) -> &[Link] {
        &self.chain[self.begins[block as usize] as usize..self.begins[block as usize + 1] as usize]
    }
}

/// The piece that stands at a place of what a read shows, and the first who appended it.
fn next_append<T: Ord + Copy>(
    get: u32,
    shown: &[T],
    at: usize,
    calls: &[Call<'_, T>],
    pieces: &Pieces<'_, T>,
) -> Result<(u32, u32), Decision> {
    let piece = pieces.first_of(&shown[at..]).ok_or(Decision::Invented { get, at })?;
    match pieces.append(piece, calls) {
        Some(append) => Ok((piece, append)),
        None => Err(Decision::Buried { get, put: pieces.writers(piece)[0] }),
    }
}

/// Which puts were replaced by when.
struct Succession {
    /// By return, the latest invocation of a put that returned by then.
    latest: Vec<(u32, u32)>,
}

impl Succession {
    fn new<T>(calls: &[Call<'_, T>]) -> Self {
        let puts = calls.iter().filter(|call| matches!(call.step, Step::Put(_)));
        let mut latest: Vec<(u32, u32)> = puts.filter_map(|put| Some((put.returned?, put.invoked))).collect();
        latest.sort_unstable();
        let mut invoked = 0;
        for put in &mut latest {
            invoked = put.1.max(invoked);
            put.1 = invoked;
        }
        Succession { latest }
    }

    /// The latest invocation of a put that returned before `position`: what was put by one that returned before that,
    /// was replaced. None if there is no such put.
    fn before(&self, position: u32) -> Option<u32> {
        let count = self.latest.partition_point(|(returned, _)| *returned < position);
        count.checked_sub(1).map(|last| self.latest[last].1)
    }
}

/// The put that a read follows which begins with a piece; none if that was appended to nothing.
fn head_of<T: Ord + Copy>(
    piece: u32,
    invoked: u32,
    returned: u32,
    succession: &Succession,
    calls: &[Call<'_, T>],
    pieces: &Pieces<'_, T>,
) -> Result<Option<u32>, Decision> {
    let put =
        |writer: &u32| Some(*writer).filter(|writer| matches!(calls[*writer as usize].step, Step::Put(_)));
    let writers = pieces.writers(piece);
    if let [only] = writers {
        return Ok(put(only));
    }
    let replaced = succession.before(invoked);
    let mut possible = writers.iter().filter(|writer| {
        let call = &calls[**writer as usize];
        let is_there = match put(writer) {
            Some(_) => {
                replaced.is_none_or(|replaced| call.returned.is_none_or(|returned| returned > replaced))
            }
            None => replaced.is_none(),
        };
        is_there && call.invoked < returned
    });
    let first = possible.next().ok_or_else(|| pieces.ambiguous(piece))?;
    // Several appends to nothing are one beginning, but two puts, or a put and an append, are two.
    if possible.any(|other| put(first).is_some() || put(other).is_some()) {
        return Err(pieces.ambiguous(piece));
    }
    Ok(put(first))
}

/// Between which positions each append of a block must have been under way at some time: after the latest invocation
/// of what comes before it, and before the first return of what comes after it.
fn windows<T>(
    chain: &[Link],
    put: u32,
    gets: &[(u32, usize, u32)],
    calls: &[Call<'_, T>],
) -> Vec<(u32, u32)> {
    let mut windows = vec![(0, u32::MAX); chain.len()];
    let mut latest = if put == NONE { 0 } else { calls[put as usize].invoked };
    let mut before = gets.iter().peekable();
    for (window, link) in windows.iter_mut().zip(chain) {
        while let Some((.., get)) = before.next_if(|(_, length, _)| *length < link.end) {
            latest = latest.max(calls[*get as usize].invoked);
        }
        window.0 = latest;
        if link.append != NONE {
            latest = latest.max(calls[link.append as usize].invoked);
        }
    }
    let mut first = u32::MAX;
    let mut after = gets.iter().rev().peekable();
    for (window, link) in windows.iter_mut().zip(chain).rev() {
        while let Some((.., get)) = after.next_if(|(_, length, _)| *length >= link.end) {
            first = first.min(calls[*get as usize].returned.unwrap_or(u32::MAX));
        }
        window.1 = first;
        if link.append != NONE {
            first = first.min(calls[link.append as usize].returned.unwrap_or(u32::MAX));
        }
    }
    windows
}

/// A block, and from when to when real time ties it: everything invoked after `first_returned` is not before it, and
/// everything that returned before `last_invoked` is not after it.
#[derive(Clone, Copy, Debug)]
struct Zone {
    /// One more than the position of the first return; 0 for the block of the beginning.
    first_returned: u32,
    last_invoked: u32,
    block: Block,
}

impl Zone {
    /// The zone of nothing yet.
    fn new(is_beginning: bool, longest: u32) -> Self {
        let block = Block {
            first_returned: None,
            last_invoked: NONE,
            longest: Some(longest).filter(|longest| *longest != NONE),
        };
        Zone { first_returned: if is_beginning { 0 } else { u32::MAX }, last_invoked: 0, block }
    }

    fn widen<T>(&mut self, number: u32, call: &Call<'_, T>) {
        if let Some(returned) = call.returned
            && returned + 1 < self.first_returned
        {
            self.first_returned = returned + 1;
            self.block.first_returned = Some(number);
        }
        if self.block.last_invoked == NONE || self.last_invoked < call.invoked {
            self.last_invoked = call.invoked;
            self.block.last_invoked = number;
        }
    }

    fn must_precede(&self, other: &Zone) -> bool {
        self.first_returned <= other.last_invoked
    }
}

impl Blocks {
    /// Tests the order inside each block, and tells when each must have been.
    fn lay_out<T>(&self, calls: &[Call<'_, T>]) -> Result<Vec<Zone>, Decision> {
        let mut zones = Vec::with_capacity(self.puts.len());
        let mut gets = self.gets.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).peekable();
        for block in (0..self.puts.len() as u32).filter(|block| self.longest[*block as usize] != NONE) {
            let mut row = Row {
                calls,
                layout: Layout::new(),
                zone: Zone::new(block == 0, self.longest[block as usize]),
            };
            let put = self.puts[block as usize];
            let head = Some((self.head_length(calls, put), put));
            let links = self.chain_of(block).iter().map(|link| (link.end, link.append));
            for (end, writer) in head.into_iter().chain(links) {
                if writer != NONE {
                    row.lay(&[writer])?;
                }
                if let Some(group) = gets.next_if(|group| (group[0].0, group[0].1) == (block, end)) {
                    let numbers: Vec<u32> = group.iter().map(|(.., get)| *get).collect();
                    row.lay(&numbers)?;
                }
            }
            zones.push(row.zone);
        }
        // What nobody read stands alone, and if it may never have happened, it did not.
        for (number, call) in (0u32..).zip(calls) {
            let is_write = !matches!(call.step, Step::Get(_));
            if is_write && call.returned.is_some() && self.of_call[number as usize] == NONE {
                let mut zone = Zone::new(false, NONE);
                zone.widen(number, call);
                zones.push(zone);
            }
        }
        Ok(zones)
    }

    fn head_length<T>(&self, calls: &[Call<'_, T>], put: u32) -> usize {
        if put == NONE { 0 } else { shown_by(&calls[put as usize]).len() }
    }
}

/// A block being laid out.
struct Row<'a, 'c, T> {
    calls: &'a [Call<'c, T>],
    layout: Layout<u32>,
    zone: Zone,
}

impl<T> Row<'_, '_, T> {
    /// Lays out calls whose order among themselves does not matter.
    fn lay(&mut self, group: &[u32]) -> Result<(), Decision> {
        for second in group {
            let call = &self.calls[*second as usize];
            if let Some(first) = call.returned.and_then(|returned| self.layout.obstacle(returned)) {
                let is_append = matches!(call.step, Step::Append(_));
                let shown_by = self.zone.block.longest.filter(|_| is_append);
                return Err(Decision::Disordered { first, second: *second, shown_by });
            }
        }
        for number in group {
            let call = &self.calls[*number as usize];
            self.layout.lay(*number, call.invoked);
            self.zone.widen(*number, call);
        }
        Ok(())
    }
}

/// Looks for two blocks that must each come before the other.
fn uncrossed<T>(calls: &[Call<'_, T>], mut zones: Vec<Zone>) -> Result<(), Decision> {
    zones.sort_unstable_by_key(|zone| (zone.first_returned, calls[zone.block.last_invoked as usize].invoked));
    // The zone invoked last among the first so many. If that is the zone at hand itself, then whatever it crosses is
    // invoked before it, and finds it in its own turn.
    let mut latest: Vec<usize> = Vec::with_capacity(zones.len());
    for (place, zone) in zones.iter().enumerate() {
        let so_far = latest.last().filter(|so_far| zones[**so_far].last_invoked > zone.last_invoked);
        latest.push(*so_far.unwrap_or(&place));
    }
    for (place, zone) in zones.iter().enumerate() {
        let before = zones.partition_point(|other| other.must_precede(zone));
        let other = before.checked_sub(1).map(|last| latest[last]);
        if let Some(other) = other.filter(|other| *other != place && zone.must_precede(&zones[*other])) {
            return Err(Decision::Crossed { blocks: [zone.block, zones[other].block] });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, rounds};
    use super::*;

    /// Tries every order, as the definition of linearizability says.
    fn brute_force(calls: &[Call<'_, u8>]) -> bool {
        fn go(calls: &[Call<'_, u8>], left: u32, text: &[u8]) -> bool {
            let is_left = |i: usize| left >> i & 1 == 1;
            let returns = (0..calls.len()).filter(|i| is_left(*i)).filter_map(|i| calls[i].returned);
            let Some(due) = returns.min() else { return true };
            (0..calls.len()).filter(|i| is_left(*i) && calls[*i].invoked < due).any(|i| {
                let rest = left & !(1 << i);
                match calls[i].step {
                    Step::Get(shown) => shown == text && go(calls, rest, text),
                    Step::Put(piece) => go(calls, rest, piece),
                    Step::Append(piece) => go(calls, rest, &[text, piece].concat()),
                }
            })
        }
        go(calls, (1 << calls.len()) - 1, &[])
    }

    #[derive(Clone, Debug)]
    enum Text {
        Get(Option<Vec<u8>>),
        Put(Vec<u8>),
        Append(Vec<u8>),
    }

    /// What is called, from when to when.
    type Sample = Vec<(Text, u32, Option<u32>)>;

    const WORDS: [&[u8]; 7] = [b"a", b"b", b"ca", b"cb", b"dd", b"daa", b"e"];

    /// A few clients of a real text; some answers are then falsified.
    fn random_calls(random: &mut Random) -> Sample {
        let clients = 1 + random.below(4) as usize;
        let count = 1 + random.below(9);
        let crash_percent = [0, 20, 50][random.below(3) as usize];
        let lie_percent = [0, 30, 80][random.below(3) as usize];
        let put_percent = [0, 20, 40][random.below(3) as usize];
        // Now and then somebody writes what was written before.
        let repeat_percent = [0, 0, 50][random.below(3) as usize];
        let mut words: Vec<&[u8]> = WORDS.to_vec();
        let mut text: Vec<u8> = Vec::new();
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        let mut calls: Sample = Vec::new();
        let mut open: Vec<Option<(usize, bool)>> = vec![None; clients];
        let mut position = 0;
        while calls.len() < count as usize || open.iter().any(Option::is_some) {
            position += 1;
            if let Some((call, has_effect @ false)) = &mut open[random.below(clients as u32) as usize] {
                *has_effect = true;
                match &mut calls[*call].0 {
                    Text::Get(shown) => {
                        let old = texts[random.below(texts.len() as u32) as usize].clone();
                        *shown = Some(if random.percent(lie_percent) { old } else { text.clone() });
                    }
                    Text::Put(piece) => text = piece.clone(),
                    Text::Append(piece) => text.extend(piece.iter()),
                }
                texts.push(text.clone());
            }
            let client = random.below(clients as u32) as usize;
            match open[client] {
                None if calls.len() < count as usize => {
                    open[client] = Some((calls.len(), false));
                    let what = if random.percent(50) || words.is_empty() {
                        Text::Get(None)
                    } else {
                        let place = random.below(words.len() as u32) as usize;
                        let word = words[place].to_vec();
                        if !random.percent(repeat_percent) {
                            words.remove(place);
                        }
                        if random.percent(put_percent) { Text::Put(word) } else { Text::Append(word) }
                    };
                    calls.push((what, position, None));
                }
                Some(_) if random.percent(crash_percent / 2) => open[client] = None,
                Some((call, true)) => {
                    calls[call].2 = Some(position);
                    open[client] = None;
                    if let Text::Get(Some(shown)) = &mut calls[call].0
                        && random.percent(lie_percent / 4)
                    {
                        match random.below(6) {
                            0 => drop(shown.pop()),
                            1 => shown.extend(WORDS[random.below(7) as usize]),
                            2 => shown.extend(b"z"),
                            3 if !shown.is_empty() => drop(shown.remove(0)),
                            4 => *shown = [WORDS[random.below(7) as usize], &shown[..]].concat(),
                            _ => shown.reverse(),
                        }
                    }
                }
                _ => {}
            }
        }
        calls
    }

    fn borrow(sample: &Sample) -> Vec<Call<'_, u8>> {
        let calls = sample.iter().filter_map(|(text, invoked, returned)| {
            let step = match text {
                Text::Get(shown) => Step::Get(shown.as_ref().filter(|_| returned.is_some())?),
                Text::Put(piece) => Step::Put(piece),
                Text::Append(piece) => Step::Append(piece),
            };
            Some(Call { step, invoked: *invoked, returned: *returned })
        });
        calls.collect()
    }

    /// Whether the calls that a decision names suffice: other reads left out, other writes optional.
    fn is_reason(decision: Decision, calls: &[Call<'_, u8>]) -> bool {
        let named: Vec<u32> = match decision {
            Decision::Linearizable | Decision::Ambiguous { .. } => return false,
            Decision::Invented { get, .. }
            | Decision::Buried { get, .. }
            | Decision::Repeated { get, .. } => {
                vec![get]
            }
            Decision::Torn { gets, .. } | Decision::Contradictory { gets, .. } => gets.to_vec(),
            Decision::Disordered { first, second, shown_by } => {
                [first, second].into_iter().chain(shown_by).collect()
            }
            Decision::Crossed { blocks } => {
                let of = |block: Block| [block.first_returned, Some(block.last_invoked), block.longest];
                blocks.into_iter().flat_map(of).flatten().collect()
            }
        };
        let kept = (0u32..).zip(calls).filter_map(|(number, call)| {
            let is_named = named.contains(&number);
            let returned = call.returned.filter(|_| is_named);
            (is_named || !matches!(call.step, Step::Get(_))).then_some(Call { returned, ..*call })
        });
        !brute_force(&kept.collect::<Vec<_>>())
    }

    fn has_equal_pieces(calls: &[Call<'_, u8>]) -> bool {
        let mut pieces: Vec<&[u8]> =
            calls.iter().filter(|call| !matches!(call.step, Step::Get(_))).map(shown_by).collect();
        pieces.sort_unstable();
        pieces.windows(2).any(|pair| pair[0] == pair[1])
    }

    #[test]
    fn blocks_agree_with_trying_every_order_and_name_a_reason() {
        let seed = 0xa_0001;
        let mut random = Random(seed);
        let mut kinds = [0u32; 9];
        let mut repeated = [0u32; 2];
        let rounds = rounds(200_000);
        for round in 0..rounds {
            let sample = random_calls(&mut random);
            let calls = borrow(&sample);
            let decision = decide(&calls);
            let told = || format!("seed {seed:#x} round {round}: {decision:?} {sample:?}");
            kinds[match decision {
                Decision::Linearizable => 0,
                Decision::Ambiguous { .. } => 1,
                Decision::Invented { .. } => 2,
                Decision::Buried { .. } => 3,
                Decision::Repeated { .. } => 4,
                Decision::Torn { .. } => 5,
                Decision::Contradictory { .. } => 6,
                Decision::Disordered { .. } => 7,
                Decision::Crossed { .. } => 8,
            }] += 1;
            if !matches!(decision, Decision::Ambiguous { .. }) {
                let expected = brute_force(&calls);
                assert_eq!(decision == Decision::Linearizable, expected, "{}", told());
                let is_repeated = has_equal_pieces(&calls);
                repeated[usize::from(expected)] += u32::from(is_repeated);
                // Who wrote which of equal pieces follows from more calls than are named.
                assert!(expected || is_repeated || is_reason(decision, &calls), "{}", told());
            }
        }
        assert!(kinds.iter().all(|count| *count > rounds / 2_000), "{kinds:?}");
        assert!(repeated.iter().all(|count| *count > rounds / 200), "{repeated:?}");
        assert!(kinds[0] < rounds * 4 / 5 && kinds[7] + kinds[8] > rounds / 50, "{kinds:?}");
    }

    #[test]
    fn pieces_that_begin_each_other_are_left_to_others() {
        let call = |step, at: u32| Call { step, invoked: 2 * at, returned: Some(2 * at + 1) };
        let of =
            |a: &'static [u8], b: &'static [u8]| decide(&[call(Step::Append(a), 0), call(Step::Put(b), 1)]);
        assert_eq!(of(b"ab", b"a"), Decision::Ambiguous { calls: [1, 0] });
        assert_eq!(of(b"a", b""), Decision::Ambiguous { calls: [1, 1] });
        assert_eq!(of(b"ab", b"ac"), Decision::Linearizable);
    }
}

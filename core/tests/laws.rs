//! The laws of the one join: every small case, then large ones at random.

use std::collections::BTreeMap;

use bytes::Bytes;
use godown_core::causal::{Context, Dot, DotFun};
use godown_core::hlc::Hlc;
use godown_core::id::Life;
use godown_core::kind::{Object, Sibling};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same cases on every machine; another number here is another set of them.
const SEED: u64 = 1;

fn sibling(dot: Dot) -> Sibling {
    // One dot, one write: what is under a dot follows from it.
    Sibling { value: Bytes::from(format!("{dot}")), content_type: Bytes::new(), at: Hlc(dot.n), expires: 0 }
}

/// What one replica may know of one dot.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Knows {
    Nothing,
    Removed,
    Visible,
}

fn object(known: impl IntoIterator<Item = (Dot, Knows)>) -> Object {
    let (mut store, mut context) = (BTreeMap::new(), Context::new());
    for (dot, knows) in known {
        if knows != Knows::Nothing {
            context.insert(dot);
        }
        if knows == Knows::Visible {
            store.insert(dot, sibling(dot));
        }
    }
    Object { store: DotFun(store), context }
}

fn joined(a: &Object, b: &Object) -> Object {
    let mut joined = a.clone();
    joined.join(b.clone());
    joined
}

/// All states of four dots over two actors: 3^4.
fn all_small() -> Vec<Object> {
    let dots = [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(actor, n)| Dot { actor: Life(actor), n });
    (0..81usize)
        .map(|case| {
            let knows =
                |power: u32| [Knows::Nothing, Knows::Removed, Knows::Visible][case / 3usize.pow(power) % 3];
            object(dots.into_iter().enumerate().map(|(index, dot)| (dot, knows(index as u32))))
        })
        .collect()
}

#[test]
fn the_join_obeys_its_laws_on_all_small_objects() {
    let all = all_small();
    for a in &all {
        assert_eq!(&joined(a, a), a, "idempotent");
        for b in &all {
            let ab = joined(a, b);
            assert_eq!(ab, joined(b, a), "commutative");
            assert_eq!(joined(&ab, b), ab, "monotone: joining again what is in changes nothing");
            assert!(
                ab.context.covers(&a.context) && ab.context.covers(&b.context),
                "nothing seen is forgotten"
            );
            for dot in ab.dots() {
                let gone = |o: &Object| o.context.has(dot) && !o.dots().any(|visible| visible == dot);
                assert!(!gone(a) && !gone(b), "what one side has removed does not come back");
            }
            for dot in a.dots().filter(|&dot| !b.context.has(dot)) {
                assert!(ab.dots().any(|visible| visible == dot), "what the other side never saw survives");
            }
            for c in &all {
                assert_eq!(joined(&ab, c), joined(a, &joined(b, c)), "associative");
            }
        }
    }
}

/// A write or a delete at one of three replicas, and which replicas its delta and its full state reach, in what order.
#[derive(Clone, Debug)]
struct Step {
    at: usize,
    delete: bool,
    blind: bool,
    merge_from: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3usize, any::<bool>(), any::<bool>(), 0..3usize)
        .prop_map(|(at, delete, blind, merge_from)| Step { at, delete: delete && !blind, blind, merge_from });
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(SEED), ..ProptestConfig::default() })]

    #[test]
    fn deltas_in_any_order_give_what_full_states_give(steps in steps(), order in any::<u64>()) {
        // One set of replicas merges full states; another set only ever sees deltas, shuffled and some of them twice.
        let mut full = [Object::default(), Object::default(), Object::default()];
        let mut minted = [0u64; 3];
        let mut deltas = Vec::new();
        for Step { at, delete, blind, merge_from } in steps {
            let state = full[merge_from].clone();
            full[at].join(state);
            minted[at] += 1;
            let dot = Dot { actor: Life(at as u128 + 1), n: minted[at] };
            let seen = if blind { Context::new() } else { full[at].context.clone() };
            let delta = Object::delta(seen, dot, (!delete).then(|| sibling(dot)));
            full[at].join(delta.clone());
            deltas.push(delta);
        }
        let everything = full.iter().fold(Object::default(), |all, state| joined(&all, state));
        let mut shuffled = deltas.clone();
        let mut state = order | 1;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        let mut from_deltas = Object::default();
        for delta in shuffled.iter().chain(deltas.first()) {
            from_deltas.join(delta.clone());
        }
        prop_assert_eq!(from_deltas, everything);
    }

    #[test]
    fn the_join_obeys_its_laws_on_large_objects(
        known in prop::collection::vec((0..6u128, 1..40u64, 0..3usize, 0..3usize, 0..3usize), 0..120)
    ) {
        let states = [Knows::Nothing, Knows::Removed, Knows::Visible];
        let of = |pick: fn(&(u128, u64, usize, usize, usize)) -> usize| {
            // The same dot drawn twice counts once, or it would be both visible and removed.
            let known: BTreeMap<Dot, Knows> =
                known.iter().map(|k| (Dot { actor: Life(k.0), n: k.1 }, states[pick(k)])).collect();
            object(known)
        };
        let (a, b, c) = (of(|k| k.2), of(|k| k.3), of(|k| k.4));
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&joined(&a, &b), &b), joined(&a, &b));
    }
}

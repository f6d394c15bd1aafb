//! One simulated node: the core, watched.
//!
//! A [`Host`] hands inputs to a [`Node`] and says what went wrong if anything did: a panic of the node is caught and
//! told with its place, and after every input, or after one in some, the node's own [`Node::check`] runs. Checking
//! never changes a run: it draws nothing and moves nothing. Both worlds drive their nodes through here.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use godown_core::Plants;
use godown_core::effect::Effects;
use godown_core::id::Life;
use godown_core::input::{Boot, Input};
use godown_core::node::Node;
use godown_core::time::Now;

use crate::check::{Check, Failure};
use crate::disk::Disk;
use crate::rng::Rng;
use crate::scenario::Scenario;

/// How often a node's parts are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// After every input.
    #[default]
    Every,
    /// After one input in [`SAMPLE`].
    Sampled,
}

/// With [`Checks::Sampled`], one input in so many is followed by a check.
pub const SAMPLE: u64 = 64;

/// A node and its watch.
#[derive(Clone, Debug)]
pub struct Host {
    node: Node,
    inputs: u64,
    check_every: u64,
}

impl Host {
    /// Starts a node over what its disk says, with a life of its own from `lives`. If it `is_fixed` and its disk is empty, its
    /// list of members is its first layout.
    ///
    /// # Errors
    /// [`Check::Boot`] when the node cannot read its rows, [`Check::Panic`] when it panics over them.
    pub fn start(
        scenario: &Scenario,
        (node, is_fixed): (usize, bool),
        disk: &Disk,
        lives: &mut Rng,
        plants: Plants,
        checks: Checks,
    ) -> Result<Self, Failure> {
        let life = Life(u128::from(lives.bits()) << 64 | u128::from(lives.bits()));
        let rows = disk.boot_rows();
        let (config, seed) = (scenario.config(node, is_fixed), lives.bits());
        let node = caught(node, move || Node::planted(config, Boot { life, rows }, seed, plants))?
            .map_err(|error| Failure::new(Check::Boot, format!("n{}: {error}", node + 1)))?;
        let check_every = match checks {
            Checks::Every => 1,
            Checks::Sampled => SAMPLE,
        };
        Ok(Self { node, inputs: 0, check_every })
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Hands an input to the node at this place, and checks it if it is time to.
    ///
    /// # Errors
    /// [`Check::Panic`] when the node panics, [`Check::Invariant`] when its parts disagree.
    pub fn handle(&mut self, place: usize, now: Now, input: Input, fx: &mut Effects) -> Result<(), Failure> {
        self.inputs += 1;
        let node = &mut self.node;
        caught(place, || node.handle(now, input, fx))?;
        if self.inputs.is_multiple_of(self.check_every) {
            caught(place, || self.node.check())
                .map_err(|failure| Failure::new(Check::Invariant, failure.says))?;
        }
        Ok(())
    }
}

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What `run` returns, or how it panicked. A panic here is a finding and not an accident, so it prints nothing.
fn caught<T>(place: usize, run: impl FnOnce() -> T) -> Result<T, Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_WATCHED.get() {
                let at = info.location().map(ToString::to_string).unwrap_or_default();
                PLACE.replace(at);
            } else {
                usual(info);
            }
        }));
    });
    IS_WATCHED.set(true);
    // The world ends with the first failure, so nobody meets the node that a panic left half-way.
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    IS_WATCHED.set(false);
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let says = format!("n{}: {} ({})", place + 1, text.unwrap_or("a panic"), PLACE.take());
        Failure::new(Check::Panic, says)
    })
}

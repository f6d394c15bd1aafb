//! Whether calls that must take effect in a given order could have.
//!
//! Lay groups of calls out in the order in which they must take effect; inside a group any order will do. That is
//! possible exactly if no call returned before one that was laid out earlier was invoked: then each can take effect
//! just after the latest invocation laid out so far. So one running maximum decides, and the call that holds it and
//! the call that returned too early are the whole reason why it fails.

/// What was laid out so far: the latest invocation, and whose it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<C> {
    latest: Option<(u32, C)>,
}

impl<C: Copy> Layout<C> {
    /// Nothing laid out yet.
    pub(crate) fn new() -> Self {
        Layout { latest: None }
    }

    /// The call laid out so far that was invoked after `returned`, so that what returned then cannot come after it.
    pub(crate) fn obstacle(&self, returned: u32) -> Option<C> {
        self.latest.filter(|(invoked, _)| *invoked > returned).map(|(_, call)| call)
    }

    /// Lays a call out.
    pub(crate) fn lay(&mut self, call: C, invoked: u32) {
        if self.latest.is_none_or(|(latest, _)| latest < invoked) {
            self.latest = Some((invoked, call));
        }
    }
}

//! Counters of what a node has done since it started. They only rise.

/// A node's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads asked for by clients.
    pub gets: u64,
    /// Writes and deletes asked for by clients.
    pub puts: u64,
    /// Listings asked for by clients.
    pub lists: u64,
    /// Calls answered with a failure, whatever the reason.
    pub failed: u64,
    /// Calls answered with a timeout.
    pub timeouts: u64,
    /// Calls refused because too many were in flight.
    pub overloaded: u64,
    /// Reads answered with more than one sibling.
    pub siblings: u64,
    /// Writes handed on to a primary.
    pub forwards: u64,
    /// Forwards that arrived a second time and were ignored.
    pub forwards_doubled: u64,
    /// Repairs sent to stale replicas, this node's own included.
    pub repairs_sent: u64,
    /// Repairs that changed what this node holds.
    pub repairs_applied: u64,
    /// Dots minted.
    pub minted: u64,
    /// Deltas joined in for other coordinators.
    pub stored: u64,
    /// Writes handed to the disk.
    pub writes: u64,
    /// Accesses that shared a write with another.
    pub folded: u64,
    /// Rounds of anti-entropy that found clocks equal.
    pub sync_equal: u64,
    /// Rounds of anti-entropy that found clocks different.
    pub sync_differ: u64,
    /// Objects received by anti-entropy that a log named.
    pub sync_objects: u64,
    /// Pages received in transfers of whole partitions.
    pub sync_pages: u64,
    /// Ranges of keys that peers were asked to compare.
    pub sync_ranges: u64,
    /// Objects received in transfers of whole partitions.
    pub sync_pulled: u64,
    /// Objects of this node's that transfers of whole partitions found equal, and did not move.
    pub sync_same: u64,
    /// Bytes of objects given to peers by anti-entropy.
    pub sync_bytes_given: u64,
    /// Log rows dropped because every replica has them, or because there were too many.
    pub log_dropped: u64,
    /// Log rows dropped although a replica may lack them, because there were too many.
    pub log_cut: u64,
    /// Objects at rest stripped after their clocks had risen.
    pub stripped: u64,
    /// Rows that did not match their checksum.
    pub damaged: u64,
    /// Rows that the slow pass has read.
    pub scrubbed: u64,
    /// Rows that it found not to match their checksum.
    pub scrub_damaged: u64,
    /// Keys whose expired values this node has deleted, as coordinator.
    pub expired: u64,
    /// Damaged rows that were mended.
    pub mended: u64,
    /// Hints kept for other nodes.
    pub hints_kept: u64,
    /// Hints handed over.
    pub hints_handed: u64,
    /// Hints refused because too many were kept.
    pub hints_refused: u64,
    /// Bytes of the hints that were kept for other nodes.
    pub hint_bytes: u64,
    /// Remote dates that were too far ahead to be adopted.
    pub drift_refused: u64,
}

impl Stats {
    /// Every counter with its name, for reports.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 36] {
        [
            ("gets", self.gets),
            ("puts", self.puts),
            ("lists", self.lists),
            ("failed", self.failed),
            ("timeouts", self.timeouts),
            ("overloaded", self.overloaded),
            ("siblings", self.siblings),
            ("forwards", self.forwards),
            ("forwards_doubled", self.forwards_doubled),
            ("repairs_sent", self.repairs_sent),
            ("repairs_applied", self.repairs_applied),
            ("minted", self.minted),
            ("stored", self.stored),
            ("writes", self.writes),
            ("folded", self.folded),
            ("sync_equal", self.sync_equal),
            ("sync_differ", self.sync_differ),
            ("sync_objects", self.sync_objects),
            ("sync_pages", self.sync_pages),
            ("sync_ranges", self.sync_ranges),
            ("sync_pulled", self.sync_pulled),
            ("sync_same", self.sync_same),
            ("sync_bytes_given", self.sync_bytes_given),
            ("log_dropped", self.log_dropped),
            ("log_cut", self.log_cut),
            ("stripped", self.stripped),
            ("damaged", self.damaged),
            ("scrubbed", self.scrubbed),
            ("scrub_damaged", self.scrub_damaged),
            ("expired", self.expired),
            ("mended", self.mended),
            ("hints_kept", self.hints_kept),
            ("hints_handed", self.hints_handed),
            ("hints_refused", self.hints_refused),
            ("hint_bytes", self.hint_bytes),
            ("drift_refused", self.drift_refused),
        ]
    }
}

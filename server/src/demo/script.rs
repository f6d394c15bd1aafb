//! What is done to the cluster, and when: one node is killed and started again, another is paused and resumed.
//!
//! The times are shares of the load's length. A node needs some time to come back, and the next step waits for it:
//! two of three nodes must be up at any time, or the demo would only show that no quorum means no writes. Everything
//! that happens is told in plain words, goes into the history as the nemesis' doing, and begins or ends a phase.

use std::time::Duration;

use tokio::time::sleep;

use super::recorder::Recorder;
use crate::load::cluster::{Cluster, ClusterError};
use crate::load::screen::Screen;
use crate::report::phase::Phase;
use crate::report::run::{Fault, Moment, Span};

/// The node that is killed, and the one that is paused.
const VICTIM: usize = 1;
const SLEEPER: usize = 2;
/// When each step is due, as a share of the load's length.
const KILL: f64 = 0.20;
const RESTART: f64 = 0.42;
const PAUSE: f64 = 0.60;
const RESUME: f64 = 0.80;
/// The least time between a recovery and the next fault, as such a share.
const BREATH: f64 = 0.08;
/// How often the bar moves.
const BEAT: Duration = Duration::from_millis(50);

/// What has happened so far.
pub(super) struct Story<'a> {
    recorder: &'a Recorder,
    screen: &'a Screen,
    /// The phases that are over, and the one that is not.
    phases: Vec<Span>,
    faults: Vec<Fault>,
    timeline: Vec<Moment>,
}

impl<'a> Story<'a> {
    /// A story that begins in calm.
    pub(super) fn new(recorder: &'a Recorder, screen: &'a Screen) -> Self {
        Story {
            recorder,
            screen,
            phases: vec![Span { phase: Phase::Calm, from_s: 0.0, to_s: 0.0 }],
            faults: Vec::new(),
            timeline: Vec::new(),
        }
    }

    /// Something happens; says when it did.
    pub(super) fn tell(&mut self, words: impl Into<String>) -> f64 {
        let at_s = self.recorder.elapsed().as_secs_f64();
        let words = words.into();
        self.screen.line(&format!("  {at_s:5.1} s  {words}"));
        self.timeline.push(Moment { at_s, words });
        at_s
    }

    /// The nemesis does something, and another phase begins.
    pub(super) fn turn(&mut self, f: &'static str, node: &str, phase: Phase, words: String) -> f64 {
        self.recorder.nemesis(f, node, phase);
        let at_s = self.tell(words);
        if let Some(last) = self.phases.last_mut() {
            last.to_s = at_s;
        }
        self.phases.push(Span { phase, from_s: at_s, to_s: at_s });
        at_s
    }

    /// What was done to a node lasted from one moment to another, in seconds.
    pub(super) fn fault(&mut self, phase: Phase, node: &str, words: &str, (from_s, to_s): (f64, f64)) {
        let words = format!("{node} {words}");
        self.faults.push(Fault { phase, node: node.to_owned(), words, from_s, to_s });
    }

    /// The load is over: gives the phases, faults and moments so far, and the load's length.
    pub(super) fn end(mut self, load_s: f64) -> (Vec<Span>, Vec<Fault>, Vec<Moment>) {
        if let Some(last) = self.phases.last_mut() {
            last.to_s = load_s;
        }
        (self.phases, self.faults, self.timeline)
    }

    async fn until(&self, due: Duration, words: &str) {
        self.screen.say(words);
        while self.recorder.elapsed() < due {
            sleep(BEAT.min(due.saturating_sub(self.recorder.elapsed()))).await;
            self.screen.beat();
        }
    }
}

/// Plays the whole script over `length` of load.
///
/// # Errors
/// A node that does not come back.
pub(super) async fn play(
    story: &mut Story<'_>,
    cluster: &mut Cluster,
    length: Duration,
) -> Result<(), ClusterError> {
    story.until(length.mul_f64(KILL), "calm").await;
    let victim = &mut cluster.nodes[VICTIM];
    let name = victim.name.clone();
    victim.kill();
    let words = format!("{name} is killed (kill -9); the other two go on");
    let killed_s = story.turn("kill", &name, Phase::Killed, words);
    story.until(length.mul_f64(RESTART), &format!("{name} is dead")).await;
    victim.start()?;
    story.tell(format!("{name} is started again on the data it left behind"));
    victim.until_ready().await?;
    let words = format!("{name} is ready and catches up on what it missed");
    let ready_s = story.turn("start", &name, Phase::Healed, words);
    story.fault(Phase::Killed, &name, "killed", (killed_s, ready_s));

    let breath = story.recorder.elapsed() + length.mul_f64(BREATH);
    story.until(breath.max(length.mul_f64(PAUSE)), "healed").await;
    let sleeper = &cluster.nodes[SLEEPER];
    let name = sleeper.name.clone();
    let paused_at = story.recorder.elapsed();
    sleeper.pause()?;
    let words = format!("{name} is paused (SIGSTOP): connected, and silent");
    let paused_s = story.turn("pause", &name, Phase::Paused, words);
    let pause = length.mul_f64(RESUME - PAUSE);
    story.until(paused_at + pause, &format!("{name} is paused")).await;
    sleeper.resume()?;
    let words = format!("{name} goes on (SIGCONT), with a clock that stood still");
    let resumed_s = story.turn("resume", &name, Phase::Healed, words);
    story.fault(Phase::Paused, &name, "paused", (paused_s, resumed_s));

    let breath = story.recorder.elapsed() + length.mul_f64(BREATH);
    story.until(breath.max(length), "healed").await;
    Ok(())
}

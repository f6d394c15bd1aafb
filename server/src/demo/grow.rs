//! A cluster that grows, loses nodes and disks and shrinks, under load: what is done to it, and when.
//!
//! Three nodes get a stock of keys, of which some are deleted again. While sessions work on keys of their own, two new
//! nodes join; one of the first three is killed for good and removed, and comes back with its old disk when nobody
//! counts on it any more; another is killed, loses its disk, and is replaced by a new node under a new name; and one
//! leaves in good order. Each change is staged, planned and applied as an operator does it, and nothing begins before
//! the change before it has settled. Sessions learn late who has come and who has gone, as clients do: until then they
//! find a node that is gone, and go on with another. At the end the stock is counted through every node. Then all keys
//! are deleted, and the disks are looked at: of what is deleted nothing may be left.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::operator::Operator;
use super::rest;
use super::script::Story;
use super::stock::{Look, Miss, Stock};
use crate::load::cluster::Cluster;
use crate::load::screen::{Screen, thousands};
use crate::report::phase::Phase;
use crate::report::run::{Counted, Emptied, Emptying, Folder};
use crate::report::table::align;
use crate::store;

/// The node that is removed, the one that loses its disk, and the one that leaves, which came later.
const REMOVED: usize = 0;
const VICTIM: usize = 1;
const LEAVER: usize = 3;
/// The member that is asked for changes; it stays.
const ASKED: usize = 2;
/// How long a change of the layout may take until all data is where it belongs.
const SETTLE_MAX: Duration = Duration::from_secs(300);
/// How long news may take from one node to another.
const NEWS_MAX: Duration = Duration::from_secs(60);
/// How long the sessions go on between two steps, and before they hear who has gone.
const BREATH: Duration = Duration::from_millis(500);
/// How long nodes may have something left to do after everything was deleted.
const QUIET_MAX: Duration = Duration::from_secs(300);
/// How many misses are printed; the run folder has more.
const MISSES_SHOWN_MAX: usize = 20;

/// Everybody who can be asked, as the sessions know it.
pub(super) type Roster = watch::Sender<Vec<(String, SocketAddr)>>;

/// The script, and how long its steps took.
pub(super) struct Script<'a> {
    operator: Operator<'a>,
    screen: &'a Screen,
    steps: Vec<[String; 2]>,
}

impl<'a> Script<'a> {
    /// A script that has not begun.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(folder: &Folder, screen: &'a Screen) -> Result<Self, Box<dyn Error>> {
        let operator = Operator::new(screen, &folder.path().join("cluster.txt"))?;
        Ok(Script { operator, screen, steps: Vec::new() })
    }

    /// Fills the stock and deletes a part of it.
    ///
    /// # Errors
    /// The key that is not taken, or a node that does not say how the cluster stands.
    pub(super) async fn stock(
        &mut self,
        story: &mut Story<'_>,
        cluster: &Cluster,
        stock: &mut Stock,
    ) -> Result<(), Box<dyn Error>> {
        let nodes = cluster.running();
        self.operator.tell(nodes[ASKED].1).await?;
        let began = Instant::now();
        stock.fill(&nodes, self.screen).await?;
        story.tell(format!("{} keys are written", thousands(stock.kept())));
        self.took(&format!("write {} keys", thousands(stock.kept())), began);
        let began = Instant::now();
        stock.thin(&nodes, self.screen).await?;
        story.tell(format!("{} of them are deleted; none may ever come back", thousands(stock.deleted())));
        self.took(&format!("delete {} of them", thousands(stock.deleted())), began);
        Ok(())
    }

    /// Changes the cluster, step by step, while the sessions work.
    ///
    /// # Errors
    /// A node that does not start, a change that is refused, or one that does not settle.
    pub(super) async fn play(
        &mut self,
        story: &mut Story<'_>,
        cluster: &mut Cluster,
        roster: &Roster,
    ) -> Result<(), Box<dyn Error>> {
        sleep(BREATH).await;
        self.join(story, cluster, roster).await?;
        sleep(BREATH).await;
        self.remove(story, cluster, roster).await?;
        sleep(BREATH).await;
        self.replace(story, cluster, roster).await?;
        sleep(BREATH).await;
        self.leave(story, cluster, roster).await?;
        sleep(BREATH).await;
        Ok(())
    }

    /// Two new nodes come in, by one change of the layout.
    async fn join(
        &mut self,
        story: &mut Story<'_>,
        cluster: &mut Cluster,
        roster: &Roster,
    ) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        let asked = cluster.nodes[ASKED].http;
        let known = cluster.nodes[ASKED].peers;
        let mut names = Vec::new();
        let mut begun = Vec::new();
        for _ in 0..2 {
            let number = cluster.add(known).await?;
            let node = &cluster.nodes[number];
            let words = format!("{} is started with an empty disk, and is to join", node.name);
            begun.push((number, story.turn("start-join", &node.name, Phase::Joining, words)));
            self.operator.stage(asked, "join", &json!({ "address": node.peers.to_string() })).await?;
            names.push(node.name.clone());
        }
        let epoch = self.operator.apply(asked).await?;
        let names = names.join(" and ");
        story.tell(format!("layout {epoch} is applied: {names} are members, and get their share"));
        self.operator.until_settled(&cluster.running(), epoch, SETTLE_MAX).await?;
        for (number, from_s) in begun {
            let name = &cluster.nodes[number].name;
            let words = format!("{name} has its share of the data");
            let to_s = story.turn("stop-join", name, Phase::Healed, words);
            story.fault(Phase::Joining, name, "joins", (from_s, to_s));
        }
        roster.send_replace(cluster.running());
        self.took(&format!("join {names}"), began);
        Ok(self.operator.tell(asked).await?)
    }

    /// A node is killed for good, and removed; it hears of that when it comes back.
    async fn remove(
        &mut self,
        story: &mut Story<'_>,
        cluster: &mut Cluster,
        roster: &Roster,
    ) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        let asked = cluster.nodes[ASKED].http;
        let removed = &mut cluster.nodes[REMOVED];
        let name = removed.name.clone();
        removed.kill();
        let words = format!("{name} is killed (kill -9), and given up");
        let from_s = story.turn("start-remove", &name, Phase::Killed, words);
        sleep(BREATH).await;
        self.operator.stage(asked, "remove", &json!({ "node": name })).await?;
        let epoch = self.operator.apply(asked).await?;
        story.tell(format!(
            "layout {epoch} is applied: {name} is removed; the others get its share from each other"
        ));
        roster.send_replace(cluster.running());
        self.operator.until_settled(&cluster.running(), epoch, SETTLE_MAX).await?;
        let words = format!("what {name} had has three copies again");
        let to_s = story.turn("stop-remove", &name, Phase::Healed, words);
        story.fault(Phase::Killed, &name, "is lost and removed", (from_s, to_s));
        self.operator.tell(asked).await?;

        let returned = &mut cluster.nodes[REMOVED];
        returned.start()?;
        let who = [(name.clone(), returned.http)];
        let what = format!("{name} hears that it was removed");
        self.operator.until(&who, (&what, NEWS_MAX), |status| !status.member).await?;
        story.tell(format!("{name} came back with its old disk, heard that it was removed, and is stopped"));
        cluster.nodes[REMOVED].stop().await?;
        self.took(&format!("lose and remove {name}"), began);
        Ok(())
    }

    /// A node hands over what it has, and goes.
    async fn leave(
        &mut self,
        story: &mut Story<'_>,
        cluster: &mut Cluster,
        roster: &Roster,
    ) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        let asked = cluster.nodes[ASKED].http;
        let name = cluster.nodes[LEAVER].name.clone();
        self.operator.stage(asked, "leave", &json!({ "node": name })).await?;
        let epoch = self.operator.apply(asked).await?;
        let words = format!("layout {epoch} is applied: {name} leaves, and hands over what it has");
        let from_s = story.turn("start-leave", &name, Phase::Leaving, words);
        let (leaver, stay): (Vec<_>, Vec<_>) =
            cluster.running().into_iter().partition(|(node, _)| *node == name);
        self.operator.until_settled(&stay, epoch, SETTLE_MAX).await?;
        let what = format!("{name} knows that it has left");
        self.operator.until(&leaver, (&what, NEWS_MAX), |status| !status.member).await?;
        cluster.nodes[LEAVER].stop().await?;
        let words = format!("{name} has handed over everything, and is stopped");
        let to_s = story.turn("stop-leave", &name, Phase::Healed, words);
        story.fault(Phase::Leaving, &name, "leaves", (from_s, to_s));
        sleep(BREATH).await;
        roster.send_replace(cluster.running());
        self.took(&format!("leave {name}"), began);
        Ok(self.operator.tell(asked).await?)
    }

    /// A node is killed and its disk lost; a new one, under a new name, takes its place.
    async fn replace(
        &mut self,
        story: &mut Story<'_>,
        cluster: &mut Cluster,
        roster: &Roster,
    ) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        let (asked, known) = (cluster.nodes[ASKED].http, cluster.nodes[ASKED].peers);
        let victim = &mut cluster.nodes[VICTIM];
        let name = victim.name.clone();
        victim.kill();
        let words = format!("{name} is killed (kill -9), and its disk is lost");
        let from_s = story.turn("start-loss", &name, Phase::Killed, words);
        victim.wipe()?;
        sleep(BREATH).await;
        let number = cluster.add(known).await?;
        let successor = &cluster.nodes[number];
        story.tell(format!("{} is started with an empty disk, and is to replace {name}", successor.name));
        // It asks by itself to be taken in as one more; what is wanted here is something else.
        let who = [(cluster.nodes[ASKED].name.clone(), asked)];
        let what = format!("the request of {} is staged", successor.name);
        self.operator.until(&who, (&what, NEWS_MAX), |status| !status.staged.is_empty()).await?;
        self.operator.stage(asked, "unstage", &json!({})).await?;
        let order = json!({ "node": name, "address": successor.peers.to_string() });
        self.operator.stage(asked, "replace", &order).await?;
        let epoch = self.operator.apply(asked).await?;
        let heir = successor.name.clone();
        story.tell(format!("layout {epoch} is applied: {heir} takes the place of {name}"));
        self.operator.until_settled(&cluster.running(), epoch, SETTLE_MAX).await?;
        let words = format!("{heir} has everything that {name} had");
        let to_s = story.turn("stop-loss", &name, Phase::Healed, words);
        story.fault(Phase::Killed, &name, "is lost and replaced", (from_s, to_s));
        roster.send_replace(cluster.running());
        self.took(&format!("kill {name}, lose its disk, replace it by {heir}"), began);
        Ok(self.operator.tell(asked).await?)
    }

    /// Deletes every key, those of the history (`others`) too, waits until the nodes have nothing left to do, and looks
    /// at what is left on their disks. The nodes are stopped for that.
    ///
    /// # Errors
    /// A key that is not deleted, nodes that never rest, or what the system says.
    pub(super) async fn empty(
        &mut self,
        story: &mut Story<'_>,
        cluster: &mut Cluster,
        stock: &Stock,
        others: Vec<String>,
    ) -> Result<Emptied, Box<dyn Error>> {
        let nodes = cluster.running();
        let full = cluster.measure()?;
        let began = Instant::now();
        let keys = stock.keys() + others.len() as u64;
        stock.clear(others, &nodes, self.screen).await?;
        story.tell(format!(
            "every key is deleted; {} bytes of values are to go from each disk",
            thousands(stock.bytes(stock.kept()))
        ));
        self.took("delete everything", began);
        let began = Instant::now();
        let what = "no node has anything left to do";
        self.operator.until(&nodes, (what, QUIET_MAX), |status| status.unrest.is_none()).await?;
        let quiet_after_s = began.elapsed().as_secs_f64();
        story.tell(format!("no node has anything left to do, {quiet_after_s:.1} s after the last delete"));
        self.took("come to rest", began);
        let deleted = cluster.measure()?;
        let mut folders = Vec::new();
        for (number, (full, deleted)) in full.into_iter().zip(deleted).enumerate() {
            let node = &mut cluster.nodes[number];
            let (Some(full), Some(deleted)) = (full, deleted) else { continue };
            node.stop().await?;
            let rows_left = store::inspect(node.data())?.of_keys();
            store::compact(node.data())?;
            let compacted = store::measure(node.data())?;
            folders.push(Emptying {
                node: node.name.clone(),
                full_tables_bytes: full.tables_bytes,
                full_journal_bytes: full.journal_bytes,
                deleted_tables_bytes: deleted.tables_bytes,
                deleted_journal_bytes: deleted.journal_bytes,
                compacted_tables_bytes: compacted.tables_bytes,
                compacted_journal_bytes: compacted.journal_bytes,
                rows_left,
            });
        }
        let emptied = Emptied { keys, quiet_after_s, folders };
        story.tell(match emptied.rows_left() {
            0 => "all nodes are stopped; of what was deleted no row is left on any disk".to_owned(),
            rows => {
                format!("all nodes are stopped; {} rows of deleted keys are STILL THERE", thousands(rows))
            }
        });
        self.operator.show(&sizes(&emptied))?;
        Ok(emptied)
    }

    /// That the nodes go on finding differences for longer than `limit`.
    pub(super) async fn never_quiet(&self, cluster: &Cluster, limit: Duration) -> Box<dyn Error> {
        let what = "no node finds a difference to another one any more";
        self.operator.late(&cluster.running(), what, limit).await.into()
    }

    /// Counts the stock through every node that is left, shows how long everything took, and keeps what is not as it
    /// must be in the run folder (`misses.jsonl`).
    ///
    /// # Errors
    /// A node that does not say how the cluster stands, or what the system says.
    pub(super) async fn count(
        &mut self,
        story: &mut Story<'_>,
        cluster: &Cluster,
        stock: &Rc<Stock>,
        folder: &Folder,
    ) -> Result<Counted, Box<dyn Error>> {
        let nodes = cluster.running();
        let (mut compared, mut misses) = (0, Vec::new());
        let before = rest::repairs(&nodes).await;
        for look in Look::ALL {
            let began = Instant::now();
            let (answers, missed) = stock.count(look, &nodes, self.screen).await;
            let (told, by) = (thousands(answers), look.as_str());
            story.tell(match missed.len() {
                0 => {
                    format!("{told} answers compared, by {by} on each node: nothing is missing or came back")
                }
                more => format!("{told} answers compared, by {by} on each node: {more} are WRONG"),
            });
            self.took(&format!("count by {by} on {} nodes", nodes.len()), began);
            compared += answers;
            misses.extend(missed);
        }
        let after = rest::repairs(&nodes).await;
        let repaired = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        self.operator.tell(nodes[0].1).await?;
        self.keep(&misses, folder)?;
        Ok(Counted {
            kept: stock.kept(),
            deleted: stock.deleted(),
            nodes: nodes.len() as u64,
            compared,
            repaired,
            misses: misses.len() as u64,
        })
    }

    /// Shows how long each step took.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn tell_times(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(self.operator.show(&align(["step", "took"], &self.steps, 1))?)
    }

    fn took(&mut self, step: &str, began: Instant) {
        self.steps.push([step.to_owned(), format!("{:.1} s", began.elapsed().as_secs_f64())]);
    }

    /// Shows the first of what is not as it must be, and keeps all of it.
    fn keep(&self, misses: &[Miss], folder: &Folder) -> Result<(), Box<dyn Error>> {
        if misses.is_empty() {
            return Ok(());
        }
        for miss in misses.iter().take(MISSES_SHOWN_MAX) {
            self.screen.line(&format!("MISS  {miss}"));
        }
        if let Some(more) = misses.len().checked_sub(MISSES_SHOWN_MAX).filter(|more| *more > 0) {
            self.screen.line(&format!("      … and {more} more"));
        }
        let mut file = BufWriter::new(File::create(folder.path().join("misses.jsonl"))?);
        for miss in misses {
            writeln!(file, "{}", serde_json::to_string(miss)?)?;
        }
        Ok(file.flush()?)
    }
}

/// What the folders held, as a table.
fn sizes(emptied: &Emptied) -> String {
    let row = |folder: &Emptying| {
        let Emptying { node, rows_left, .. } = folder;
        [
            node.clone(),
            thousands(folder.full_tables_bytes),
            thousands(folder.full_journal_bytes),
            thousands(folder.deleted_tables_bytes),
            thousands(folder.deleted_journal_bytes),
            thousands(folder.compacted_tables_bytes),
            thousands(folder.compacted_journal_bytes),
            thousands(*rows_left),
        ]
    };
    let rows: Vec<_> = emptied.folders.iter().map(row).collect();
    let columns = [
        "bytes",
        "full: tables",
        "journal",
        "deleted: tables",
        "journal",
        "compacted: tables",
        "journal",
        "rows of keys",
    ];
    align(columns, &rows, 1)
}

//! Nodes of this very program, as child processes on loopback, for a run: three that begin, and any that come later.
//!
//! Each node has a configuration file, a data folder and a log file. Nodes can be killed as by a power cut, started
//! again on the same data, paused as by a long garbage collection, resumed, stopped in good order, and have their disk
//! lost. Nodes that come later wait to be taken in; who is in the cluster is an operator's matter and none of this
//! file's. Whatever ends the run, an error, a panic or Ctrl-C, the children are killed when the [`Cluster`] is dropped;
//! a paused child, too. Only a `kill -9` of this process leaves them alive.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::http::{Client, Request};
use crate::store::{self, Files};

/// How many nodes a cluster begins with.
pub(crate) const NODES: usize = 3;
/// How long a node may take until it answers `/ready`.
const READY_MAX: Duration = Duration::from_secs(30);
/// How often a node that is not ready yet, or not gone yet, is asked again.
const READY_EVERY: Duration = Duration::from_millis(20);
/// How long a node may take to end in good order.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How much of a log an error shows.
const LOG_LINES_MAX: usize = 12;
/// A free port may be taken by somebody else before the node binds it; so a cluster is tried again.
const STARTS_MAX: usize = 3;

/// Why a cluster does not do as told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// A file, a port or a process cannot be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// A node ended by itself.
    #[error("{node} ended by itself ({status}); the end of its log, {}:\n{log}", .path.display())]
    Ended {
        /// Which.
        node: String,
        /// How.
        status: String,
        /// Its last lines.
        log: String,
        /// Where all of them are.
        path: PathBuf,
    },
    /// A node does not become ready.
    #[error("{node} is not ready after {} s; the end of its log, {}:\n{log}", READY_MAX.as_secs(), .path.display())]
    NotReady {
        /// Which.
        node: String,
        /// Its last lines.
        log: String,
        /// Where all of them are.
        path: PathBuf,
    },
}

fn at(what: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterError {
    let what = what.into();
    move |source| ClusterError::Io { what, source }
}

/// The nodes of a run.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The nodes, by number from 0: the first [`NODES`], then those that came later. Whoever is gone keeps its place.
    pub(crate) nodes: Vec<Node>,
    program: PathBuf,
    folder: PathBuf,
    logs: PathBuf,
}

impl Cluster {
    /// Starts the nodes with data and configuration under `folder` and logs under `logs`, and waits until all
    /// of them are ready.
    ///
    /// # Errors
    /// What went wrong with which node.
    pub(crate) async fn start(program: &Path, folder: &Path, logs: &Path) -> Result<Self, ClusterError> {
        let mut start = 1;
        loop {
            match Cluster::try_start(program, &folder.join(format!("start-{start}")), logs).await {
                Err(ClusterError::Ended { log, .. }) if start < STARTS_MAX && is_about_ports(&log) => {
                    start += 1
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_start(program: &Path, folder: &Path, logs: &Path) -> Result<Self, ClusterError> {
        let ports = free_ports(2 * NODES).map_err(at("no free port"))?;
        let (peers, https) = ports.split_at(NODES);
        let mut nodes = Vec::with_capacity(NODES);
        for (number, (peer, http)) in peers.iter().zip(https).enumerate() {
            let name = name_of(number);
            let root = folder.join(&name);
            fs::create_dir_all(&root).map_err(at(root.display().to_string()))?;
            let config = folder.join(format!("{name}.toml"));
            let text = configuration(&name, *peer, *http, &root) + &list(*peer, peers);
            fs::write(&config, text).map_err(at(config.display().to_string()))?;
            nodes.push(Node {
                log: logs.join(format!("{name}.log")),
                name,
                http: loopback(*http),
                peers: loopback(*peer),
                program: program.to_owned(),
                config,
                data: root,
                child: None,
            });
        }
        let [program, folder, logs] = [program, folder, logs].map(Path::to_owned);
        let mut cluster = Cluster { nodes, program, folder, logs };
        for node in &mut cluster.nodes {
            node.start()?;
        }
        for node in &mut cluster.nodes {
            node.until_ready().await?;
        }
        Ok(cluster)
    }

    /// Starts one more node with an empty disk, which asks the one that listens for nodes at `known` to be taken into
    /// its cluster, and waits until it listens itself. It serves nothing before it is taken in. Gives its number.
    ///
    /// # Errors
    /// What went wrong with it.
    pub(crate) async fn add(&mut self, known: SocketAddr) -> Result<usize, ClusterError> {
        let number = self.nodes.len();
        let mut start = 1;
        loop {
            let mut node = self.newcomer(&name_of(number), start, known)?;
            node.start()?;
            match node.until_answering().await {
                Err(ClusterError::Ended { log, .. }) if start < STARTS_MAX && is_about_ports(&log) => {
                    start += 1
                }
                outcome => {
                    self.nodes.push(node);
                    return outcome.map(|()| number);
                }
            }
        }
    }

    fn newcomer(&self, name: &str, start: usize, known: SocketAddr) -> Result<Node, ClusterError> {
        let ports = free_ports(2).map_err(at("no free port"))?;
        let (peers, http) = (ports[0], ports[1]);
        let data = self.folder.join(format!("{name}-start-{start}"));
        fs::create_dir_all(&data).map_err(at(data.display().to_string()))?;
        let config = self.folder.join(format!("{name}.toml"));
        let text = configuration(name, peers, http, &data) + &format!("join = [\"{known}\"]\n");
        fs::write(&config, text).map_err(at(config.display().to_string()))?;
        Ok(Node {
            log: self.logs.join(format!("{name}.log")),
            name: name.to_owned(),
            http: loopback(http),
            peers: loopback(peers),
            program: self.program.clone(),
            config,
            data,
            child: None,
        })
    }

    /// What each node's files have on disk, by number; nothing for those that do not run.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn measure(&self) -> io::Result<Vec<Option<Files>>> {
        let files = |node: &Node| node.is_running().then(|| store::measure(&node.data)).transpose();
        self.nodes.iter().map(files).collect()
    }

    /// The nodes that run, with their names and where they serve HTTP.
    pub(crate) fn running(&self) -> Vec<(String, SocketAddr)> {
        let running = self.nodes.iter().filter(|node| node.is_running());
        running.map(|node| (node.name.clone(), node.http)).collect()
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn is_about_ports(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("address in use")
}

/// Ports that nobody listens on, each of them another.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    // All of them are held until all are known, or the system might give one twice.
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn name_of(number: usize) -> String {
    format!("n{}", number + 1)
}

fn configuration(name: &str, port: u16, http: u16, root: &Path) -> String {
    let root = toml::Value::from(root.display().to_string());
    format!("name = \"{name}\"\nport = {port}\nhttpport = {http}\nroot = {root}\n")
}

/// The nodes that begin a cluster, for the configuration of the one that listens on `port`.
fn list(port: u16, peers: &[u16]) -> String {
    let mut text = String::new();
    for (number, peer) in peers.iter().enumerate().filter(|(_, peer)| **peer != port) {
        let peer_name = name_of(number);
        let _ = write!(text, "\n[[node]]\nname = \"{peer_name}\"\nhost = \"127.0.0.1\"\nport = {peer}\n");
    }
    text
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its name, `n1` and so on.
    pub(crate) name: String,
    /// Where it serves HTTP.
    pub(crate) http: SocketAddr,
    /// Where it listens for other nodes.
    pub(crate) peers: SocketAddr,
    /// Where its log goes.
    pub(crate) log: PathBuf,
    program: PathBuf,
    config: PathBuf,
    data: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// Starts the process; it is not ready yet.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(&mut self) -> Result<(), ClusterError> {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(at(self.log.display().to_string()))?;
        let output = log.try_clone().map_err(at(self.log.display().to_string()))?;
        let mut command = Command::new(&self.program);
        // Settings in the environment win over the file, and would make all nodes one.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GODOWN_")) {
            command.env_remove(name);
        }
        let child = command
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(log)
            .spawn()
            .map_err(at(format!("{} cannot be started", self.program.display())))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the node says that it is ready.
    ///
    /// # Errors
    /// That it ended, or that it takes too long.
    pub(crate) async fn until_ready(&mut self) -> Result<(), ClusterError> {
        self.until(|status| status == 200).await
    }

    /// Waits until the node answers at all, be it that it is not ready.
    async fn until_answering(&mut self) -> Result<(), ClusterError> {
        self.until(|_| true).await
    }

    /// Waits until the node answers `/ready` with a status that will do.
    async fn until(&mut self, will_do: impl Fn(u16) -> bool) -> Result<(), ClusterError> {
        let deadline = Instant::now() + READY_MAX;
        let mut client = Client::new(self.http, Duration::from_secs(1));
        loop {
            if let Some(status) = self.ended()? {
                return Err(ClusterError::Ended {
                    node: self.name.clone(),
                    status,
                    log: self.last_lines(),
                    path: self.log.clone(),
                });
            }
            let answer = client.call(&Request::get("/ready")).await;
            if answer.is_ok_and(|response| will_do(response.status)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(ClusterError::NotReady {
                    node: self.name.clone(),
                    log: self.last_lines(),
                    path: self.log.clone(),
                });
            }
            sleep(READY_EVERY).await;
        }
    }

    /// Ends the process in good order (SIGTERM), or at once if it takes too long over it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn stop(&mut self) -> Result<(), ClusterError> {
        let deadline = Instant::now() + STOP_MAX;
        self.signal(Signal::TERM)?;
        while self.ended()?.is_none() && Instant::now() < deadline {
            sleep(READY_EVERY).await;
        }
        self.kill();
        Ok(())
    }

    /// Takes away everything that it had on disk, for good. It must not run.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn wipe(&self) -> Result<(), ClusterError> {
        assert!(self.child.is_none(), "{} runs on the disk that is to be lost", self.name);
        fs::remove_dir_all(&self.data).map_err(at(self.data.display().to_string()))
    }

    /// Where its data lies.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Whether its process was started and not ended since by whoever runs the cluster.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Ends the process at once, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Killing fails only if the process has ended by itself, and then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process in its tracks (SIGSTOP): it keeps its sockets and answers nothing.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn pause(&self) -> Result<(), ClusterError> {
        self.signal(Signal::STOP)
    }

    /// Lets the process go on (SIGCONT).
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn resume(&self) -> Result<(), ClusterError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), ClusterError> {
        let Some(child) = &self.child else { return Ok(()) };
        let pid = Pid::from_child(child);
        kill_process(pid, signal)
            .map_err(|errno| at(format!("{} cannot be signalled", self.name))(errno.into()))
    }

    fn ended(&mut self) -> Result<Option<String>, ClusterError> {
        let Some(child) = &mut self.child else { return Ok(Some("not started".to_owned())) };
        let status = child.try_wait().map_err(at(self.name.clone()))?;
        Ok(status.map(|status| status.to_string()))
    }

    fn last_lines(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until the user or the system wants this process to end, and says in which words. Whoever owns a cluster
/// must wait for this beside its work: a process that a signal ends drops nothing, and its nodes would live on.
pub(crate) async fn interrupted() -> &'static str {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Without handlers there is nothing to wait for; the system then ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "interrupted; the nodes are stopped",
        _ = terminate.recv() => "terminated; the nodes are stopped",
        _ = hangup.recv() => "the terminal is gone; the nodes are stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_the_node_and_the_others() {
        let text =
            configuration("n2", 7001, 3001, Path::new("/tmp/a \"b\"")) + &list(7001, &[7000, 7001, 7002]);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["name"].as_str(), Some("n2"));
        assert_eq!(table["root"].as_str(), Some("/tmp/a \"b\""));
        let ports: Vec<_> = table["node"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| (node["name"].as_str().unwrap(), node["port"].as_integer().unwrap()))
            .collect();
        assert_eq!(ports, [("n1", 7000), ("n3", 7002)]);
    }

    #[test]
    fn free_ports_are_all_different() {
        let mut ports = free_ports(32).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 32);
    }

    fn sleeper(folder: &Path) -> Node {
        Node {
            name: "n1".to_owned(),
            http: loopback(1),
            peers: loopback(2),
            log: folder.join("n1.log"),
            program: PathBuf::from("/bin/sh"),
            config: PathBuf::new(),
            data: folder.join("n1"),
            child: Command::new("sleep").arg("600").spawn().ok(),
        }
    }

    #[test]
    fn a_paused_child_dies_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let node = sleeper(folder.path());
        let pid = Pid::from_child(node.child.as_ref().unwrap());
        node.pause().unwrap();
        drop(node);
        assert!(rustix::process::test_kill_process(pid).is_err(), "the child is still there");
    }

    #[tokio::test]
    async fn a_node_that_is_stopped_is_gone_and_its_disk_can_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut node = sleeper(folder.path());
        fs::create_dir(&node.data).unwrap();
        fs::write(node.data.join("row"), "value").unwrap();
        let pid = Pid::from_child(node.child.as_ref().unwrap());
        node.stop().await.unwrap();
        assert!(rustix::process::test_kill_process(pid).is_err(), "the child is still there");
        node.wipe().unwrap();
        assert!(!node.data.exists());
    }

    #[tokio::test]
    async fn a_node_that_ends_at_once_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        // A shell takes none of the arguments and says so.
        let error =
            Cluster::start(Path::new("/bin/sh"), folder.path(), folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("n1 ended by itself") && error.contains("serve"), "{error}");
    }
}

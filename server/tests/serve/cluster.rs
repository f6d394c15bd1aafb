//! Real nodes on free loopback ports over temporary folders, ended when the test ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, Response};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `is_so`, or fails saying that `what` did not come about.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `godown` to its end.
pub(crate) fn godown(arguments: &[&str]) -> (ExitStatus, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_godown"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status, text(output.stdout), text(output.stderr))
}

/// An address that nobody listens on, and that nobody else is given in this run.
pub(crate) fn free_address() -> SocketAddr {
    free_address_on("127.0.0.1")
}

/// The same, on another loopback address.
///
/// Its port lies below those that systems give to connections as they are made: one of these would be taken by somebody
/// else between this look and the node's start.
pub(crate) fn free_address_on(host: &str) -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Runs of several checkouts begin at different places.
    let begin = std::process::id().wrapping_mul(997);
    let is_free = |port: &u16| TcpListener::bind((host, *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        12_000 + (begin.wrapping_add(given) % 10_000) as u16
    });
    let port = ports.by_ref().take(10_000).find(is_free).expect("a free port");
    (host, port).to_socket_addrs().expect("an address").next().expect("one address")
}

/// One node, running or not.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) peers: SocketAddr,
    config: PathBuf,
    running: Option<(Child, SocketAddr)>,
}

impl Node {
    /// Puts settings at the top of its configuration file, for the next start, and gives what the file was.
    pub(crate) fn configure(&self, settings: &str) -> String {
        let text = fs::read_to_string(&self.config).expect("readable");
        fs::write(&self.config, format!("{settings}\n{text}")).expect("written");
        text
    }

    /// Replaces words in its configuration file, everywhere, for the next start.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.config).expect("readable");
        assert!(text.contains(from), "no {from} in {text}");
        fs::write(&self.config, text.replace(from, to)).expect("written");
    }

    /// Drops the list of nodes from its configuration file, for the next start.
    pub(crate) fn unlist(&self) {
        let text = fs::read_to_string(&self.config).expect("readable");
        let (head, _) = text.split_once("[[node]]").expect("a list");
        fs::write(&self.config, head).expect("written");
    }

    /// Starts it; it serves when this returns, though it may have to catch up.
    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.name);
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_godown"))
            .args(["serve", "--announce", "json", "--stop-with-stdin", "--config"])
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line of text");
        if line.is_empty() {
            let status = child.wait().expect("it ended");
            panic!("{} ended at once ({status}): {}", self.name, self.log());
        }
        let said: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        let http = said["http"].as_str().expect("an address").parse().expect("an address");
        self.running = Some((child, http));
    }

    pub(crate) fn start_and_wait(&mut self) {
        self.start();
        self.wait_until_ready();
    }

    pub(crate) fn wait_until_ready(&self) {
        wait_until(&format!("{} is ready", self.name), || self.is_ready());
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get("/ready").status == 200
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").1
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.http())
    }

    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.client().request(method, target, headers, body)
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    /// Runs `godown cluster` with this node as the one that is asked.
    pub(crate) fn cluster(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let url = format!("http://{}", self.http());
        let (status, stdout, stderr) = godown(&[&["cluster", "--node", &url], arguments].concat());
        (status.code(), stdout, stderr)
    }

    /// The same, which must be done. Gives what it says.
    pub(crate) fn operate(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.cluster(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// The same, which must be refused. Gives the reason.
    pub(crate) fn refuses(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.cluster(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {stdout}{stderr}");
        stderr
    }

    /// A write that must be acknowledged. Gives the clock.
    pub(crate) fn put(&self, target: &str, value: &[u8]) -> String {
        let response = self.request("PUT", target, &[], value);
        assert_eq!(response.status, 200, "{}", response.text());
        response.clock().to_owned()
    }

    /// A number in `/stats`, by the names on the way to it.
    pub(crate) fn stat(&self, path: &str) -> u64 {
        let page: serde_json::Value =
            serde_json::from_str(self.get("/stats").text()).expect("a page of JSON");
        let number = page.pointer(path).and_then(serde_json::Value::as_u64);
        number.unwrap_or_else(|| panic!("no number at {path} in {page:#}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let (child, _) = self.running.as_ref().expect("it runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it takes the signal");
    }

    /// Waits for the end that was ordered.
    pub(crate) fn join(&mut self) -> ExitStatus {
        let (mut child, _) = self.running.take().expect("it runs");
        let mut status = None;
        wait_until(&format!("{} ends", self.name), || {
            status = child.try_wait().expect("a process to ask after");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Stops it in good order.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.join();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.join();
    }

    fn log_path(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        let mut log = String::new();
        let mut file = fs::File::open(self.log_path()).expect("a log file");
        file.read_to_string(&mut log).expect("text");
        log
    }

    /// Waits until it has logged `words`.
    pub(crate) fn wait_for_log(&self, words: &str) {
        wait_until(&format!("{} logs '{words}'", self.name), || self.log().contains(words));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() && self.log_path().exists() {
            eprintln!("--- the log of {}:\n{}", self.name, self.log());
        }
    }
}

/// How the nodes of a test list each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lists {
    /// All nodes, with their names.
    Named,
    /// As MecDB's files: the other nodes, without names.
    MecDb,
    /// All nodes, without names.
    MecDbAll,
}

/// Some nodes that belong together.
pub(crate) struct Cluster {
    // Before the folder: nodes end before it goes.
    nodes: Vec<Node>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// `count` nodes, not started. `settings` goes into each configuration file.
    pub(crate) fn new(count: usize, lists: Lists, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let addresses: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
        let node = |index: usize| {
            let name = format!("n{}", index + 1);
            let root = folder.path().join(&name);
            let config = folder.path().join(format!("{name}.toml"));
            let mut text = format!(
                "name = \"{name}\"\nport = {}\nhttpport = 0\nroot = \"{}\"\n{settings}\n",
                addresses[index].port(),
                root.display()
            );
            for (other, address) in addresses.iter().enumerate() {
                if other == index && lists == Lists::MecDb {
                    continue;
                }
                text.push_str("[[node]]\n");
                if lists == Lists::Named {
                    text.push_str(&format!("name = \"n{}\"\n", other + 1));
                }
                text.push_str(&format!("host = \"127.0.0.1\"\nport = {}\n", address.port()));
            }
            fs::write(&config, text).expect("written");
            Node { name, folder: root, peers: addresses[index], config, running: None }
        };
        Self { nodes: (0..count).map(node).collect(), folder }
    }

    /// One more node, not started: `name` listens on `address` and has `settings`, but no list.
    pub(crate) fn add(&mut self, name: &str, address: SocketAddr, settings: &str) -> &mut Node {
        // Two may have one name.
        let place = format!("{name}-{}", self.nodes.len());
        let root = self.folder.path().join(&place);
        let config = self.folder.path().join(format!("{place}.toml"));
        let text = format!(
            "name = \"{name}\"\nlisten = \"{}\"\nport = {}\nhttpport = 0\nroot = \"{}\"\n{settings}\n",
            address.ip(),
            address.port(),
            root.display()
        );
        fs::write(&config, text).expect("written");
        self.nodes.push(Node { name: name.into(), folder: root, peers: address, config, running: None });
        self.nodes.last_mut().expect("it was just added")
    }

    /// One more node that asks the first one to be taken in, started.
    pub(crate) fn add_joining(&mut self, name: &str) -> &Node {
        let settings = format!("join = [\"{}\"]\nsync_every_ms = 100", self.nodes[0].peers);
        let node = self.add(name, free_address(), &settings);
        node.start();
        node
    }

    /// `count` nodes that are ready.
    pub(crate) fn ready(count: usize, settings: &str) -> Self {
        let mut cluster = Self::new(count, Lists::Named, settings);
        cluster.start();
        cluster
    }

    /// Starts all nodes and waits until each is ready.
    pub(crate) fn start(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
        for node in &self.nodes {
            node.wait_until_ready();
        }
    }
}

impl std::ops::Deref for Cluster {
    type Target = [Node];

    fn deref(&self) -> &[Node] {
        &self.nodes
    }
}

impl std::ops::DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

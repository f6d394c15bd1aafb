//! What comes over the peers' port, from peers and from others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Lists, wait_until};

/// Somebody who pretends to be a node.
struct Pretender {
    stream: TcpStream,
    /// What the node said of itself.
    theirs: Value,
}

fn hello(name: &str, life: u128) -> Value {
    json!({
        "name": name, "life": format!("{life:032x}"), "frames_min": 1, "frames_max": 1,
        "partitions": 256, "replicas": 3,
    })
}

impl Pretender {
    fn greet(address: SocketAddr, hello: &Value) -> Self {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        let text = hello.to_string();
        let mut bytes = b"GODOWN/1".to_vec();
        bytes.extend_from_slice(&u16::try_from(text.len()).expect("short").to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(text.as_bytes()).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        stream.write_all(&bytes).expect("sent");
        let mut head = [0; 14];
        stream.read_exact(&mut head).expect("a hello");
        let mut text = vec![0; usize::from(u16::from_le_bytes([head[8], head[9]]))];
        stream.read_exact(&mut text).expect("a hello");
        let theirs = serde_json::from_slice(&text).expect("JSON");
        Self { stream, theirs }
    }

    fn refusal(&self) -> &str {
        self.theirs["refused"].as_str().unwrap_or_default()
    }

    /// Whether a ping is answered.
    fn is_heard(&mut self) -> bool {
        let mut pong = [1; 4];
        self.stream.write_all(&[0; 4]).is_ok() && self.stream.read_exact(&mut pong).is_ok() && pong == [0; 4]
    }

    fn is_hung_up(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 64]), Ok(0) | Err(_))
    }
}

/// One of three nodes, alone, whose peers others can pretend to be.
fn lonely() -> Cluster {
    let mut cluster = Cluster::new(3, Lists::Named, "");
    cluster[0].start();
    cluster
}

#[test]
fn rubbish_on_the_peers_port_is_logged_and_harms_nobody() {
    let cluster = Cluster::ready(3, "");
    cluster[0].put("/mec/k", b"value");
    let mut noise = 1_u32;
    for bytes in [0, 1, 8, 14, 1_000, 100_000] {
        let rubbish: Vec<u8> = (0..bytes)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        let mut stream = TcpStream::connect(cluster[0].peers).expect("it listens");
        // The node may hang up before everything is sent.
        let _ = stream.write_all(&rubbish);
    }
    wait_until("all were refused", || cluster[0].stat("/network/connections_refused") >= 6);
    cluster[0].wait_for_log("it does not speak the protocol of Godown's nodes");
    assert_eq!(cluster[0].get("/mec/k").values(), [b"value".to_vec()]);
    assert_eq!(cluster[0].stat("/network/peers_connected"), 2);
}

#[test]
fn a_corrupt_frame_closes_the_connection_and_names_the_peer() {
    let cluster = lonely();
    let node = &cluster[0];
    let mut checksum = 20_u32.to_le_bytes().to_vec();
    checksum.extend_from_slice(&[7; 20]);
    let over_long = u32::MAX.to_le_bytes().to_vec();
    let too_short = 5_u32.to_le_bytes().to_vec();
    let cases =
        [(checksum, "does not match its checksum"), (over_long, "4294967295 bytes"), (too_short, "5 bytes")];
    for (count, (bytes, words)) in (1..).zip(cases) {
        let mut pretender = Pretender::greet(node.peers, &hello("n2", 77));
        assert_eq!(pretender.refusal(), "");
        assert!(pretender.is_heard());
        pretender.stream.write_all(&bytes).expect("sent");
        assert!(pretender.is_hung_up());
        wait_until("it is counted", || node.stat("/network/frames_corrupt") == count);
        node.wait_for_log(words);
        assert!(node.log().contains("a frame from this peer is corrupt"), "{}", node.log());
        assert!(node.log().contains("peer=\"n2\""), "{}", node.log());
        wait_until("it is gone", || node.get("/stats").text().matches("\"heard\": true").count() == 0);
    }
    assert_eq!(node.get("/health").status, 200);
    assert_eq!(node.stat("/core/stored"), 0, "nothing was written");
}

#[test]
fn half_a_frame_is_waited_for_and_a_silent_peer_is_given_up() {
    let cluster = lonely();
    let node = &cluster[0];
    let mut pretender = Pretender::greet(node.peers, &hello("n2", 77));
    pretender.stream.write_all(&1_000_000_u32.to_le_bytes()).expect("sent");
    pretender.stream.write_all(&[7; 100]).expect("sent");
    assert!(pretender.is_hung_up(), "after a while without a sign of life");
    node.wait_for_log("it has shown no sign of life");
    assert_eq!(node.stat("/network/frames_corrupt"), 0);
}

#[test]
fn whoever_is_no_member_or_differs_in_what_must_be_equal_is_refused_with_the_reason() {
    let cluster = lonely();
    let refusal = |name: &str, change: fn(&mut Value)| {
        let mut hello = hello(name, 77);
        change(&mut hello);
        Pretender::greet(cluster[0].peers, &hello).refusal().to_owned()
    };
    assert!(refusal("n9", |_| {}).contains("'n9' is not in this node's list"));
    assert!(refusal("n1", |_| {}).contains("this node's own name"));
    assert!(refusal("n2", |hello| hello["partitions"] = 512.into()).contains("partitions = 512"));
    assert!(refusal("n2", |hello| hello["replicas"] = 1.into()).contains("replicas = 1"));
    assert!(refusal("n2", |hello| hello["frames_min"] = 9.into()).contains("versions 9 to 1"));
    assert!(refusal("n2", |hello| hello["life"] = "x".into()).contains("'x' is no life"));
    assert_eq!(refusal("n2", |hello| hello["later"] = "field".into()), "", "unknown fields are passed over");
}

#[test]
fn two_live_connections_under_one_name_or_one_life_are_refused_and_reported() {
    let cluster = lonely();
    let node = &cluster[0];
    let mut first = Pretender::greet(node.peers, &hello("n2", 77));
    let own_life = first.theirs["life"].as_str().expect("a life").to_owned();

    let mut clone = hello("n3", 0);
    clone["life"] = own_life.into();
    let clone = Pretender::greet(node.peers, &clone);
    assert!(clone.refusal().contains("claims a life"), "{}", clone.refusal());
    let copy = Pretender::greet(node.peers, &hello("n3", 77));
    assert!(copy.refusal().contains("claims a life"), "{}", copy.refusal());

    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(first.is_heard(), "the first one stays");
                thread::sleep(Duration::from_millis(20));
            }
        });
        let twin = Pretender::greet(node.peers, &hello("n2", 78));
        assert!(twin.refusal().contains("another node called 'n2' is connected"), "{}", twin.refusal());
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(node.stat("/network/impostors"), 3);
    assert!(node.log().contains("ERROR"), "{}", node.log());
}

#[test]
fn a_peer_that_comes_back_takes_the_place_of_its_silent_connection() {
    let cluster = lonely();
    let mut silent = Pretender::greet(cluster[0].peers, &hello("n2", 77));
    assert!(silent.is_heard());
    let mut back = Pretender::greet(cluster[0].peers, &hello("n2", 78));
    assert_eq!(back.refusal(), "");
    assert!(back.is_heard());
    assert!(silent.is_hung_up());
}

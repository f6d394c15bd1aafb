//! Everything has a limit, and a test at the limit.

use rustix::process::Signal;

use crate::client::Client;
use crate::cluster::{Cluster, wait_until};

const SMALL: &str =
    "body_timeout_ms = 700\n[limits]\nvalue_bytes = 1000\nkey_bytes = 20\ncontent_type_bytes = 30";

#[test]
fn values_keys_and_types_are_taken_up_to_their_limits_and_no_further() {
    let cluster = Cluster::ready(1, SMALL);
    let (fits, over) = (vec![b'v'; 1_000], vec![b'v'; 1_001]);
    cluster[0].put("/mec/fits", &fits);
    assert_eq!(cluster[0].get("/mec/fits").body, fits);
    let refused = cluster[0].request("PUT", "/mec/over", &[], &over);
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("1000 bytes"), "{}", refused.text());

    let key = "k".repeat(20);
    cluster[0].put(&format!("/mec/{key}"), b"value");
    cluster[0].put("/mec/%20%20%20%20%20%20%20%20%20%20%20%20%20%20%20%20%20%20%20%20", b"value");
    for method in ["GET", "PUT", "DELETE"] {
        let refused = cluster[0].request(method, &format!("/mec/{key}k"), &[], b"");
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("21 bytes"), "{}", refused.text());
    }
    for (bytes, status) in [(30, 200), (31, 400)] {
        let content_type = "t".repeat(bytes);
        let headers = [("Content-Type", content_type.as_str())];
        assert_eq!(cluster[0].request("PUT", "/mec/typed", &headers, b"value").status, status);
    }
    assert_eq!(cluster[0].get("/mec/over").status, 404);
}

#[test]
fn a_body_that_outgrows_the_limit_while_it_arrives_is_413() {
    let cluster = Cluster::ready(1, SMALL);
    let mut client = cluster[0].client();
    client.send(b"PUT /mec/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    for _ in 0..3 {
        client.send(format!("190\r\n{}\r\n", "v".repeat(400)).as_bytes()).expect("sent");
    }
    client.send(b"0\r\n\r\n").expect("sent");
    assert_eq!(client.receive("PUT").expect("an answer").status, 413);

    let announced = b"PUT /mec/k HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n";
    let mut client = cluster[0].client();
    client.send(announced).expect("sent");
    let refused = client.receive("PUT").expect("an answer without the body");
    assert_eq!(refused.status, 413);
    assert_eq!(refused.header("Connection"), Some("close"));
    assert!(client.is_hung_up());
    assert_eq!(cluster[0].get("/mec/k").status, 404);
}

#[test]
fn a_chunked_body_within_the_limit_is_stored_whole() {
    let cluster = Cluster::ready(1, SMALL);
    let mut client = cluster[0].client();
    client.send(b"PUT /mec/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    client.send(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n").expect("sent");
    assert_eq!(client.receive("PUT").expect("an answer").status, 200);
    assert_eq!(client.request("GET", "/mec/k", &[], b"").text(), "abcdefg");
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_request_is_let_go() {
    let cluster = Cluster::ready(1, SMALL);
    let mut body = cluster[0].client();
    body.send(b"PUT /mec/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf").expect("sent");
    let refused = body.receive("PUT").expect("an answer");
    assert_eq!(refused.status, 408);
    assert!(body.is_hung_up());

    let mut head = cluster[0].client();
    head.send(b"PUT /mec/k HTTP/1.1\r\nHo").expect("sent");
    let answer = head.receive("PUT");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 408));
    assert!(head.is_hung_up());
    assert_eq!(cluster[0].get("/mec/k").status, 404);
}

#[test]
fn a_head_that_is_too_large_is_431() {
    let cluster = Cluster::ready(1, "");
    let long = "x".repeat(1_000_000);
    let mut client = cluster[0].client();
    // The server may hang up before it has read everything.
    let _ = client.send(format!("GET /health HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\n\r\n").as_bytes());
    if let Ok(answer) = client.receive("GET") {
        assert_eq!(answer.status, 431);
    }
    assert!(client.is_hung_up());
    let mut client = cluster[0].client();
    let many: String = (0..65).map(|n| format!("X-{n}: v\r\n")).collect();
    client.send(format!("GET /health HTTP/1.1\r\n{many}\r\n").as_bytes()).expect("sent");
    assert_eq!(client.receive("GET").expect("an answer").status, 431);
    assert_eq!(cluster[0].get("/health").status, 200);
}

#[test]
fn what_is_not_http_harms_nobody() {
    let cluster = Cluster::ready(1, "");
    for bytes in [&b"\0\0\0\0"[..], b"GODOWN/1", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01"] {
        let mut client = cluster[0].client();
        client.send(bytes).expect("sent");
        client.send(b"\r\n\r\n").expect("sent");
        assert!(client.receive("GET").map_or(true, |answer| answer.status == 400));
    }
    assert_eq!(cluster[0].get("/health").status, 200);
}

#[test]
fn one_connection_serves_many_requests_also_when_they_come_all_at_once() {
    let cluster = Cluster::ready(1, "");
    let mut client = cluster[0].client();
    client.send(b"PUT /mec/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nvalue").expect("sent");
    client
        .send(b"GET /mec/k HTTP/1.1\r\nHost: h\r\n\r\nGET /mec/none HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("sent");
    assert_eq!(client.receive("PUT").expect("an answer").status, 200);
    assert_eq!(client.receive("GET").expect("an answer").text(), "value");
    assert_eq!(client.receive("GET").expect("an answer").status, 404);
    assert_eq!(client.request("GET", "/mec/k", &[], b"").text(), "value");
}

#[test]
fn more_calls_than_the_limit_are_503_at_once() {
    let mut cluster = Cluster::ready(3, "[limits]\ncalls = 2");
    cluster[1].signal(Signal::STOP);
    cluster[2].signal(Signal::STOP);
    // Two reads that nobody answers.
    let mut held: Vec<Client> = (0..2).map(|_| cluster[0].client()).collect();
    for client in &mut held {
        client.send(b"GET /mec/k?timeout=20000 HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    }
    wait_until("both are in flight", || cluster[0].stat("/calls_in_flight") == 2);
    let refused = cluster[0].get("/mec/k");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("Retry-After"), Some("1"));
    assert!(refused.text().contains("2 calls are in flight"), "{}", refused.text());
    cluster[1].signal(Signal::CONT);
    cluster[2].signal(Signal::CONT);
    wait_until("a call is admitted again", || cluster[0].get("/mec/k").status == 404);
    for node in cluster.iter_mut() {
        node.kill();
    }
}

#[test]
fn a_key_takes_siblings_up_to_the_limit_and_says_how_to_go_on() {
    let cluster = Cluster::ready(1, "[limits]\nsiblings = 3");
    for value in [b"1", b"2", b"3"] {
        cluster[0].put("/mec/k", value);
    }
    let refused = cluster[0].request("PUT", "/mec/k", &[], b"4");
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("with the clock"), "{}", refused.text());
    let read = cluster[0].get("/mec/k");
    assert_eq!(read.values().len(), 3);
    let resolved = cluster[0].request("PUT", "/mec/k", &[("X-Mec-Vclock", read.clock())], b"one");
    assert_eq!(resolved.status, 200);
}

//! MecDB's face: what its clients rely on, and what the original did wrong.

use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::cluster::{Cluster, wait_until};

#[test]
fn put_and_post_store_any_bytes_and_answer_200_with_a_clock_and_nothing_else() {
    let cluster = Cluster::ready(1, "");
    let bytes: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    for (method, key) in [("PUT", "/mec/a"), ("POST", "/mec/b")] {
        let headers = [("Content-Type", "image/x-all; q=\"1\""), ("X-Mec-Client-ID", "me")];
        let stored = cluster[0].request(method, key, &headers, &bytes);
        assert_eq!((stored.status, stored.reason.as_str(), stored.body.len()), (200, "OK", 0));
        let read = cluster[0].get(key);
        assert_eq!(read.status, 200);
        assert_eq!(read.body, bytes);
        assert_eq!(read.header("Content-Type"), Some("image/x-all; q=\"1\""));
        assert_eq!(read.clock(), stored.clock());
    }
    cluster[0].put("/mec/empty", b"");
    let empty = cluster[0].get("/mec/empty");
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    assert_eq!(empty.header("Content-Type"), Some("application/octet-stream"));
}

#[test]
fn a_value_is_dated_in_gmt_and_in_nanoseconds() {
    let cluster = Cluster::ready(1, "");
    let before = SystemTime::now() - Duration::from_secs(1);
    cluster[0].put("/mec/a", b"value");
    let read = cluster[0].get("/mec/a");
    let modified = read.header("Last-Modified").expect("a date");
    assert!(modified.ends_with(" GMT"), "{modified}");
    let date = httpdate::parse_http_date(modified).expect("an HTTP date");
    assert!(date >= before - Duration::from_secs(1) && date <= SystemTime::now(), "{modified}");
    let nanos: u64 = read.header("X-Mec-Timestamp").expect("a timestamp").parse().expect("a number");
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    assert!(at >= before && at <= SystemTime::now(), "{nanos}");
}

#[test]
fn a_write_is_on_w_nodes_and_not_on_one_that_happened_to_be_asked() {
    let mut cluster = Cluster::ready(3, "");
    for n in 0..20 {
        cluster[0].put(&format!("/mec/key-{n}"), format!("value-{n}").as_bytes());
    }
    cluster[0].kill();
    for n in 0..20 {
        for reader in [1, 2] {
            let read = cluster[reader].get(&format!("/mec/key-{n}"));
            assert_eq!((read.status, read.text()), (200, format!("value-{n}").as_str()));
        }
    }
}

#[test]
fn writes_without_a_clock_are_siblings_listed_once_each_until_a_write_with_the_clock() {
    let cluster = Cluster::ready(3, "");
    let values: [&[u8]; 3] = [b"one", b"two\r\n--two", b"\0\xff"];
    for (node, value) in values.iter().enumerate() {
        let stored = cluster[node].request("PUT", "/mec/k", &[("Content-Type", "text/x-sibling")], value);
        assert_eq!(stored.status, 200);
    }
    let read = cluster[0].get("/mec/k");
    assert_eq!((read.status, read.reason.as_str()), (300, "Multiple Choices"));
    let content_type = read.header("Content-Type").expect("a type");
    assert!(content_type.starts_with("mime/multipart; boundary="), "{content_type}");
    assert_eq!(read.header("Last-Modified"), None, "each part has its own");
    let mut expected: Vec<Vec<u8>> = values.iter().map(|value| value.to_vec()).collect();
    expected.sort();
    assert_eq!(read.values(), expected);
    for (head, _) in read.parts() {
        let names: Vec<&str> = head.lines().map(|line| line.split_once(": ").expect("a header").0).collect();
        assert_eq!(names, ["Content-Type", "Last-Modified", "X-Mec-Timestamp"]);
        assert!(head.starts_with("Content-Type: text/x-sibling\r\n"), "{head}");
    }

    let mixed = cluster[1].request("GET", "/mec/k", &[("Accept", "text/html, Multipart/Mixed;q=0.9")], b"");
    assert!(mixed.header("Content-Type").expect("a type").starts_with("multipart/mixed; boundary="));
    assert_eq!(mixed.body, read.body, "nothing but the type differs");

    let resolved = cluster[2].request("PUT", "/mec/k", &[("X-Mec-Vclock", read.clock())], b"merged");
    assert_eq!(resolved.status, 200);
    for node in cluster.iter() {
        assert_eq!(node.get("/mec/k").values(), [b"merged".to_vec()]);
    }
}

#[test]
fn a_clock_replaces_what_it_has_seen_and_nothing_else() {
    let cluster = Cluster::ready(3, "");
    let old = cluster[0].put("/mec/k", b"old");
    cluster[1].put("/mec/k", b"unseen");
    let stored = cluster[2].request("PUT", "/mec/k", &[("X-Mec-Vclock", &old)], b"new");
    assert_eq!(stored.status, 200);
    assert_eq!(cluster[0].get("/mec/k").values(), [b"new".to_vec(), b"unseen".to_vec()]);
    let again = cluster[0].request("PUT", "/mec/k", &[("X-Mec-Vclock", stored.clock())], b"newer");
    assert_eq!(again.status, 200);
    assert_eq!(cluster[1].get("/mec/k").values(), [b"newer".to_vec(), b"unseen".to_vec()]);
}

#[test]
fn head_is_get_without_the_body() {
    let cluster = Cluster::ready(1, "");
    cluster[0].put("/mec/one", b"value");
    cluster[0].put("/mec/two", b"value");
    cluster[0].put("/mec/two", b"other");
    let mut client = cluster[0].client();
    for target in ["/mec/one", "/mec/two", "/mec/none", "/mec", "/ready", "/health"] {
        let mut get = client.request("GET", target, &[], b"");
        let mut head = client.request("HEAD", target, &[], b"");
        assert!(!get.body.is_empty() && head.body.is_empty(), "{target}");
        let undated = |(name, _): &(String, String)| name != "Date";
        get.headers.retain(undated);
        head.headers.retain(undated);
        assert_eq!((get.status, get.headers), (head.status, head.headers), "{target}");
    }
}

#[test]
fn a_missing_key_is_404() {
    let cluster = Cluster::ready(1, "");
    let read = cluster[0].get("/mec/none");
    assert_eq!((read.status, read.text()), (404, "there is no value under none\n"));
    assert_eq!(read.header("X-Mec-Vclock"), None);
}

#[test]
fn a_malformed_clock_is_400_and_nothing_is_written() {
    let cluster = Cluster::ready(1, "");
    let clock = cluster[0].put("/mec/k", b"value");
    let other = cluster[0].put("/mec/other", b"value");
    let altered: String = clock.chars().rev().collect();
    let long = "A".repeat(5_000);
    let cases = [
        (clock[..clock.len() - 3].to_owned(), "clock"),
        (altered, "clock"),
        (other, "another key"),
        (String::new(), "damaged"),
        ("not base64!".to_owned(), "base64url"),
        ("gapjb3JtYWNyZWxmgqdDb3VudGVyAalUaW1lc3RhbXDPE0nH5/H4nFU=".to_owned(), "base64url"),
        (long, "5000 characters"),
    ];
    for (clock, words) in &cases {
        for method in ["PUT", "DELETE"] {
            let refused = cluster[0].request(method, "/mec/k", &[("X-Mec-Vclock", clock)], b"");
            assert_eq!(refused.status, 400, "{method} {clock}");
            assert!(refused.text().contains("X-Mec-Vclock"), "{}", refused.text());
            assert!(refused.text().contains(words), "{words}: {}", refused.text());
        }
    }
    let twice = [("X-Mec-Vclock", clock.as_str()), ("X-Mec-Vclock", clock.as_str())];
    assert_eq!(cluster[0].request("PUT", "/mec/k", &twice, b"x").status, 400);
    assert_eq!(cluster[0].get("/mec/k").values(), [b"value".to_vec()]);
}

#[test]
fn a_dead_or_hung_node_holds_up_no_request() {
    let mut cluster = Cluster::ready(3, "");
    cluster[2].signal(Signal::STOP);
    let started = std::time::Instant::now();
    for n in 0..20 {
        let (key, node) = (format!("/mec/hung-{n}?timeout=4000"), n % 2);
        cluster[node].put(&key, b"value");
        assert_eq!(cluster[1 - node].get(&key).status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    wait_until("the hung node is given up", || cluster[0].stat("/network/peers_connected") == 1);
    assert!(cluster[0].stat("/network/peers/1/outbox_bytes") <= 64 << 10, "little is kept for it");
    cluster[2].signal(Signal::CONT);
    cluster[2].kill();
    cluster[0].put("/mec/dead", b"value");
    assert_eq!(cluster[1].get("/mec/dead").status, 200);
}

#[test]
fn without_a_quorum_a_request_is_503_in_its_own_time_with_a_reason_and_retry_after() {
    let mut cluster = Cluster::ready(3, "");
    cluster[0].put("/mec/k", b"value");
    cluster[1].kill();
    cluster[2].kill();
    for (method, body) in [("GET", &b""[..]), ("PUT", b"new"), ("DELETE", b"")] {
        let started = std::time::Instant::now();
        let refused = cluster[0].request(method, "/mec/k?timeout=300", &[], body);
        assert!(started.elapsed() < Duration::from_secs(3), "{method}: {:?}", started.elapsed());
        assert_eq!(refused.status, 503, "{method}");
        assert_eq!(refused.header("Retry-After"), Some("1"));
        assert!(refused.text().contains("of 3 replicas"), "{}", refused.text());
    }
    let alone = cluster[0].get("/mec/k?r=1");
    assert!(alone.values().contains(&b"value".to_vec()), "one copy is there for who is content with it");
}

#[test]
fn a_node_without_a_copy_is_given_one() {
    // A new cluster compares notes once before it is ready. After that anti-entropy is kept out of the way: the read
    // has to do it.
    let mut cluster = Cluster::ready(3, "");
    for node in cluster.iter_mut() {
        node.stop();
        node.configure("sync_every_ms = 3600000");
    }
    cluster[0].start_and_wait();
    cluster[1].start_and_wait();
    // Larger than what waits for a node that is away.
    let value = vec![b'v'; 100_000];
    cluster[0].put("/mec/k", &value);
    wait_until("the write to it is given up", || {
        cluster[..2].iter().all(|node| node.stat("/network/peers/1/outbox_bytes") < 100_000)
    });
    cluster[2].start_and_wait();
    wait_until("all are connected", || cluster.iter().all(|node| node.stat("/network/peers_connected") == 2));
    assert_eq!(cluster[2].get("/mec/k?r=3").body, value);
    wait_until("the copy is there", || cluster[2].stat("/core/repairs_applied") == 1);
    cluster[0].kill();
    cluster[1].kill();
    assert_eq!(cluster[2].get("/mec/k?r=1").body, value);
}

#[test]
fn delete_is_204_and_causal_and_404_when_there_is_nothing() {
    let cluster = Cluster::ready(3, "");
    let seen = cluster[0].put("/mec/k", b"seen");
    cluster[1].put("/mec/k", b"unseen");
    let deleted = cluster[2].request("DELETE", "/mec/k", &[("X-Mec-Vclock", &seen)], b"");
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(cluster[0].get("/mec/k").values(), [b"unseen".to_vec()], "a concurrent write survives");

    let deleted = cluster[1].request("DELETE", "/mec/k", &[], b"");
    assert_eq!(deleted.status, 204);
    for node in cluster.iter() {
        let gone = node.get("/mec/k");
        assert_eq!(gone.status, 404);
        assert_eq!(gone.clock(), deleted.clock(), "what was deleted has been seen");
    }
    assert_eq!(cluster[0].request("DELETE", "/mec/k", &[], b"").status, 404);
    assert_eq!(cluster[0].request("DELETE", "/mec/none", &[("X-Mec-Client-ID", "me")], b"").status, 404);
    let again = cluster[0].request("PUT", "/mec/k", &[("X-Mec-Vclock", deleted.clock())], b"again");
    assert_eq!(again.status, 200);
    assert_eq!(cluster[1].get("/mec/k").values(), [b"again".to_vec()]);
}

#[test]
fn a_value_with_a_time_to_live_says_when_it_ends_and_is_deleted_everywhere_then() {
    let cluster = Cluster::ready(3, "expire_every_ms = 100\nsync_every_ms = 100");
    cluster[0].put("/mec/stays", b"value");
    assert_eq!(cluster[1].get("/mec/stays").header("X-Mec-Expires"), None);
    cluster[0].put("/mec/k?ttl=1", b"brief");
    let read = cluster[1].get("/mec/k?r=3");
    if read.status == 200 {
        let expires: u64 = read.header("X-Mec-Expires").expect("an end").parse().expect("a number");
        let at: u64 = read.header("X-Mec-Timestamp").expect("a date").parse().expect("a number");
        assert!((900_000_000..=1_100_000_000).contains(&expires.abs_diff(at)), "{at} to {expires}");
    }
    let long = cluster[0].put("/mec/siblings?ttl=1000", b"1");
    cluster[0].put("/mec/siblings", b"2");
    assert_ne!(long, "");
    let parts = cluster[2].get("/mec/siblings").parts();
    let ends = parts.iter().filter(|(head, _)| head.contains("X-Mec-Expires: ")).count();
    assert_eq!((parts.len(), ends), (2, 1), "{parts:?}");
    wait_until("it is gone", || cluster[2].get("/mec/k").status == 404);
    wait_until("somebody has deleted it", || {
        cluster.iter().map(|node| node.stat("/core/expired")).sum::<u64>() > 0
    });
    assert_eq!(cluster[0].get("/mec/stays").text(), "value");
}

#[test]
fn a_listing_pages_through_every_key_once_and_no_deleted_one() {
    let cluster = Cluster::ready(3, "");
    let mut expected: Vec<String> = (0..23).map(|n| format!("key-{n:02}")).collect();
    expected.extend(["a%2Fb", "sp%20ace", "%00%FF", "%C3%BC", "pl%2Bus", "qu%22ote"].map(str::to_owned));
    for key in &expected {
        cluster[0].put(&format!("/mec/{key}"), b"value");
    }
    cluster[0].put("/mec/gone", b"value");
    assert_eq!(cluster[0].request("DELETE", "/mec/gone", &[], b"").status, 204);

    let mut listed: Vec<String> = Vec::new();
    let mut target = "/mec?limit=10".to_owned();
    loop {
        let page = cluster[1].get(&target);
        assert_eq!(page.status, 200, "{}", page.text());
        assert_eq!(page.header("Content-Type"), Some("application/x-ndjson"));
        let keys: Vec<String> = page
            .text()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a JSON line"))
            .map(|line| line["key"].as_str().expect("a key").to_owned())
            .collect();
        assert!(keys.len() <= 10);
        listed.extend(keys);
        match page.header("Link") {
            Some(link) => {
                let (next, rel) = link[1..].split_once(">; ").expect("a link");
                assert_eq!(rel, "rel=\"next\"");
                let last = listed.last().expect("a key");
                assert_eq!(next, format!("/mec?limit=10&after={last}"));
                target = next.to_owned();
            }
            None => break,
        }
    }
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(cluster[2].get("/mec").text().lines().count(), expected.len());
}

#[test]
fn a_key_is_one_segment_of_any_bytes() {
    let cluster = Cluster::ready(1, "");
    for (written, read) in
        [("a%2Fb", "%61%2fb"), ("%00%FF", "%00%ff"), ("%C3%BC", "%c3%bc"), ("..", "%2E%2e")]
    {
        cluster[0].put(&format!("/mec/{written}"), written.as_bytes());
        assert_eq!(cluster[0].get(&format!("/mec/{read}")).text(), written);
    }
    for (target, words) in [
        ("/mec/a/b", "one path segment"),
        ("/mec/a/", "one path segment"),
        ("/mec/", "the key is empty"),
        ("/mec/%", "percent-encoded"),
        ("/mec/%4", "percent-encoded"),
        ("/mec/%zz", "'%zz'"),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let refused = cluster[0].request(method, target, &[], b"");
            assert_eq!(refused.status, 400, "{method} {target}");
            assert!(refused.text().contains(words), "{}", refused.text());
        }
    }
    assert_eq!(cluster[0].get("/mec").text().lines().count(), 4);
}

#[test]
fn other_methods_and_paths_are_refused_by_name() {
    let cluster = Cluster::ready(1, "");
    for (method, target, allow) in [
        ("PATCH", "/mec/k", "GET, HEAD, PUT, POST, DELETE"),
        ("OPTIONS", "/mec/k", "GET, HEAD, PUT, POST, DELETE"),
        ("PUT", "/mec", "GET, HEAD"),
        ("DELETE", "/ready", "GET, HEAD"),
    ] {
        let refused = cluster[0].request(method, target, &[], b"");
        assert_eq!(refused.status, 405, "{method} {target}");
        assert_eq!(refused.header("Allow"), Some(allow));
        assert!(refused.text().contains(allow));
    }
    let lost = cluster[0].get("/mecc/k");
    assert_eq!(lost.status, 404);
    assert!(lost.text().contains("/mecc/k"));
}

#[test]
fn what_a_query_gets_wrong_is_400_and_named() {
    let cluster = Cluster::ready(3, "");
    for (method, target, words) in [
        ("GET", "/mec/k?tiemout=5", "'tiemout'"),
        ("GET", "/mec/k?limit=5", "'limit'"),
        ("GET", "/mec/k?w=1", "'w'"),
        ("PUT", "/mec/k?r=1", "'r'"),
        ("GET", "/mec/k?timeout=5&timeout=5", "twice"),
        ("GET", "/mec/k?timeout=soon", "timeout=soon"),
        ("GET", "/mec/k?timeout=-1", "timeout=-1"),
        ("GET", "/mec/k?timeout=", "timeout="),
        ("GET", "/mec/k?timeout=0", "timeout"),
        ("PUT", "/mec/k?timeout=60001", "60"),
        ("GET", "/mec/k?r=0", "0 replicas"),
        ("GET", "/mec/k?r=4", "4 replicas"),
        ("PUT", "/mec/k?w=256", "w=256"),
        ("GET", "/mec/k?pr=4", "4 replicas"),
        ("GET", "/mec/k?pr=two", "pr=two"),
        ("GET", "/mec/k?pw=1", "'pw'"),
        ("PUT", "/mec/k?pw=4", "4 replicas"),
        ("PUT", "/mec/k?pr=1", "'pr'"),
        ("DELETE", "/mec/k?pr=1", "'pr'"),
        ("GET", "/mec/k?sloppy=maybe", "sloppy=maybe"),
        ("PUT", "/mec/k?sloppy", "true or false"),
        ("PUT", "/mec/k?ttl=0", "ttl=0"),
        ("PUT", "/mec/k?ttl=-1", "ttl=-1"),
        ("PUT", "/mec/k?ttl=3153600001", "3153600001s"),
        ("PUT", "/mec/k?ttl=18446744073709551615", "18446744073709551615s"),
        ("GET", "/mec/k?ttl=1", "'ttl'"),
        ("DELETE", "/mec/k?ttl=1", "'ttl'"),
        ("GET", "/mec?pr=1", "'pr'"),
        ("GET", "/mec?sloppy=true", "'sloppy'"),
        ("GET", "/mec?limit=0", "limit=0"),
        ("GET", "/mec?limit=1001", "1000"),
        ("GET", "/mec?limit=ten", "limit=ten"),
        ("GET", "/mec?after=%2", "percent-encoded"),
        ("GET", "/mec?after=", "empty"),
        ("GET", "/mec?prefix=a", "'prefix'"),
        ("GET", "/ready?please", "please"),
    ] {
        let refused = cluster[0].request(method, target, &[], b"");
        assert_eq!(refused.status, 400, "{method} {target}: {}", refused.text());
        assert!(refused.text().contains(words), "{target}: {}", refused.text());
    }
    assert_eq!(cluster[0].get("/mec/k").status, 404, "nothing was written");
}

#[test]
fn a_mecdb_file_starts_a_cluster_whether_it_lists_all_nodes_or_the_others() {
    use crate::cluster::Lists;
    for lists in [Lists::MecDb, Lists::MecDbAll] {
        let mut cluster = Cluster::new(3, lists, "");
        cluster[0].start();
        cluster[1].start();
        let waiting = cluster[0].get("/mec/k");
        assert_eq!(waiting.status, 503, "one node has not said its name yet");
        assert!(waiting.text().contains(&cluster[2].peers.to_string()), "{}", waiting.text());
        assert_eq!(cluster[0].get("/health").status, 200);
        cluster[2].start();
        for node in cluster.iter() {
            node.wait_until_ready();
        }
        cluster[0].put("/mec/k", b"value");
        assert_eq!(cluster[2].get("/mec/k").text(), "value");
        // Names once learnt are remembered: one node comes back while another is away.
        cluster[1].kill();
        cluster[0].stop();
        cluster[0].start_and_wait();
        wait_until("two are connected", || {
            [0, 2].iter().all(|&node: &usize| cluster[node].stat("/network/peers_connected") == 1)
        });
        assert_eq!(cluster[0].get("/mec/k").text(), "value");
    }
}

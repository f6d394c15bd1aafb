//! Clusters that grow and shrink, by the commands and pages that operators have for it.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Lists, Node, free_address, free_address_on, godown, wait_until};

const QUICK: &str = "sync_every_ms = 100";

fn status(node: &Node) -> Value {
    let answer = node.get("/cluster/status");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(answer.text()).expect("JSON")
}

fn member_names(node: &Node) -> Vec<String> {
    let status = status(node);
    let members = status["members"].as_array().expect("a list");
    let mut names: Vec<String> =
        members.iter().map(|member| member["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

/// Waits until a node names these members and no others. It names whoever leaves until the change is over, and nodes hear
/// of that one after the other: what one says says nothing about the next.
fn wait_for_members(node: &Node, names: &[&str]) {
    wait_until(&format!("{} has {names:?} for members", node.name), || member_names(node) == names);
}

/// Waits until each node can send to all others.
fn wait_until_connected(cluster: &Cluster) {
    let others = cluster.len() as u64 - 1;
    wait_until("all are connected", || {
        cluster.iter().all(|node| node.stat("/network/peers_connected") == others)
    });
}

fn epoch(node: &Node) -> u64 {
    status(node)["epoch"].as_u64().expect("a number")
}

fn plan(node: &Node) -> Value {
    serde_json::from_str(&node.operate(&["plan", "--json"])).expect("JSON")
}

/// Shows the plan and applies exactly that, then waits until everything is where it belongs.
fn apply_and_wait(node: &Node) {
    let plan = plan(node);
    let (epoch, hash) = (plan["epoch"].to_string(), plan["hash"].as_str().expect("a hash").to_owned());
    node.operate(&["apply", "--epoch", &epoch, "--hash", &hash]);
    node.operate(&["status", "--wait", "--timeout", "30"]);
}

fn fill(node: &Node, keys: usize) {
    let mut client = node.client();
    for n in 0..keys {
        let answer = client.request("PUT", &format!("/mec/k-{n}"), &[], format!("v-{n}").as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn assert_filled(node: &Node, keys: usize) {
    let mut client = node.client();
    for n in 0..keys {
        let answer = client.request("GET", &format!("/mec/k-{n}"), &[], b"");
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!("v-{n}").as_str()),
            "k-{n} by {}",
            node.name
        );
    }
}

#[test]
fn nodes_join_by_command_and_get_their_share_of_the_data() {
    let mut cluster = Cluster::ready(3, QUICK);
    fill(&cluster[0], 60);
    assert_eq!(member_names(&cluster[1]), ["n1", "n2", "n3"]);

    let first = epoch(&cluster[0]);
    let address = cluster.add_joining("n4").peers.to_string();
    assert_eq!(cluster[3].get("/ready").status, 503, "a node that is in no cluster serves nothing");
    let refused = cluster[3].get("/mec/k-0?timeout=500");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("no member of a cluster"), "{}", refused.text());
    let said = cluster[1].operate(&["join", &address]);
    assert!(said.contains("godown cluster plan"), "{said}");
    let shown = cluster[1].operate(&["plan"]);
    assert!(shown.contains("n4") && shown.contains("godown cluster apply --epoch"), "{shown}");
    let moves = plan(&cluster[1])["moves"].clone();
    let new =
        moves.as_array().expect("a list").iter().find(|moved| moved["node"] == "n4").expect("n4 is in it");
    // Three copies of 256 partitions over four nodes.
    assert_eq!((new["gained"].as_u64(), new["lost"].as_u64()), (Some(192), Some(0)));
    apply_and_wait(&cluster[1]);
    cluster[3].wait_until_ready();
    assert!(epoch(&cluster[3]) > first);
    assert_eq!(member_names(&cluster[3]), ["n1", "n2", "n3", "n4"]);

    let address = cluster.add_joining("n5").peers.to_string();
    cluster[3].operate(&["join", &address, "--zone", "b", "--weight", "50"]);
    let said = cluster[3].operate(&["apply", "--yes"]);
    assert!(said.contains("n5"), "what is applied is shown: {said}");
    cluster[4].wait_until_ready();
    cluster[4].operate(&["status", "--wait", "--timeout", "30"]);
    let n5 = status(&cluster[0])["members"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|m| m["name"] == "n5")
        .cloned();
    let n5 = n5.expect("n5 is in it");
    assert_eq!((n5["zone"].as_str(), n5["weight"].as_u64()), (Some("b"), Some(50)));
    for node in cluster.iter() {
        assert_filled(node, 60);
    }
    // What was learnt survives a restart, the addresses too.
    cluster[3].stop();
    cluster[3].start_and_wait();
    assert_filled(&cluster[3], 60);
}

#[test]
fn a_cluster_grows_from_one_node_one_by_one() {
    let mut cluster = Cluster::new(0, Lists::Named, "");
    cluster.add("n1", free_address(), QUICK).start_and_wait();
    fill(&cluster[0], 30);
    for name in ["n2", "n3", "n4"] {
        let address = cluster.add_joining(name).peers.to_string();
        cluster[0].operate(&["join", &address]);
        apply_and_wait(&cluster[0]);
    }
    for node in cluster.iter() {
        node.wait_until_ready();
        assert_filled(node, 30);
    }
    assert_eq!(epoch(&cluster[0]), 4);
}

#[test]
fn a_node_that_is_told_whom_to_ask_is_staged_by_itself() {
    let mut cluster = Cluster::ready(3, QUICK);
    cluster.add_joining("n4");
    wait_until("the request is staged", || {
        status(&cluster[0])["staged"].as_array().is_some_and(|staged| staged.len() == 1)
    });
    cluster[3].wait_for_log("it is done when the change is applied there");
    apply_and_wait(&cluster[0]);
    cluster[3].wait_until_ready();
}

#[test]
fn a_node_that_leaves_hands_over_its_data_and_says_that_it_has_left() {
    let mut cluster = Cluster::ready(4, QUICK);
    fill(&cluster[0], 60);
    cluster[1].operate(&["leave", "n4"]);
    apply_and_wait(&cluster[1]);
    wait_until("it says so", || status(&cluster[3])["member"] == false);
    let refused = cluster[3].get("/ready");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("no member"), "{}", refused.text());
    for node in &cluster[..3] {
        wait_for_members(node, &["n1", "n2", "n3"]);
    }
    cluster[3].kill();
    for node in &cluster[..3] {
        assert_filled(node, 60);
    }
}

#[test]
fn a_killed_node_is_removed_and_serves_nothing_when_it_comes_back() {
    let mut cluster = Cluster::ready(4, QUICK);
    fill(&cluster[0], 60);
    cluster[3].kill();
    cluster[0].operate(&["remove", "n4"]);
    apply_and_wait(&cluster[0]);
    for node in &cluster[..3] {
        wait_for_members(node, &["n1", "n2", "n3"]);
        assert_filled(node, 60);
    }
    cluster[3].start();
    wait_until("it hears that it was removed", || cluster[3].get("/ready").text().contains("no member"));
    for target in ["/mec/k-0?timeout=500", "/mec/k-0?r=1&timeout=500", "/mec?timeout=500"] {
        let refused = cluster[3].get(target);
        assert_eq!(refused.status, 503, "{target}: {}", refused.text());
    }
    let refused = cluster[3].request("PUT", "/mec/k-0?w=1&timeout=500", &[], b"late");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_filled(&cluster[0], 60);
    let address = cluster[3].peers.to_string();
    let error = cluster[0].refuses(&["join", &address]);
    assert!(error.contains("only with an empty data folder"), "{error}");

    cluster[3].kill();
    std::fs::remove_dir_all(&cluster[3].folder).expect("removed");
    cluster[3].unlist();
    cluster[3].configure(&format!("join = [\"{}\"]", free_address()));
    cluster[3].start();
    cluster[0].operate(&["join", &address]);
    apply_and_wait(&cluster[0]);
    cluster[3].wait_until_ready();
    assert_filled(&cluster[3], 60);
}

#[test]
fn a_member_that_has_moved_is_reached_once_its_new_address_is_set() {
    let mut cluster = Cluster::ready(3, QUICK);
    let old = cluster[2].peers;
    cluster[2].stop();
    let new = free_address();
    cluster[2].rewrite(&format!("port = {}", old.port()), &format!("port = {}", new.port()));
    cluster[2].start();
    cluster[0].wait_for_log(&format!("godown cluster set n3 --address {new}"));
    cluster[0].operate(&["set", "n3", "--address", &new.to_string()]);
    let plan = plan(&cluster[0]);
    let moved = plan["moves"].as_array().expect("a list").iter().any(|moved| moved["gained"] != 0);
    assert!(!moved, "an address moves nothing: {plan}");
    apply_and_wait(&cluster[0]);
    cluster[2].wait_until_ready();
    wait_until_connected(&cluster);
    cluster[0].put("/mec/k?w=3", b"value");
}

#[test]
fn a_node_takes_the_place_of_another() {
    let mut cluster = Cluster::ready(3, QUICK);
    fill(&cluster[0], 60);
    cluster[2].kill();
    let address = cluster.add_joining("n4").peers.to_string();
    // It asks by itself to be taken in; what is wanted here is something else.
    wait_until("its request is staged", || {
        status(&cluster[0])["staged"].as_array().is_some_and(|staged| staged.len() == 1)
    });
    cluster[0].operate(&["unstage"]);
    cluster[0].operate(&["replace", "n3", &address]);
    apply_and_wait(&cluster[0]);
    cluster[3].wait_until_ready();
    for node in [1, 3] {
        wait_for_members(&cluster[node], &["n1", "n2", "n4"]);
    }
    cluster[0].kill();
    assert_filled(&cluster[3], 60);
}

#[test]
fn nodes_are_reached_where_they_advertise() {
    let mut cluster = Cluster::new(0, Lists::Named, "");
    let addresses = ["127.0.0.2", "127.0.0.3"].map(free_address_on);
    let list = format!(
        "node = [{{ name = \"a\", host = \"127.0.0.2\", port = {} }}, {{ name = \"b\", host = \"127.0.0.3\", port = {} }}]",
        addresses[0].port(),
        addresses[1].port()
    );
    cluster.add("a", addresses[0], &format!("{QUICK}\n{list}"));
    cluster.add("b", addresses[1], &format!("{QUICK}\n{list}"));
    cluster.start();
    // It listens everywhere, and says where it is reached.
    let third = free_address_on("127.0.0.4");
    let settings =
        format!("{QUICK}\njoin = [\"{}\"]\nadvertise = \"127.0.0.4:{}\"", addresses[0], third.port());
    let open = std::net::SocketAddr::from(([0, 0, 0, 0], third.port()));
    cluster.add("c", open, &settings).start();
    cluster[1].operate(&["join", &third.to_string()]);
    apply_and_wait(&cluster[1]);
    cluster[2].wait_until_ready();
    let members = status(&cluster[0])["members"].clone();
    let mut reached: Vec<&str> =
        members.as_array().expect("a list").iter().filter_map(|member| member["address"].as_str()).collect();
    reached.sort_unstable();
    let mut expected = [addresses[0], addresses[1], third].map(|address| address.to_string());
    expected.sort_unstable();
    assert_eq!(reached, expected);
    wait_until_connected(&cluster);
    cluster[2].put("/mec/k?w=3", b"value");
}

#[test]
fn what_cannot_be_taken_in_is_refused_with_the_reason() {
    let mut cluster = Cluster::ready(3, QUICK);
    let own = cluster[0].peers.to_string();
    let error = cluster[0].refuses(&["join", &own]);
    assert!(error.contains("'n1' is this node's own name"), "{error}");
    let other = cluster[1].peers.to_string();
    let said = cluster[0].operate(&["join", &other]);
    assert!(said.contains("'n2' is a member already"), "{said}");
    let nobody = free_address().to_string();
    let error = cluster[0].refuses(&["join", &nobody]);
    assert!(error.contains(&nobody) && error.contains("cannot be asked who it is"), "{error}");
    let error = cluster[0].refuses(&["join", "nowhere"]);
    assert!(error.contains("nowhere") && error.contains("host:port"), "{error}");

    // A cluster of its own.
    cluster.add("alone", free_address(), QUICK).start_and_wait();
    let alone = cluster[3].peers.to_string();
    let error = cluster[0].refuses(&["join", &alone]);
    let ids =
        [&cluster[0], &cluster[3]].map(|node| status(node)["cluster"].as_str().expect("an id").to_owned());
    assert_ne!(ids[0], ids[1]);
    assert!(error.contains(&ids[0]) && error.contains(&ids[1]), "{error}");

    // A name that somebody has.
    let twin = cluster.add_joining("n2").peers.to_string();
    let error = cluster[0].refuses(&["join", &twin]);
    assert!(error.contains("a member is called 'n2' already"), "{error}");
    cluster[4].wait_for_log("a member is called 'n2' already");

    // Other partitions.
    let settings = format!("join = [\"{}\"]\npartitions = 512", cluster[0].peers);
    cluster.add("odd", free_address(), &settings).start();
    cluster[5].wait_for_log("partitions = 512");
    assert_eq!(member_names(&cluster[0]), ["n1", "n2", "n3"], "nobody came in");
}

#[test]
fn a_plan_is_applied_once_and_only_while_it_is_what_would_happen() {
    let mut cluster = Cluster::ready(3, QUICK);
    let error = cluster[0].refuses(&["apply", "--yes"]);
    assert!(error.contains("staged"), "nothing is: {error}");
    cluster[0].operate(&["set", "n2", "--weight", "50"]);
    let stale = plan(&cluster[0]);
    let arguments = |plan: &Value| {
        let (epoch, hash) = (plan["epoch"].to_string(), plan["hash"].as_str().expect("a hash").to_owned());
        ["apply".to_owned(), "--epoch".into(), epoch, "--hash".into(), hash]
    };
    let apply = |node: &Node, plan: &Value| {
        let arguments = arguments(plan);
        node.cluster(&arguments.each_ref().map(String::as_str))
    };
    cluster[0].operate(&["set", "n3", "--weight", "50"]);
    let newer = plan(&cluster[0]);
    assert_ne!(stale["hash"], newer["hash"]);
    let (code, _, error) = apply(&cluster[0], &stale);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("have changed since they were planned"), "{error}");
    let (code, _, error) = apply(&cluster[0], &newer);
    assert_eq!(code, Some(0), "{error}");
    let applied = epoch(&cluster[0]);
    let (code, _, error) = apply(&cluster[0], &newer);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("layout 1 was expected to be the newest, and it is 2"), "{error}");
    cluster[0].operate(&["status", "--wait", "--timeout", "30"]);
    assert_eq!(epoch(&cluster[0]), applied, "it was applied once");
    for node in cluster.iter_mut() {
        node.stop();
    }
}

#[test]
fn the_last_copy_of_something_is_removed_by_force_only() {
    let mut cluster = Cluster::ready(2, "replicas = 1\nsync_every_ms = 100");
    fill(&cluster[0], 20);
    cluster[1].kill();
    cluster[0].operate(&["status"]);
    let error = cluster[0].refuses(&["remove", "n2"]);
    assert!(error.contains("force the removal"), "{error}");
}

#[test]
fn yzmadbs_requests_are_answered_in_its_own_form() {
    let mut cluster = Cluster::ready(3, QUICK);
    let address = free_address();
    let known = cluster[0].peers;
    cluster.add("n4", address, &format!("{QUICK}\njoin = [\"{known}\"]")).start();
    // It asks by itself, too; that is the same change.
    wait_until("its request is staged", || status(&cluster[0])["staged"] != json!([]));
    let body = json!({ "Peers": [address.to_string()] }).to_string();
    let post = |node: &Node, path: &str, body: &str| {
        let answer = node.request("POST", path, &[("Content-Type", "application/json")], body.as_bytes());
        (answer.status, answer.text().trim_end().to_owned())
    };
    let joined = format!(r#"{{"Status":"ok","Error":"","Data":"joined {address}"}}"#);
    assert_eq!(post(&cluster[0], "/cluster/join", &body), (200, joined));
    cluster[3].wait_until_ready();

    // The other way round: the new node is told whom to join.
    cluster.add("n5", free_address(), &format!("{QUICK}\njoin = [\"{}\"]", free_address())).start();
    let known = cluster[1].peers;
    let body = json!({ "Peers": [known.to_string()] }).to_string();
    cluster[0].operate(&["status", "--wait", "--timeout", "30"]);
    let joined = format!(r#"{{"Status":"ok","Error":"","Data":"joined {known}"}}"#);
    assert_eq!(post(&cluster[4], "/cluster/join", &body), (200, joined));
    cluster[4].wait_until_ready();

    let left = r#"{"Status":"ok","Error":"","Data":"leave ok"}"#.to_owned();
    cluster[0].operate(&["status", "--wait", "--timeout", "30"]);
    assert_eq!(post(&cluster[4], "/cluster/leave", ""), (200, left.clone()));
    wait_until("it has left", || status(&cluster[4])["member"] == false);
    assert_eq!(post(&cluster[4], "/cluster/leave", ""), (200, left), "a second time the same");

    wait_until("the others know", || !member_names(&cluster[0]).contains(&"n5".to_owned()));
    cluster[0].operate(&["set", "n1", "--weight", "50"]);
    let (code, text) =
        post(&cluster[0], "/cluster/join", &json!({ "Peers": [cluster[4].peers.to_string()] }).to_string());
    assert_eq!((code, text.contains("empty data folder")), (409, true), "{text}");
    wait_until("the change is known", || status(&cluster[1])["staged"] != json!([]));
    let (code, text) = post(&cluster[1], "/cluster/leave", "");
    assert_eq!((code, text.contains("other changes are staged (set n1")), (409, true), "{text}");

    let (status, text) = post(&cluster[0], "/cluster/join", r#"{"Peers":[]}"#);
    assert_eq!(status, 400);
    assert!(text.starts_with(r#"{"Status":"error","Error":"Peers has 0"#), "{text}");
    assert!(text.ends_with(r#","Data":null}"#), "{text}");
}

#[test]
fn what_a_request_about_the_cluster_gets_wrong_is_400_or_405_and_named() {
    let cluster = Cluster::ready(1, "");
    for (path, body, words) in [
        ("/cluster/join", "{\"adress\":\"h:1\"}", "adress"),
        ("/cluster/join", "{", "not understood"),
        ("/cluster/join", "", "address"),
        ("/cluster/join", "{\"address\":\"h\"}", "host:port"),
        ("/cluster/leave", "{\"name\":\"n1\"}", "name"),
        ("/cluster/remove", "{}", "node"),
        ("/cluster/apply", "{\"epoch\":1,\"hash\":\"xyz\"}", "hexadecimal"),
        ("/cluster/plan?please", "", "please"),
    ] {
        let refused = cluster[0].request("POST", path, &[], body.as_bytes());
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        assert!(refused.text().contains(words), "{path}: {}", refused.text());
    }
    for (method, path) in [("GET", "/cluster/join"), ("PUT", "/cluster/plan"), ("POST", "/cluster/status")] {
        assert_eq!(cluster[0].request(method, path, &[], b"").status, 405, "{method} {path}");
    }
}

#[test]
fn a_command_without_a_node_to_ask_has_an_exit_code_of_its_own() {
    let url = format!("http://{}", free_address());
    for arguments in [&["cluster", "status", "--node", &url][..], &["cluster", "--node", "ftp://x", "plan"]] {
        let (status, stdout, stderr) = godown(arguments);
        assert_eq!((status.code(), stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(&url) || stderr.contains("ftp://x"), "{stderr}");
    }
}

#[test]
fn a_node_that_has_lost_its_store_waits_for_its_cluster_and_begins_none() {
    let mut cluster = Cluster::new(0, Lists::Named, "");
    cluster.add("a", free_address(), QUICK).start_and_wait();
    for name in ["b", "c"] {
        let address = free_address();
        cluster.add(name, address, &format!("{QUICK}\njoin = [\"{}\"]", free_address())).start();
        cluster[0].operate(&["join", &address.to_string()]);
    }
    apply_and_wait(&cluster[0]);
    for node in cluster.iter() {
        node.wait_until_ready();
    }
    fill(&cluster[1], 30);
    let id = status(&cluster[1])["cluster"].clone();
    // By its configuration this node is one that begins a cluster alone.
    cluster[0].kill();
    std::fs::remove_dir_all(cluster[0].folder.join("store")).expect("removed");
    cluster[1].signal(Signal::STOP);
    cluster[2].signal(Signal::STOP);
    cluster[0].start();
    assert_eq!(cluster[0].get("/ready").status, 503);
    cluster[1].signal(Signal::CONT);
    cluster[2].signal(Signal::CONT);
    cluster[0].wait_until_ready();
    assert_eq!(status(&cluster[0])["cluster"], id);
    assert_filled(&cluster[0], 30);
}

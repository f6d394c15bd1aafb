//! Frames and rows, byte for byte: what this version writes, every later version must read.
//!
//! `tests/golden/*.txt` hold one line per message or row: a name and its bytes in hex. They are written once, by
//! `UPDATE=1`, for a new version; for an existing one a difference is a broken promise to every running cluster and
//! every disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use godown_core::actors::Actors;
use godown_core::causal::{Clock, Context, Dot, DotFun};
use godown_core::fingerprint::{Fingerprint, ObjectHash};
use godown_core::hlc::Hlc;
use godown_core::id::{ClusterId, Life, NodeId, OpId};
use godown_core::key::{Key, Partition};
use godown_core::kind::{Object, Sibling};
use godown_core::layout::active::View;
use godown_core::layout::{Change, Layout, Member};
use godown_core::message::{
    Ballot, Change as Write, ClusterState, Compared, Failure, Given, GivenObject, Listed, Message, Page,
    Probed, Progress, Refusal, Span, Staged, Terms, Value, VoteRefusal,
};
use godown_core::replica::Checkpoint;
use godown_core::stored::{self, Row, StoredError};
use godown_core::wire::{self, DecodeError};

const OP: OpId = OpId { origin: Life(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), n: 300 };
const DOT: Dot = Dot { actor: Life(7), n: 3 };

fn context() -> Context {
    let mut context = Context::new();
    context.raise(Life(7), 3);
    context.insert(Dot { actor: Life(9), n: 5 });
    context
}

fn clock() -> Clock {
    Clock::from_context(context())
}

fn object() -> Object {
    let sibling =
        Sibling { value: "value".into(), content_type: "text/plain".into(), at: Hlc(1 << 20), expires: 0 };
    Object::delta(context(), DOT, Some(sibling))
}

fn key() -> Key {
    Key::from("region/eu")
}

const VIEW: View = View { oldest: 4, reads: 4, newest: 5 };

fn layout() -> Layout {
    let member = |id| Member {
        id: NodeId(id),
        name: format!("node-{id}"),
        address: format!("10.0.0.{id}:7000"),
        zone: "a".into(),
        weight: 100,
        store: Life(5),
    };
    Layout::first(ClusterId(77), vec![member(1), member(2)], 4, 3).expect("a layout")
}

/// What version 1 does not have.
fn news() -> Vec<(String, Message)> {
    let member = Member { id: NodeId(9), name: "nine".into(), ..layout().members()[0].clone() };
    let ballot = Ballot { round: 3, by: Life(7) };
    let changes = vec![
        Change::Join(member.clone()),
        Change::Leave(NodeId(1)),
        Change::Remove { node: NodeId(1), force: true },
        Change::Replace { old: NodeId(2), new: member.clone(), force: false },
        Change::Set(member.clone()),
    ];
    let progress = Progress { ack: 5, synced: 4, sync_ack: 3 };
    let state = ClusterState {
        layouts: vec![layout(), layout().next(&[Change::Join(member.clone())]).expect("a layout")],
        progress: [(NodeId(1), progress)].into(),
        staged: Staged { epoch: 2, version: 6, by: NodeId(2), changes },
    };
    let boxed = || Box::new(layout());
    let ttl = Some(Duration::from_millis(90_061_001));
    let value = Some(Value { bytes: "value".into(), content_type: "text/plain".into(), ttl });
    let change = Write { key: key(), seen: context(), value };
    let timeout = Duration::from_millis(1_500);
    let terms = Terms::default();
    let expires = Message::Forward { op: OP, to: Life(11), floor: 290, change, w: 2, timeout, terms };
    let forward = Message::Forward {
        op: OP,
        to: Life(11),
        floor: 290,
        change: Write { key: key(), seen: context(), value: None },
        w: 2,
        timeout: Duration::from_millis(1_500),
        terms: Terms { primaries: 1, sloppy: true, stands_in: true },
    };
    let refusals =
        [VoteRefusal::Outvoted { by: ballot }, VoteRefusal::Decided { newest: 9 }, VoteRefusal::NoVoter];
    let mut news: Vec<(String, Message)> = vec![
        ("probed: other view".into(), Message::Probed { op: OP, outcome: Probed::OtherView }),
        ("hail".into(), Message::Hail { member, life: Life(7), answers: Life(8) }),
        ("gossip".into(), Message::Gossip { digest: 1 << 50 }),
        ("state".into(), Message::State { state: state.into(), wants_answer: true }),
        ("prepare".into(), Message::Prepare { op: OP, epoch: 6, ballot }),
        ("promise: free".into(), Message::Promise { op: OP, outcome: Ok(None) }),
        ("promise: bound".into(), Message::Promise { op: OP, outcome: Ok(Some((ballot, boxed()))) }),
        ("accept".into(), Message::Accept { op: OP, ballot, layout: boxed() }),
        ("accepted".into(), Message::Accepted { op: OP, outcome: Ok(()) }),
        ("swim".into(), Message::Swim { bytes: "ping".into() }),
        ("salvage".into(), Message::Salvage { op: OP, key: key() }),
        ("forward that expires".into(), expires),
        ("forward on terms".into(), forward),
        ("hint".into(), Message::Hint { op: OP, target: NodeId(9), key: key(), dot: DOT, delta: object() }),
        ("fetch hints".into(), Message::FetchHints { op: OP, key: key() }),
    ];
    for refusal in refusals {
        news.push((
            format!("promise: {refusal:?}"),
            Message::Promise { op: OP, outcome: Err(refusal.clone()) },
        ));
        news.push((format!("accepted: {refusal:?}"), Message::Accepted { op: OP, outcome: Err(refusal) }));
    }
    let (partition, after, until) = (Partition(255), Some(key()), Some(Key::from("region/us")));
    let have = vec![ObjectHash(1), ObjectHash(u128::MAX)];
    news.push(("pull: range".into(), Message::Pull { op: OP, partition, after, until, have }));
    let (objects, same) = (BTreeMap::from([(key(), object())]), vec![0, 300]);
    let page = Page { clock: clock(), complete: true, objects, same, end: None };
    news.push(("page: same".into(), Message::Page { op: OP, outcome: Ok(page) }));
    let spans = vec![
        Span { end: Some(key()), sum: Some((Fingerprint(u128::MAX), 256)) },
        Span { end: Some(Key::from("region/us")), sum: None },
        Span { end: None, sum: Some((Fingerprint(1), 0)) },
    ];
    news.push(("compare: ranges".into(), Message::Compare { op: OP, partition, after: Some(key()), spans }));
    let compared = Compared { clock: clock(), equal: vec![0, 2] };
    news.push(("compared".into(), Message::Compared { op: OP, outcome: Ok(compared) }));
    let refused = Message::Compared { op: OP, outcome: Err(Refusal::NotHeld) };
    news.push(("compared: refused".into(), refused));
    for refusal in [Refusal::StaleLayout, Refusal::NotAMember, Refusal::HintsFull { bytes: 1 << 28 }] {
        news.push((format!("stored: {refusal:?}"), Message::Stored { op: OP, outcome: Err(refusal) }));
    }
    news
}

/// Everything that version 2 has.
fn all_messages() -> Vec<(String, Message)> {
    let mut all = messages();
    all.extend(news());
    all
}

fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::CatchingUp,
        Refusal::Damaged,
        Refusal::Storage,
        Refusal::Overloaded,
        Refusal::OtherLife(Life(7)),
        Refusal::NotHeld,
        Refusal::Fenced,
        Refusal::TooManySiblings { siblings: 100, bytes: 1 << 20 },
    ]
}

fn failures() -> Vec<Failure> {
    let last = Refusal::Damaged;
    vec![
        Failure::Overloaded { limit: 1024 },
        Failure::Timeout { acks: 1, needed: 2, replicas: 3 },
        Failure::Refused { acks: 1, needed: 2, replicas: 3, last },
        Failure::NotTaken(Refusal::Storage),
        Failure::KeyEmpty,
        Failure::KeyTooLong { bytes: 2000, max: 1024 },
        Failure::ValueTooLarge { bytes: 2 << 20, max: 1 << 20 },
        Failure::ContentTypeTooLong { bytes: 300, max: 256 },
        Failure::BadQuorum { asked: 9, replicas: 3 },
        Failure::BadTimeout { asked: Duration::from_millis(90_500), max: Duration::from_secs(60) },
    ]
}

/// At least one message of every kind, and every variant inside one.
fn messages() -> Vec<(String, Message)> {
    let value = Value { bytes: "value".into(), content_type: "text/plain".into(), ttl: None };
    let change = |value| Write { key: key(), seen: context(), value };
    let forward = |value| Message::Forward {
        op: OP,
        to: Life(11),
        floor: 290,
        change: change(value),
        w: 2,
        timeout: Duration::from_millis(1_500),
        terms: Terms::default(),
    };
    let given = Given {
        partition: Partition(255),
        clock: clock(),
        complete: true,
        reaches: false,
        more: true,
        objects: vec![GivenObject { key: key(), dots: vec![DOT], object: object() }],
    };
    let page = Page {
        clock: clock(),
        complete: false,
        objects: BTreeMap::from([(key(), object())]),
        same: Vec::new(),
        end: Some(key()),
    };
    let pull = |after| {
        let (partition, until, have) = (Partition(255), None, Vec::new());
        Message::Pull { op: OP, partition, after, until, have }
    };
    let listed = Listed { keys: vec![key()], next: Some(key()) };
    let mut messages = vec![
        ("forward put".into(), forward(Some(value))),
        ("forward delete".into(), forward(None)),
        ("forwarded".into(), Message::Forwarded { op: OP, outcome: Ok(context()) }),
        ("store".into(), Message::Store { op: OP, key: key(), dot: DOT, delta: object() }),
        ("stored".into(), Message::Stored { op: OP, outcome: Ok(()) }),
        ("fetch".into(), Message::Fetch { op: OP, key: key() }),
        ("fetched".into(), Message::Fetched { op: OP, outcome: Ok(object()) }),
        ("repair".into(), Message::Repair { key: key(), object: object() }),
        ("probe".into(), Message::Probe { op: OP, digest: u64::MAX }),
        (
            "probed equal".into(),
            Message::Probed { op: OP, outcome: Probed::Equal { incomplete: vec![Partition(3)] } },
        ),
        (
            "probed differ".into(),
            Message::Probed { op: OP, outcome: Probed::Differ { digests: vec![1, u64::MAX] } },
        ),
        ("ask".into(), Message::Ask { op: OP, partition: Partition(255), clock: clock() }),
        ("give".into(), Message::Give { op: OP, given }),
        ("pull first".into(), pull(None)),
        ("pull next".into(), pull(Some(key()))),
        ("page".into(), Message::Page { op: OP, outcome: Ok(page) }),
        ("page refused".into(), Message::Page { op: OP, outcome: Err(Refusal::Damaged) }),
        (
            "list".into(),
            Message::List {
                op: OP,
                first: Partition(1),
                last: Partition(255),
                after: Some(key()),
                limit: 1000,
            },
        ),
        ("listed".into(), Message::Listed { op: OP, outcome: Ok(listed) }),
        ("listed refused".into(), Message::Listed { op: OP, outcome: Err(Refusal::CatchingUp) }),
        ("fetched refused".into(), Message::Fetched { op: OP, outcome: Err(Refusal::CatchingUp) }),
    ];
    for refusal in refusals() {
        messages
            .push((format!("stored refused {refusal:?}"), Message::Stored { op: OP, outcome: Err(refusal) }));
    }
    for failure in failures() {
        messages.push((
            format!("forwarded failed {failure:?}"),
            Message::Forwarded { op: OP, outcome: Err(failure) },
        ));
    }
    messages
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn path_of(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// A file's lines.
fn golden(file: &str) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(path_of(file)).expect("the golden file is there");
    text.lines()
        .map(|line| line.rsplit_once(": ").expect("a name and bytes"))
        .map(|(name, bytes)| (name.to_owned(), unhex(bytes)))
        .collect()
}

/// A row's key and value, as two lines.
fn named_row(name: &str, row: &Row) -> [(String, Vec<u8>); 2] {
    let value = row.value.as_ref().expect("a row to put").to_vec();
    [(format!("{name} key"), row.key.0.to_vec()), (format!("{name} value"), value)]
}

/// Compares with the file, or writes it under `UPDATE=1`. Gives the file's lines.
fn compare(file: &str, now: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    if std::env::var_os("UPDATE").is_some() {
        let text: String = now.iter().map(|(name, bytes)| format!("{name}: {}\n", hex(bytes))).collect();
        std::fs::write(path_of(file), text).expect("the golden file can be written");
    }
    let golden = golden(file);
    assert_eq!(golden.len(), now.len(), "every message and row has its golden line");
    for ((name, golden), (now_name, now)) in golden.iter().zip(now) {
        assert_eq!(name, now_name);
        assert_eq!(hex(golden), hex(now), "the bytes of `{name}` have changed");
    }
    golden
}

#[test]
fn frames_of_version_1_never_change() {
    let frames: Vec<(String, Vec<u8>)> = messages()
        .iter()
        .map(|(name, message)| {
            let mut frame = Vec::new();
            assert!(wire::encode(1, VIEW, message, &mut frame));
            (name.clone(), frame)
        })
        .collect();
    let golden = compare("wire-v1.txt", &frames);
    for ((name, frame), (_, message)) in golden.iter().zip(messages()) {
        let (prefix, rest) = frame.split_first_chunk().expect("a prefix");
        assert_eq!(wire::length(*prefix), Ok(rest.len()), "{name}");
        // A version that knows no layouts has no view.
        assert_eq!(wire::decode(rest), Ok((View::FIXED, message)), "{name}");
    }
}

#[test]
fn frames_of_version_2_never_change() {
    let frames: Vec<(String, Vec<u8>)> = all_messages()
        .iter()
        .map(|(name, message)| {
            let mut frame = Vec::new();
            assert!(wire::encode(2, VIEW, message, &mut frame));
            (name.clone(), frame)
        })
        .collect();
    let golden = compare("wire-v2.txt", &frames);
    for ((name, frame), (_, message)) in golden.iter().zip(all_messages()) {
        let (prefix, rest) = frame.split_first_chunk().expect("a prefix");
        assert_eq!(wire::length(*prefix), Ok(rest.len()), "{name}");
        assert_eq!(wire::decode(rest), Ok((VIEW, message)), "{name}");
    }
}

#[test]
fn what_version_1_cannot_say_it_does_not_say() {
    for (name, message) in news() {
        let mut frame = Vec::new();
        let is_said = wire::encode(1, VIEW, &message, &mut frame);
        // A refusal, a pull, or a comparison, which it does not have, is told as the nearest that it has, and what expires
        // is kept for ever.
        let has_nearest = ["stored:", "forward that expires", "pull:", "compare:"]
            .iter()
            .any(|kind| name.starts_with(kind));
        assert!(is_said == has_nearest && frame.is_empty() != is_said, "{name}");
    }
}

#[test]
fn every_bit_of_a_frame_is_checked() {
    for (name, message) in all_messages() {
        let mut frame = Vec::new();
        wire::encode(wire::VERSION_MAX, VIEW, &message, &mut frame);
        if frame.len() > 2_000 {
            continue;
        }
        for bit in 0..(frame.len() - wire::PREFIX) * 8 {
            let mut altered = frame[wire::PREFIX..].to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(wire::decode(&altered).is_err(), "bit {bit} of `{name}` can flip unseen");
        }
        for cut in 0..frame.len() - wire::PREFIX {
            assert!(wire::decode(&frame[wire::PREFIX..wire::PREFIX + cut]).is_err(), "`{name}` cut to {cut}");
        }
    }
}

#[test]
fn a_frame_says_what_is_wrong_with_it() {
    assert_eq!(wire::length([0xff; 4]), Err(DecodeError::Length(u64::from(u32::MAX))));
    assert_eq!(wire::length([5, 0, 0, 0]), Err(DecodeError::Length(5)));
    let sealed = |version: u8, kind: u8, body: &[u8]| {
        let checked = [&[version, kind], body].concat();
        [&crc32fast::hash(&checked).to_le_bytes()[..], &checked].concat()
    };
    assert_eq!(wire::decode(&sealed(3, 1, &[])), Err(DecodeError::Version(3)));
    assert_eq!(wire::decode(&sealed(1, 99, &[])), Err(DecodeError::Kind(99)));
    assert_eq!(wire::decode(&sealed(1, 5, &[])), Err(DecodeError::Body(5)));
    // A body with something behind it is not a body of its kind.
    let mut frame = Vec::new();
    wire::encode(1, VIEW, &Message::Fetch { op: OP, key: key() }, &mut frame);
    let body = [&frame[wire::PREFIX + 6..], &[0]].concat();
    assert_eq!(wire::decode(&sealed(1, 5, &body)), Err(DecodeError::Body(5)));
    // Lengths inside a body are not believed: nothing is allocated for what is not there.
    let mut hostile = vec![0; 17];
    hostile.extend([0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(wire::decode(&sealed(1, 5, &hostile)), Err(DecodeError::Body(5)));
}

#[test]
fn rows_of_version_1_never_change() {
    let partition = Partition(0x0102);
    let floor = BTreeMap::from([(Life(7), 2)]);
    let checkpoint = Checkpoint { clock: clock(), floor, complete: true };
    let rows = vec![
        stored::checkpoint_row(partition, &checkpoint),
        stored::log_row(partition, DOT, &key()),
        stored::life_row(Life(7), true),
    ];
    let mut named: Vec<(String, Vec<u8>)> = ["checkpoint", "log", "life"]
        .into_iter()
        .zip(&rows)
        .flat_map(|(name, row)| named_row(name, row))
        .collect();
    // Objects of version 1 are read and never written any more: what this version read is all that there is.
    named.extend(golden("rows-v1.txt").split_off(named.len()));
    let golden = compare("rows-v1.txt", &named);

    let loaded = stored::load(&rows).expect("good rows");
    assert_eq!(loaded.checkpoints, BTreeMap::from([(partition, checkpoint)]));
    assert_eq!(loaded.logs[&partition], BTreeMap::from([(DOT, key())]));
    assert_eq!(loaded.lives, BTreeMap::from([(Life(7), true)]));
    let [.., (_, object_key), (_, value)] = &golden[..] else { panic!("an object ends the rows") };
    let row = stored::object_key(partition, &key());
    assert_eq!(object_key, &row.0);
    assert_eq!(stored::read_object(&row, &value.clone().into(), &Actors::new()), Ok(object()));
    assert_eq!(stored::key_of(&row), Some((partition, key())));
    assert_eq!(stored::key_of(&rows[1].key), None);
}

/// Objects with every part that a row of version 2 can have or lack, by name, and the actors that they are put under.
fn objects() -> (Vec<(&'static str, Object)>, Actors) {
    let mut actors = Actors::new();
    for life in [7, 9, 8] {
        actors.number(Life(life));
    }
    let usual = Object { context: Context::new(), ..object() };
    let mut mortal = object();
    mortal.store.0.get_mut(&DOT).expect("its sibling").expires = 1_893_456_000_000;
    let second =
        Sibling { value: "second".into(), content_type: Bytes::new(), at: Hlc(u64::MAX), expires: 0 };
    let mut two = mortal.clone();
    two.join(Object::delta(Context::new(), Dot { actor: Life(9), n: 300 }, Some(second)));
    let removed = Object { store: DotFun::default(), ..two.clone() };
    let objects = vec![
        ("usual", usual),
        ("remembering", object()),
        ("mortal", mortal),
        ("two", two),
        ("removed", removed),
        ("empty", Object::default()),
    ];
    (objects, actors)
}

#[test]
fn rows_of_version_2_never_change() {
    let partition = Partition(0x0102);
    let (objects, mut actors) = objects();
    let actor_rows: Vec<Row> = stored::actor_rows(partition, &actors).collect();
    let rows: Vec<(&str, Row)> = objects
        .iter()
        .map(|(name, object)| (*name, stored::object_row(partition, &key(), Some(object), &mut actors)))
        .chain(["actor 0", "actor 1", "actor 2"].into_iter().zip(actor_rows.clone()))
        .collect();
    let named: Vec<(String, Vec<u8>)> = rows.iter().flat_map(|(name, row)| named_row(name, row)).collect();
    compare("rows-v2.txt", &named);

    let mut loaded = stored::load(&actor_rows).expect("good rows").actors.remove(&partition).expect("actors");
    actors.landed(3);
    assert_eq!(loaded, actors);
    for ((name, object), (_, row)) in objects.into_iter().zip(rows) {
        let value = row.value.as_ref().expect("a row to put");
        assert_eq!(stored::read_object(&row.key, value, &loaded), Ok(object.clone()), "{name}");
        assert_eq!(stored::object_row(partition, &key(), Some(&object), &mut loaded), row, "{name}");
    }
    assert_eq!(stored::actor_rows(partition, &loaded).count(), 0);
}

#[test]
fn a_row_that_was_altered_cut_or_misplaced_is_damaged() {
    let (objects, mut actors) = objects();
    for (name, object) in objects {
        let row = stored::object_row(Partition(1), &key(), Some(&object), &mut actors);
        let value = row.value.expect("a row to put");
        for bit in 0..value.len() * 8 {
            let mut altered = value.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                stored::read_object(&row.key, &altered.into(), &actors),
                Err(StoredError::Damaged(row.key.clone())),
                "bit {bit} of {name} can flip unseen"
            );
        }
        for cut in 0..value.len() {
            let cut_short = value.slice(..cut);
            assert!(stored::read_object(&row.key, &cut_short, &actors).is_err(), "{name} cut to {cut}");
        }
        let elsewhere = stored::object_key(Partition(2), &key());
        let damaged = Err(StoredError::Damaged(elsewhere.clone()));
        assert_eq!(stored::read_object(&elsewhere, &value, &actors), damaged);
    }
}

#[test]
fn an_object_is_never_read_under_other_actors_than_it_was_written_under() {
    let (objects, mut actors) = objects();
    for (name, object) in objects.into_iter().filter(|(_, object)| !object.is_empty()) {
        let row = stored::object_row(Partition(1), &key(), Some(&object), &mut actors);
        let value = row.value.expect("a row to put");
        for lives in [&[][..], &[9, 7, 8], &[5, 6], &[7, 8, 9]] {
            let mut others = Actors::new();
            for &life in lives {
                others.number(Life(life));
            }
            let read = stored::read_object(&row.key, &value, &others);
            // The usual one names only the first actor, and that one is the same in the last table.
            if read != Ok(object.clone()) {
                assert_eq!(read, Err(StoredError::Damaged(row.key.clone())), "{name} under {lives:?}");
            }
        }
    }
}

#[test]
fn a_table_of_actors_with_a_hole_or_an_actor_twice_is_an_error() {
    let (_, actors) = objects();
    let rows: Vec<Row> = stored::actor_rows(Partition(1), &actors).collect();
    let load = |places: &[usize]| {
        let rows: Vec<Row> = places.iter().map(|&place| rows[place].clone()).collect();
        stored::load(&rows).map(|loaded| loaded.actors.get(&Partition(1)).map_or(0, Actors::len))
    };
    assert_eq!(load(&[]), Ok(0));
    assert_eq!(load(&[0, 1]), Ok(2));
    for (places, wrong) in [(&[1][..], 1), (&[0, 2], 2), (&[0, 0], 0)] {
        assert_eq!(load(places), Err(StoredError::Actors(rows[wrong].key.clone())));
    }
    // Two numbers for one life, each row good by itself.
    let mut shifted = Actors::new();
    shifted.number(Life(1));
    shifted.number(Life(7));
    let second = stored::actor_rows(Partition(1), &shifted).nth(1).expect("two rows");
    let error = StoredError::Actors(second.key.clone());
    assert_eq!(stored::load(&[rows[0].clone(), second]).map(|_| ()), Err(error));
}

#[test]
fn a_row_of_a_newer_format_names_it() {
    let (_, mut actors) = objects();
    let partition = Partition(1);
    let object = stored::object_row(partition, &key(), Some(&object()), &mut actors);
    let actor = stored::actor_rows(partition, &actors).next().expect("a row");
    for (row, newer) in [(stored::life_row(Life(7), false), 2), (actor, 3), (object, 3)] {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[newer]);
        hasher.update(&row.key.0);
        let value: Bytes = [&[newer][..], &hasher.finalize().to_le_bytes()].concat().into();
        let error = StoredError::Format(row.key.clone(), newer);
        if stored::key_of(&row.key).is_some() {
            assert_eq!(stored::read_object(&row.key, &value, &actors), Err(error));
        } else {
            let row = Row { value: Some(value), ..row };
            assert_eq!(stored::load(&[row]).map(|_| ()), Err(error));
        }
    }
}

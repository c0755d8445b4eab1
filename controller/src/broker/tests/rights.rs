//! Every topic for everybody, generated from the product's own table, tried at the front door.

use std::fmt::Write as _;

use crate::authorize::{Users, users_of};

use super::*;

/// Who connects; the last two are not let in at all.
const EVERYBODY: [&str; 8] = [
    "read", "run", "approve", "admin", "worker", "other", "nobody", "revoked",
];

/// What the table says: whether this one may.
fn expected(users: Users, who: &str) -> bool {
    match (users, who.parse::<Scope>()) {
        (Users::Scopes(scopes), Ok(held)) => scopes.iter().any(|scope| held.reaches(*scope)),
        (Users::Worker(_), _) => who == "worker",
        (Users::None | Users::Scopes(_), _) => false,
    }
}

fn connect(who: &'static str, own: WorkerId) -> Connect {
    match who {
        "worker" => worker(own),
        "other" => worker(WorkerId::new()),
        "nobody" => Connect {
            clean_session: true,
            ..Connect::default()
        },
        scope_or_removed => person(scope_or_removed),
    }
}

/// The samples, with the topics of this worker.
fn topics(own: WorkerId) -> impl Iterator<Item = Topic> {
    Topic::samples().into_iter().map(move |topic| match topic {
        Topic::WorkerIn(_) => Topic::WorkerIn(own),
        Topic::WorkerOut(_) => Topic::WorkerOut(own),
        Topic::WorkerLog(_) => Topic::WorkerLog(own),
        other => other,
    })
}

#[tokio::test]
async fn every_topic_is_open_to_whom_the_table_names_and_to_nobody_else() {
    let mut rig = Rig::start().await;
    let own = WorkerId::new();
    let mut table = String::from("topic | publish, subscribe\n");
    let mut wrong = vec![];
    for who in EVERYBODY {
        let (mut client, code) = rig.connect(connect(who, own)).await;
        let is_known = !["nobody", "revoked"].contains(&who);
        assert_eq!(code == ConnectCode::Accepted, is_known, "{who}: {code:?}");
        if !is_known {
            assert!(client.closed().await, "{who}");
            continue;
        }
        for topic in topics(own) {
            let (publishers, subscribers) = users_of(&topic);
            let text = topic.to_string();
            let may_read = client.subscribe(&[(&text, Qos::One)]).await != [None];
            client.unsubscribe(&text).await;
            let denied = rig.stats().denied_publishes;
            client.say(publish(&text, "x", Delivery::One(id(9)))).await;
            assert_eq!(client.hear().await, Packet::PubAck(id(9)), "{who} {text}");
            let may_write = rig.stats().denied_publishes == denied;
            while rig.commands.try_recv().is_ok() || rig.events.try_recv().is_ok() {}
            writeln!(table, "{who:<8} {text:<64} {may_write:<5} {may_read}").expect("a string");
            if (may_write, may_read) != (expected(publishers, who), expected(subscribers, who)) {
                wrong.push(format!("{who} {text}: publish {may_write}, subscribe {may_read}"));
            }
        }
    }
    eprintln!("{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

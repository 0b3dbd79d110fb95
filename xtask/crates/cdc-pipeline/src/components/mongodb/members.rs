//! A replica set that grows with its profile: its members are added one at a time, as MongoDB wants.
//!
//! It never shrinks: pods that are taken away would leave it without a majority.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use mongodb::bson::{Bson, Document, doc};

use super::settings::MongodbSettings;
use crate::clients::mongodb::{Mongodb, MongodbError};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::kubernetes::Cluster;
use crate::readiness::{State, Status};
use crate::wait::{self, Patience};

/// A member as the set's configuration has it. This tool speaks to the first one: it shall be the
/// primary whenever it can.
pub(super) fn member(id: i32, host: &str, first: bool) -> Document {
    doc! { "_id": id, "host": host, "priority": if first { 2 } else { 1 } }
}

/// A change of the set's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The whole next configuration.
    pub config: Document,
    /// What it changes, as the user reads it.
    pub what: String,
}

/// The next configuration on the way to these members; none once they are all there. It differs by
/// one member: a set agrees on no more at once.
///
/// # Errors
/// The set has members that are not wanted, or is malformed.
pub fn next(current: &Document, wanted: &[String]) -> Result<Option<Step>> {
    let mut members = match current.get_array("members") {
        Ok(members) if !members.is_empty() => members.clone(),
        _ => {
            let what = "the replica set's configuration names no member";
            return Err(Error::new(Code::Service, what));
        }
    };
    let mut config = current.clone();
    let version = number(current.get("version")).unwrap_or_default() + 1;
    config.insert("version", version);
    // A set of one has the service's own name, which leads to any of several.
    let alone = |host: &str| members.len() == 1 && is_service_of(host, wanted);
    let strangers: Vec<&str> = members
        .iter()
        .map(host)
        .filter(|host| !wanted.iter().any(|wanted| wanted == host) && !alone(host))
        .collect();
    if !strangers.is_empty() {
        return Err(shrinks(&strangers.join(", "), wanted.len()));
    }
    let missing = wanted
        .iter()
        .enumerate()
        .find(|(_, wanted)| !members.iter().any(|member| host(member) == wanted.as_str()));
    let Some((at, missing)) = missing else {
        return Ok(None);
    };
    let what = if alone(host(&members[0])) {
        if let Some(Bson::Document(only)) = members.first_mut() {
            only.insert("host", missing);
            only.insert("priority", 2);
        }
        format!("named the first member {missing}")
    } else {
        let ids = members
            .iter()
            .filter_map(|it| number(it.as_document()?.get("_id")));
        let id = ids.max().unwrap_or_default() + 1;
        members.push(member(id, missing, at == 0).into());
        format!("added {missing}")
    };
    config.insert("members", members);
    Ok(Some(Step { config, what }))
}

fn host(member: &Bson) -> &str {
    let member = member.as_document();
    member
        .and_then(|member| member.get_str("host").ok())
        .unwrap_or_default()
}

/// Whether the host is the service that all wanted members are behind.
fn is_service_of(host: &str, wanted: &[String]) -> bool {
    let behind = |member: &String| member.split_once('.').is_some_and(|(_, name)| name == host);
    !wanted.is_empty() && wanted.iter().all(behind)
}

/// A number, whichever of BSON's the server chose.
fn number(value: Option<&Bson>) -> Option<i32> {
    match value? {
        Bson::Int32(number) => Some(*number),
        Bson::Int64(number) => i32::try_from(*number).ok(),
        #[allow(clippy::cast_possible_truncation)]
        Bson::Double(number) => Some(*number as i32),
        _ => None,
    }
}

fn shrinks(members: &str, wanted: usize) -> Error {
    Error::new(
        Code::Drift,
        format!(
            "the replica set has members that the profile does not want: {members}; \
             mongodb.replicas is {wanted}"
        ),
    )
    .hint(
        "a set that loses most of its members at once takes no more writes: raise mongodb.replicas \
         again, or remove the members yourself (rs.remove), one at a time, and then their pods",
    )
}

/// Refuses to take away pods of members: those that are left could not elect a primary.
///
/// # Errors
/// More pods run than the profile wants, or the server does not tell.
pub async fn refuse_shrinking(
    cluster: &Cluster,
    namespace: &str,
    set: &str,
    wanted: u16,
) -> Result<()> {
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), namespace);
    let there = sets.get_opt(set).await.map_err(|error| {
        let what = format!("asking for StatefulSet {namespace}/{set}: {error}");
        Error::new(Code::Platform, what)
    })?;
    let there = there.and_then(|set| set.spec?.replicas);
    let there = usize::try_from(there.unwrap_or_default()).unwrap_or_default();
    let wanted = usize::from(wanted);
    if there <= wanted {
        return Ok(());
    }
    let members: Vec<String> = (wanted..there).map(|at| format!("{set}-{at}")).collect();
    Err(shrinks(&members.join(", "), wanted))
}

/// Has every wanted member in the set; says what was changed.
///
/// # Errors
/// The set has members that are not wanted, or a member does not come.
pub(super) async fn complete(
    own: &MongodbSettings,
    env: &Environment,
    client: &Mongodb,
    progress: &Progress,
) -> Result<Vec<String>> {
    let wanted = own.members(&env.profile);
    let patience = Patience {
        deadline: Duration::from_secs(600),
        first: Duration::from_millis(50),
        slowest: Duration::from_secs(1),
    };
    let changes = tokio::sync::Mutex::new(Vec::new());
    wait::until(
        "mongodb's members are in its set",
        patience,
        progress,
        || async {
            if let Some(obstacle) = env.blocked_by(&own.name).await
                && obstacle.state == State::Failed
            {
                return obstacle;
            }
            match one(client, &wanted).await {
                Ok(None) => Status::current("complete"),
                Ok(Some(what)) => {
                    changes.lock().await.push(what.clone());
                    Status::in_progress(what)
                }
                Err(Trouble::Passing(error)) => Status::in_progress(error.to_string()),
                Err(Trouble::Final(error)) => Status {
                    next: error.hint,
                    ..Status::failed(error.message)
                },
            }
        },
    )
    .await?;
    Ok(changes.into_inner())
}

enum Trouble {
    Passing(MongodbError),
    Final(Error),
}

/// Makes the next change, if one is left.
async fn one(client: &Mongodb, wanted: &[String]) -> Result<Option<String>, Trouble> {
    let current = client.set_config().await.map_err(trouble)?;
    let Some(step) = next(&current, wanted).map_err(Trouble::Final)? else {
        return Ok(None);
    };
    client
        .admin(doc! { "replSetReconfig": step.config })
        .await
        .map_err(trouble)?;
    Ok(Some(step.what))
}

fn trouble(error: MongodbError) -> Trouble {
    match error.code {
        // A set of one that this very server does not belong to, a configuration that it does not
        // understand, a missing right: the same request is refused again.
        2 | 9 | 13 | 59 | 93 => Trouble::Final(super::service(&error)),
        // The member does not answer yet, or the set has not agreed on the change before, which may
        // be its own: a new member votes only once it has copied everything.
        _ => Trouble::Passing(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clients::mongodb::fake::{refusal, start};

    const SERVICE: &str = "mongo-mongodb.database.svc.cluster.local:27017";

    fn wanted(count: usize) -> Vec<String> {
        match count {
            1 => vec![SERVICE.to_owned()],
            _ => (0..count)
                .map(|at| format!("mongo-{at}.{SERVICE}"))
                .collect(),
        }
    }

    fn config(hosts: &[String]) -> Document {
        let members: Vec<Document> = (0..)
            .zip(hosts)
            .map(|(id, host)| member(id, host, id == 0))
            .collect();
        doc! { "_id": "rs0", "version": 1, "term": 4_i64, "members": members, "settings": { "x": 1 } }
    }

    fn hosts(config: &Document) -> Vec<String> {
        let members = config.get_array("members").expect("members");
        members
            .iter()
            .map(|member| host(member).to_owned())
            .collect()
    }

    #[test]
    fn one_member_becomes_three_in_three_changes() {
        let mut current = config(&wanted(1));
        let mut said = Vec::new();
        while let Some(step) = next(&current, &wanted(3)).expect("it grows") {
            said.push(step.what);
            current = step.config;
        }
        assert_eq!(
            said,
            [
                format!("named the first member mongo-0.{SERVICE}"),
                format!("added mongo-1.{SERVICE}"),
                format!("added mongo-2.{SERVICE}"),
            ]
        );
        assert_eq!(number(current.get("version")), Some(4));
        let members = current.get_array("members").expect("members");
        let priorities: Vec<_> = members
            .iter()
            .map(|it| number(it.as_document().expect("a member").get("priority")))
            .collect();
        assert_eq!(priorities, [Some(2), Some(1), Some(1)]);
    }

    #[test]
    fn a_set_that_would_shrink_or_has_strangers_is_refused_with_their_names() {
        for (there, wanted) in [(wanted(3), wanted(1)), (wanted(5), wanted(3))] {
            let error = next(&config(&there), &wanted).expect_err("it shrinks");
            assert_eq!(error.code, Code::Drift);
            assert!(error.message.contains(&there[there.len() - 1]), "{error}");
            assert!(error.hint.is_some());
        }
        let mut there = wanted(3);
        there.push("elsewhere:27017".into());
        let error = next(&config(&there), &wanted(3)).expect_err("a stranger");
        assert!(error.message.contains("elsewhere:27017"), "{error}");
        assert!(next(&doc! {}, &wanted(3)).is_err());
    }

    /// Any numbers of members, a set of one that has the service's name or the first member's, and
    /// members that are there in any order.
    fn sets() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
        (1_usize..8).prop_flat_map(|count| {
            let all = wanted(count);
            let some = proptest::sample::subsequence(all.clone(), 1..=count).prop_shuffle();
            let alone = Just(wanted(1));
            (prop_oneof![4 => some, 1 => alone], Just(all))
        })
    }

    proptest! {
        #[test]
        fn a_set_grows_by_one_member_at_a_time_and_then_rests((there, wanted) in sets()) {
            let first = config(&there);
            let mut current = first.clone();
            for _ in 0..=wanted.len() {
                let Some(step) = next(&current, &wanted).expect("nothing is too many") else {
                    break;
                };
                let (before, after) = (hosts(&current), hosts(&step.config));
                let (added, removed) = (
                    after.iter().filter(|host| !before.contains(host)).count(),
                    before.iter().filter(|host| !after.contains(host)).count(),
                );
                // One more, or one that is called otherwise.
                prop_assert!(added == 1 && removed <= 1 && after.len() + removed == before.len() + 1);
                prop_assert_eq!(
                    number(step.config.get("version")),
                    number(current.get("version")).map(|version| version + 1)
                );
                current = step.config;
            }
            prop_assert_eq!(next(&current, &wanted).expect("complete"), None);
            let (mut have, mut want) = (hosts(&current), wanted);
            have.sort();
            want.sort();
            prop_assert_eq!(have, want);
            let members = current.get_array("members").expect("members");
            let mut ids: Vec<_> = members
                .iter()
                .map(|it| number(it.as_document().expect("a member").get("_id")))
                .collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), members.len());
            for kept in ["_id", "term", "settings"] {
                prop_assert_eq!(current.get(kept), first.get(kept));
            }
        }
    }

    #[tokio::test]
    async fn members_are_added_through_the_client_and_a_set_that_has_not_agreed_is_asked_again() {
        let mut there = config(&wanted(1));
        let mut busy = true;
        let endpoint = start(move |command, asked| match command {
            "replSetGetConfig" => doc! { "config": there.clone() },
            "replSetReconfig" if std::mem::take(&mut busy) => {
                refusal(308, "CurrentConfigNotCommittedYet")
            }
            "replSetReconfig" => {
                let next = asked
                    .get_document("replSetReconfig")
                    .expect("a configuration");
                let grew = hosts(next).len() - hosts(&there).len();
                let newer = number(next.get("version")) > number(there.get("version"));
                if grew > 1 || !newer {
                    return refusal(103, "NewReplicaSetConfigurationIncompatible");
                }
                there = next.clone();
                busy = true;
                doc! {}
            }
            _ => doc! { "isWritablePrimary": true, "setName": "rs0" },
        })
        .await
        .expect("a server");
        let client = Mongodb::new(&endpoint);
        let (mut changes, mut passing) = (Vec::new(), 0);
        loop {
            match one(&client, &wanted(3)).await {
                Ok(Some(what)) => changes.push(what),
                Ok(None) => break,
                Err(Trouble::Passing(_)) => passing += 1,
                Err(Trouble::Final(error)) => panic!("{error}"),
            }
        }
        assert_eq!((changes.len(), passing), (3, 3));
        assert!(matches!(
            one(&client, &wanted(1)).await,
            Err(Trouble::Final(_))
        ));
    }
}

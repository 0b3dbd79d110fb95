//! What the operator of Kafka and Connect says of its resources: whether it refused one, or has not taken
//! up its newest specification.

use futures_util::future::join_all;
use kube::core::DynamicObject;

use super::{Known, Resource, limited};
use crate::clock;
use crate::diagnose::Subject;
use crate::environment::{Environment, connector, targets};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::platform::kubernetes::watch::Target;
use crate::readiness::State;
use crate::readiness::kubernetes::{Ages, Seen, evaluate, untaken};
use crate::wait::Limit;

/// Asks for them all; none where there is no such operator.
pub(super) async fn gather(env: &Environment, limit: &Limit) -> Option<Known<Vec<Resource>>> {
    if env.platform == Platform::Host {
        return None;
    }
    let components = ["kafka", "connect"];
    let operated = components.into_iter().filter(|name| !env.is_external(name));
    let of_components = operated.flat_map(|name| {
        let targets = targets(&env.profile, name).into_iter();
        targets.map(move |target| (Subject::component(name), target))
    });
    let of_connectors = env.profile.connector_names().map(|name| {
        (
            Subject::Connector(name.clone()),
            connector(&env.profile, name),
        )
    });
    let wanted: Vec<(Subject, Target)> = of_components.chain(of_connectors).collect();
    let asked = async {
        let cluster = &env.link()?.cluster;
        let each = join_all(wanted.into_iter().map(async |(subject, target)| {
            let object = cluster.object(&target).await?;
            Ok(object.map(|object| read(subject, &target, object)))
        }));
        let each: Result<Vec<Option<Resource>>> = each.await.into_iter().collect();
        Ok::<_, Error>(each?.into_iter().flatten().collect())
    };
    Some(limited(limit, asked).await)
}

fn read(subject: Subject, target: &Target, object: DynamicObject) -> Resource {
    let now = i64::try_from(clock::now_ms() / 1000).unwrap_or(i64::MAX);
    one(subject, &target.resource.kind, object, now)
}

/// What an object says at this time, in seconds since 1970.
pub(crate) fn one(subject: Subject, kind: &str, object: DynamicObject, now: i64) -> Resource {
    let name = object.metadata.name.clone().unwrap_or_default();
    let untaken_s = untaken(&object).map(|since| u64::try_from(now - since).unwrap_or(0));
    let is_connector = matches!(subject, Subject::Connector(_));
    let seen = Seen {
        object: Some(object.into()),
        now,
        ..Seen::default()
    };
    // Of what has pods, a gate tells, who sees them too.
    let verdict = is_connector.then(|| evaluate(&seen, &mut Ages::default()).status);
    Resource {
        subject,
        object: format!("{kind} {name}"),
        refused: verdict.filter(|status| status.state == State::Failed),
        untaken_s,
    }
}

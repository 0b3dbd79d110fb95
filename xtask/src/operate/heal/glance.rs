//! Between two rounds: whether anything looks different, which is cheap to ask.

use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::platform::Platform;
use crate::platform::host::daemon;
use crate::wait;

/// How long Connect may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be seen at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    /// Components whose process has ended.
    ended: Vec<String>,
    /// Connectors and tasks with their states; none while Connect does not tell.
    states: Option<Vec<(String, Vec<String>)>>,
}

impl Glance {
    /// Looks.
    pub(super) async fn of(env: &Environment) -> Self {
        let on_host = env.platform == Platform::Host;
        let has_ended = |name: &String| on_host && daemon::ended(&env.dirs, name).is_some();
        let client = env.connect_client();
        let listed = tokio::time::timeout(PATIENCE, client.all()).await;
        let states = listed.ok().and_then(Result::ok).map(|listed| {
            let mut states: Vec<(String, Vec<String>)> = listed
                .into_iter()
                .map(|(name, it)| {
                    let own = std::iter::once(it.status.connector);
                    let all = own.chain(it.status.tasks);
                    (name, all.map(|entry| entry.state).collect())
                })
                .collect();
            states.sort();
            states
        });
        Glance {
            ended: env
                .running()
                .map(|it| it.name.clone())
                .filter(has_ended)
                .collect(),
            states,
        }
    }

    /// Rests for as long, or until something looks different than it did at this glance.
    pub(super) async fn rest(&self, env: &Environment, rest: Duration) {
        let every = match env.platform {
            Platform::Host => Duration::from_secs(1),
            Platform::Kind | Platform::Kubernetes => Duration::from_secs(5),
        };
        let begin = Instant::now();
        while let Some(left) = rest
            .checked_sub(begin.elapsed())
            .filter(|left| !left.is_zero())
        {
            wait::pause(every.min(left)).await;
            if begin.elapsed() < rest && Glance::of(env).await != *self {
                return;
            }
        }
    }
}

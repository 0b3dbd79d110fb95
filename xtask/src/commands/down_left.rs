//! What an environment leaves at servers of the user's own: a slot there keeps the server's log for ever. `down` drops
//! what the tool and its connectors made, or names it with the statement that does.

use crate::cli::Global;
use crate::components::source;
use crate::components::source::{Left, Undo};
use crate::environment::{Environment, Secrets};
use crate::plan::Progress;
use crate::platform::Platform;

use super::context;

/// What was made there, by connector.
#[derive(Default)]
pub(super) struct Found {
    env: Option<Environment>,
    left: Vec<(String, Left)>,
    /// What is never dropped, and where it could not be asked for and why.
    kept: Vec<String>,
}

/// What became of it.
#[derive(Default)]
pub(super) struct Done {
    /// What was dropped.
    pub(super) dropped: Vec<String>,
    /// What is still there, with what drops it.
    pub(super) left: Vec<String>,
}

/// Asks the servers of the user's own.
pub(super) async fn find(global: &Global, platform: Platform) -> Found {
    let made = context::remembered_profile(global)
        .and_then(|loaded| Environment::new(&context::root(), loaded, platform, Secrets::Existing));
    let Ok(env) = made else {
        // Without a profile there is nobody to ask.
        return Found::default();
    };
    let mut found = Found::default();
    if let Some(address) = env.external(&env.profile.kafka.name) {
        found.kept.push(format!(
            "the pipeline's topics, groups and positions at {address}"
        ));
    }
    for (name, connector) in &env.profile.connectors {
        if !env.is_external(&connector.source) {
            continue;
        }
        match source(&env, connector).left(&env, connector).await {
            Ok(left) => found
                .left
                .extend(left.into_iter().map(|it| (name.clone(), it))),
            Err(error) => found.kept.push(format!(
                "what {name} has at {}: {}",
                env.external(&connector.source).unwrap_or_default(),
                error.message
            )),
        }
    }
    found.env = Some(env);
    found
}

impl Found {
    /// What is there, for people.
    pub(super) fn names(&self) -> Vec<String> {
        self.left.iter().map(|(_, it)| it.what.clone()).collect()
    }

    /// Drops it, once nobody reads it any more.
    pub(super) async fn drop(self) -> Done {
        let mut done = Done {
            left: self.kept,
            ..Done::default()
        };
        let Some(env) = self.env else {
            return done;
        };
        for (name, left) in self.left {
            let Some(connector) = env.profile.connectors.get(&name) else {
                continue;
            };
            let source = source(&env, connector);
            let undo = async |undo| {
                source
                    .undo(&env, connector, undo, &Progress::silent())
                    .await
            };
            let released = match left.undo {
                Undo::Forget => undo(Undo::Release).await.map(drop),
                Undo::Release | Undo::Unpublish => Ok(()),
            };
            let dropped = match released {
                Ok(()) => undo(left.undo).await.map(drop),
                Err(error) => Err(error),
            };
            match dropped {
                Ok(()) => done.dropped.push(left.what),
                Err(error) => done
                    .left
                    .push(format!("{} ({}): {}", left.what, error.message, left.sql)),
            }
        }
        done
    }
}

impl Done {
    /// A sentence with what was dropped, and what was not.
    pub(super) fn after(&self, sentence: &str) -> String {
        let mut all = sentence.to_owned();
        if !self.dropped.is_empty() {
            all.push_str(&format!("; dropped {}", self.dropped.join(", ")));
        }
        for left in &self.left {
            all.push_str(&format!("; left {left}"));
        }
        all
    }
}

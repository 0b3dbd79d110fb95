//! A connector's login at its source, which may have been changed since its task read it.
//!
//! A task reads its password once, and tries the old one for ever, RUNNING all the while. On clusters the
//! file that a worker reads it from follows its Secret up to a minute later. So the worker itself is asked:
//! validating a configuration resolves the password as the worker has it, and logs in with it. Which user it
//! is, and where its password is kept, is read from the rendered configuration.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::settled;
use super::{mend, wanted};
use crate::clock;
use crate::components::position::position;
use crate::components::source;
use crate::components::source::Reading;
use crate::environment::{Environment, targets};
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::platform::kubernetes::watch::Target;
use crate::platform::{Platform, Secret};
use crate::profile::component::Instance;
use crate::profile::schema::Connector;
use crate::readiness::connect::is_login_refused;
use crate::readiness::kubernetes::written;
use crate::readiness::{self, State, Status};
use crate::wait::{self, Patience};

/// A kubelet looks at its Secrets once a minute, and its own copy may be a minute old.
const FILE_FOLLOWS: Duration = Duration::from_secs(150);
/// A source that answers refuses a login at once.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// A task that has just begun reads its slot within seconds.
const READS_WITHIN: Duration = Duration::from_secs(40);
const ATTEMPTS: u32 = 3;
/// How long a slot may be unread before it is asked why, and how often then.
const DOUBT: Duration = Duration::from_secs(4);

/// Why the source refuses the login that the worker has for a connector; none if it takes it, or if nobody
/// tells.
pub async fn refused(env: &Environment, name: &str, connector: &Connector) -> Option<String> {
    let (class, config) = wanted(env, name, connector).ok()?;
    let client = env.connect_client();
    // A source that hangs keeps Connect for as long as it waits itself.
    let found = timeout(ANSWERS_WITHIN, client.validate(&class, &config)).await;
    let found = found.ok()?.ok()?;
    let mut errors = found.errors().map(|(_, error)| error);
    errors
        .find(|error| is_login_refused(error))
        .map(str::to_owned)
}

/// Whether the source takes the connector's login as this tool knows it; none if it cannot be told.
pub async fn works(env: &Environment, name: &str, connector: &Connector) -> Option<bool> {
    let (_, config) = wanted(env, name, connector).ok()?;
    let keys = env.read_by(connector)?.kind.source.as_ref()?;
    let [user, password] = [keys.user, keys.password].map(|key| config.get(key));
    let (user, password) = (user?, password?);
    let password = match kept(password) {
        Some(dir) => Kept::read(env, dir).await?.password,
        None => Secret::new(password),
    };
    source(env, connector).takes(env, user, password).await
}

/// The directory that a configuration's value has a password read from: `${strimzidir:/mnt/x:password}`.
fn kept(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("${strimzidir:")?;
    let (dir, _) = rest.split_once(":password}")?;
    Some(dir)
}

/// The command after which source and connector have the same password: `up` alone where it sets the one of a
/// user of its own.
pub fn next(key: Option<&str>) -> String {
    key.map_or_else(|| "cargo xtask up".to_owned(), give)
}

/// The profile's key that holds a connector's password; none where `up` sets it at the source.
pub fn password_key(env: &Environment, name: &str, connector: &Connector) -> Option<String> {
    let key = env.read_by(connector)?.kind.source.as_ref()?.password;
    let config = wanted(env, name, connector).map(|(_, config)| config);
    let password = config.ok().and_then(|config| config.get(key).cloned());
    if password.is_some_and(|password| kept(&password).is_none()) {
        // It stands in the profile as the connector's own.
        return Some(format!("connectors.{name}.config.{key}"));
    }
    key_of(env.read_by(connector)?)
}

/// What helps where the connectors' user was there before, with a password that others may log in with too.
pub fn keep_password(component: &str, user: &str) -> String {
    format!("set {component}.connector_password to that of {user}, or name another user")
}

/// The profile's key that holds the password of a component's connectors; none where `up` sets it there.
pub fn key_of(of: &Instance) -> Option<String> {
    let path = &of.path;
    match of.connector_login().is_own() {
        true if !of.is_external() => None,
        true => Some(format!("{path}.connector_password")),
        false => Some(format!("{path}.password")),
    }
}

/// The status of a server of the user's that is not as the profile says, with the key to correct. It does not pass by
/// waiting.
pub fn correct(component: &str, key: &str, error: impl std::fmt::Display) -> Status {
    let next = format!("correct {component}.{key} in the profile; then: cargo xtask up");
    Status::failed(error.to_string()).next(next)
}

/// The command that gives the tool a password, without putting it into the command.
pub fn give(key: &str) -> String {
    format!("cargo xtask up --set {key}=@-, which asks for the password that the server has")
}

/// Has a connector that is to run do so, with the password that counts now: restarts what failed or is
/// nobody's, and what has read another password or does not read its slot, once the worker has the right one.
///
/// # Errors
/// The source refuses the login that the tool knows, the slot is gone, or Connect refuses.
pub async fn put_right(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<Outcome> {
    let client = env.connect_client();
    let unchanged = Ok(Outcome::Unchanged("registered".into()));
    let Some(status) = settled(progress, || client.status(name)).await? else {
        return unchanged;
    };
    if matches!(status.connector.state.as_str(), "PAUSED" | "STOPPED") {
        return unchanged;
    }
    let runs = readiness::connect::connector(Some(&status)).state == State::Current;
    let reading = sees(env, connector).await;
    let stale = match &reading {
        Some(reading) => is_stale(env, name, connector, reading).await,
        None => false,
    };
    if runs && !stale && (reading.is_none() || reads(env, connector, progress).await) {
        return unchanged;
    }
    if let Some(gone) = gone(env, name, connector).await {
        return Err(failed(name, gone));
    }
    let followed = follow(env, name, connector, progress).await?;
    if !runs {
        return mend(env, name, progress).await;
    }
    // A first snapshot takes as long as it takes, and its slot is read after it.
    if !stale && !followed && !began(env, name).await {
        let now = sees(env, connector).await;
        if now.is_none_or(|reading| reading.is_busy) {
            return unchanged;
        }
    }
    restart(env, name, connector, progress).await?;
    Ok(Outcome::Changed(
        match stale || followed {
            true => "restarted: it had the password of before",
            false => "restarted: it ran and read nothing",
        }
        .into(),
    ))
}

/// Restarts a connector until its slot is read with the password that counts now. Of several workers, one may
/// have it later than the one that was asked.
async fn restart(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<()> {
    let client = env.connect_client();
    let what = format!("{name} reads its slot");
    for attempt in 1.. {
        settled(progress, || client.restart(name, false)).await?;
        if sees(env, connector).await.is_none() {
            break;
        }
        let doubt = Doubt::default();
        let looked = wait::until(&what, Patience::local(READS_WITHIN), progress, || async {
            let seen = fresh(env, name, connector).await;
            doubt.look(env, name, connector, seen).await
        });
        match looked.await {
            Err(error) if error.code == Code::GateTimeout && attempt < ATTEMPTS => {}
            done => return done.map(drop),
        }
    }
    Ok(())
}

/// What its source sees of a connector; none where it does not tell.
async fn sees(env: &Environment, connector: &Connector) -> Option<Reading> {
    source(env, connector).reading(env, connector).await
}

/// Whether the connector reads, or will in a moment: a task that has just begun takes a second.
async fn reads(env: &Environment, connector: &Connector, progress: &Progress) -> bool {
    let patience = Patience::local(Duration::from_secs(5));
    let looked = wait::until("its slot is read", patience, progress, || async {
        let unseen = || Status::unknown("its source does not tell");
        sees(env, connector)
            .await
            .map_or_else(unseen, |it| it.status)
    });
    looked.await.is_ok()
}

/// What its source sees, if the session began with the password that counts now.
async fn fresh(env: &Environment, name: &str, connector: &Connector) -> Status {
    let Some(seen) = sees(env, connector).await else {
        return Status::unknown("its source does not tell");
    };
    match seen.status.state == State::Current && is_stale(env, name, connector, &seen).await {
        true => Status::in_progress("its session is still the one of before"),
        false => seen.status,
    }
}

/// Waits until the worker has a password that the source takes, if it has not; says whether it had to.
///
/// # Errors
/// The source refuses the one that the tool knows, too, or the worker does not get it.
pub async fn follow(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<bool> {
    let Some(said) = refused(env, name, connector).await else {
        return Ok(false);
    };
    if env.platform == Platform::Host || works(env, name, connector).await == Some(false) {
        return Err(failed(name, refusal(env, name, connector, &said)));
    }
    let patience = Patience {
        deadline: FILE_FOLLOWS,
        first: Duration::from_secs(1),
        slowest: Duration::from_secs(2),
    };
    let what = format!("the workers have the password of {name}");
    let looked = wait::until(&what, patience, progress, || async {
        match refused(env, name, connector).await {
            None => Status::current("they have it"),
            Some(_) => Status::in_progress("their file follows its Secret within a minute or two"),
        }
    });
    looked.await.map(|_| true)
}

/// That a source refuses a connector's login, with the command that helps.
fn refusal(env: &Environment, name: &str, connector: &Connector, said: &str) -> Status {
    let said = said.lines().next().unwrap_or_default();
    Status::failed(format!(
        "its source refuses its login: {}",
        said.trim_start_matches("Error while validating connector config: ")
    ))
    .next(next(password_key(env, name, connector).as_deref()))
}

/// That the slot of a connector with a committed place is not there: nobody will make it.
async fn gone(env: &Environment, name: &str, connector: &Connector) -> Option<Status> {
    let slot = connector.slot.as_deref()?;
    if sees(env, connector).await?.status.state != State::NotFound {
        return None;
    }
    began(env, name).await.then(|| {
        Status::failed(format!(
            "its slot `{slot}` is gone, and a new one would lack the changes since its committed position"
        ))
        .next(format!("cargo xtask reset-connector {name}"))
    })
}

/// Whether a connector has committed a position in its source's log that is none of a snapshot.
async fn began(env: &Environment, name: &str) -> bool {
    let offsets = env.connect_client().offsets(name).await.ok().flatten();
    let offsets = offsets.map(|it| it.offsets).unwrap_or_default();
    let mut positions = offsets.iter().filter_map(|one| position(&one.offset));
    positions.any(|position| !position.snapshot)
}

fn failed(name: &str, status: Status) -> Error {
    let error = Error::new(Code::GateFailed, format!("{name}: {}", status.message));
    match status.next {
        Some(next) => error.hint(next),
        None => error,
    }
}

/// Whether the session that reads began before the password was last changed. Ages are compared, as clocks
/// differ.
async fn is_stale(env: &Environment, name: &str, connector: &Connector, reading: &Reading) -> bool {
    let changed_s = async {
        let (_, config) = wanted(env, name, connector).ok()?;
        let dir = config.values().find_map(|value| kept(value))?;
        Some(Kept::read(env, dir).await?.changed_s)
    };
    match reading.session_s {
        Some(age) => changed_s
            .await
            .is_some_and(|changed| age > changed + MARGIN_S),
        None => false,
    }
}

/// What two clocks that are read one after the other, and times in whole seconds, may make of an age.
const MARGIN_S: f64 = 2.0;

/// A password that a worker reads from a directory, as it should have it by now.
struct Kept {
    password: Secret,
    /// How many seconds ago it was changed.
    changed_s: f64,
}

impl Kept {
    async fn read(env: &Environment, dir: &str) -> Option<Self> {
        match env.platform {
            Platform::Host => Self::in_file(dir),
            Platform::Kind | Platform::Kubernetes => Self::in_secret(env, dir).await,
        }
    }

    fn in_file(dir: &str) -> Option<Self> {
        let path = Path::new(dir).join("password");
        let modified = std::fs::metadata(&path).ok()?.modified().ok()?;
        Some(Kept {
            password: Secret::new(std::fs::read_to_string(path).ok()?),
            changed_s: SystemTime::now()
                .duration_since(modified)
                .ok()?
                .as_secs_f64(),
        })
    }

    /// The Secret that the workers mount there.
    async fn in_secret(env: &Environment, dir: &str) -> Option<Self> {
        let cluster = &env.link().ok()?.cluster;
        let workers = targets(&env.profile, "connect").into_iter().next()?;
        let workers = cluster.object(&workers).await.ok()??;
        let name = mounted(&workers.data, dir)?;
        let target = Target::of(
            "v1",
            "Secret",
            &env.profile.kubernetes.kafka_namespace,
            name,
        );
        let secret = cluster.object(&target).await.ok()??;
        let text = secret.data["data"]["password"].as_str()?;
        let bytes = STANDARD.decode(text).ok()?;
        let changed = u64::try_from(written(&secret)?).ok()?.saturating_mul(1000);
        Some(Kept {
            password: Secret::new(String::from_utf8(bytes).ok()?),
            changed_s: clock::now_ms().saturating_sub(changed) as f64 / 1000.0,
        })
    }
}

/// The Secret that a KafkaConnect has its workers mount in a directory.
fn mounted<'a>(workers: &'a Value, dir: &str) -> Option<&'a str> {
    let volumes = workers["spec"]["template"]["pod"]["volumes"].as_array()?;
    let name = dir.rsplit('/').next()?;
    let volume = volumes.iter().find(|it| it["name"] == name)?;
    volume["secret"]["secretName"].as_str()
}

/// Asks why a connector's slot is not read, where waiting may be in vain.
#[derive(Default)]
pub struct Doubt(Mutex<Option<Instant>>);

impl Doubt {
    /// What was seen of a connector; final where its login is refused or its slot is gone.
    pub async fn look(
        &self,
        env: &Environment,
        name: &str,
        connector: &Connector,
        seen: Status,
    ) -> Status {
        if !self.is_due(seen.state) {
            return seen;
        }
        if let Some(gone) = gone(env, name, connector).await {
            return gone;
        }
        match refused(env, name, connector).await {
            // One that the server takes is on its way to the worker.
            Some(said) if works(env, name, connector).await != Some(true) => {
                refusal(env, name, connector, &said)
            }
            _ => seen,
        }
    }

    /// Whether it is time to ask.
    fn is_due(&self, state: State) -> bool {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(state, State::InProgress | State::NotFound) {
            *since = None;
            return false;
        }
        let begun = since.get_or_insert_with(Instant::now);
        let due = begun.elapsed() >= DOUBT;
        if due {
            *begun = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_where_the_configuration_says() {
        assert_eq!(
            kept("${strimzidir:/mnt/postgres-auth:password}"),
            Some("/mnt/postgres-auth")
        );
        assert_eq!(kept("geheim"), None);
        let workers = serde_json::json!({ "spec": { "template": { "pod": { "volumes": [
            { "name": "postgres-auth", "secret": { "secretName": "postgres-credentials" } },
        ] } } } });
        let found = mounted(&workers, "/mnt/postgres-auth");
        assert_eq!(found, Some("postgres-credentials"));
    }

    #[test]
    fn a_command_gives_no_password_away() {
        let next = next(Some("postgres.password"));
        assert!(next.starts_with("cargo xtask up --set postgres.password=@-,"));
        assert_eq!(super::next(None), "cargo xtask up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_asked_about_only_after_a_while_and_not_at_every_look() {
        let doubt = Doubt::default();
        assert!(!doubt.is_due(State::InProgress));
        tokio::time::advance(DOUBT).await;
        assert!(doubt.is_due(State::NotFound));
        assert!(!doubt.is_due(State::NotFound));
        tokio::time::advance(DOUBT).await;
        assert!(!doubt.is_due(State::Current));
        assert!(!doubt.is_due(State::InProgress));
    }
}

//! The faults, as data: what is broken, where there is one of it, by which codes `diagnose` names it, and what fixes it.
//! [`rounds`] is the plan that follows from a seed. No IO.

use serde::Serialize;

use super::cut;
use super::random::Random;
use crate::profile::Profile;

/// Faults of one kind, as `--only` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// A component's process is killed.
    Kill,
    /// A component's process is suspended (SIGSTOP).
    Stop,
    /// A component is restarted by the tool.
    Restart,
    /// A replication slot is dropped with what it keeps.
    Slot,
    /// The network between the connector and its source ends, goes silent or is away.
    Network,
    /// A connector is paused or deleted through Connect.
    Connector,
    /// The broker may write no more.
    Disk,
    /// A reset is begun and killed.
    Reset,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Suspend,
    /// `cargo xtask restart`.
    Restart,
    /// The connector is stopped, its slot dropped, and the connector resumed.
    DropSlot,
    /// Every connection is ended once.
    Flap,
    /// Nothing comes through until it was found.
    Cut,
    /// What is connected goes silent.
    Silence,
    /// Paused through Connect's REST interface.
    Pause,
    /// Deleted through Connect's REST interface.
    Delete,
    /// No file of the process may grow any more.
    Quota,
    /// `cargo xtask reset-connector`, killed in the middle.
    Reset,
}

/// Where there is one of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// At every component that runs.
    Components,
    /// At the broker.
    Broker,
    /// At every connector that reads a source.
    Sources,
    /// At the connector whose connection can be cut.
    Cut,
    /// At every connector.
    Connectors,
}

/// What fixes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// `heal`.
    Heal,
    /// The command that `diagnose` prints.
    Printed,
    /// It ends by itself.
    None,
}

/// A fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// As the table calls it.
    pub name: &'static str,
    /// Its kind.
    pub group: Group,
    /// What is done.
    pub deed: Deed,
    on: On,
    /// One of these is what `diagnose` says; none where there is nothing to be found.
    pub codes: &'static [&'static str],
    /// Whether it may be over before anything looks.
    pub may_pass: bool,
    /// What fixes it.
    pub cure: Cure,
}

const USUAL: Fault = Fault {
    name: "",
    group: Group::Kill,
    deed: Deed::Kill,
    on: On::Components,
    codes: &[],
    may_pass: false,
    cure: Cure::Heal,
};

/// All of them.
pub const ALL: &[Fault] = &[
    Fault {
        name: "killed",
        codes: &["PROCESS_ENDED"],
        ..USUAL
    },
    Fault {
        name: "suspended",
        group: Group::Stop,
        deed: Deed::Suspend,
        codes: &["PROCESS_SUSPENDED"],
        cure: Cure::Printed,
        ..USUAL
    },
    Fault {
        name: "restarted",
        group: Group::Restart,
        deed: Deed::Restart,
        cure: Cure::None,
        ..USUAL
    },
    Fault {
        name: "slot dropped",
        group: Group::Slot,
        deed: Deed::DropSlot,
        on: On::Sources,
        codes: &["SLOT_MISSING"],
        cure: Cure::Printed,
        ..USUAL
    },
    Fault {
        name: "connections ended",
        group: Group::Network,
        deed: Deed::Flap,
        on: On::Cut,
        codes: &["TASK_FAILED", "SOURCE_UNREACHABLE", "CONNECTOR_STUCK"],
        may_pass: true,
        ..USUAL
    },
    Fault {
        name: "network away",
        group: Group::Network,
        deed: Deed::Cut,
        on: On::Cut,
        codes: &["SOURCE_UNREACHABLE", "CONNECTOR_STUCK", "TASK_FAILED"],
        ..USUAL
    },
    Fault {
        name: "connection silent",
        group: Group::Network,
        deed: Deed::Silence,
        on: On::Cut,
        codes: &["CONNECTOR_STUCK"],
        ..USUAL
    },
    Fault {
        name: "paused",
        group: Group::Connector,
        deed: Deed::Pause,
        on: On::Connectors,
        codes: &["CONNECTOR_RESTING"],
        cure: Cure::Printed,
        ..USUAL
    },
    Fault {
        name: "deleted",
        group: Group::Connector,
        deed: Deed::Delete,
        on: On::Connectors,
        codes: &["CONNECTOR_MISSING"],
        ..USUAL
    },
    Fault {
        name: "quota full",
        group: Group::Disk,
        deed: Deed::Quota,
        on: On::Broker,
        codes: &["NO_SPACE"],
        cure: Cure::Printed,
        ..USUAL
    },
    Fault {
        name: "reset killed",
        group: Group::Reset,
        deed: Deed::Reset,
        on: On::Sources,
        codes: &["RESET_UNFINISHED"],
        may_pass: true,
        cure: Cure::Printed,
    },
];

/// A fault at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// The fault.
    pub fault: &'static Fault,
    /// The component or connector.
    pub on: String,
}

impl Injection {
    /// As the table calls it: `kafka killed`.
    pub fn name(&self) -> String {
        format!("{} {}", self.on, self.fault.name)
    }
}

/// A round of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// From 1.
    pub number: usize,
    /// What is broken.
    pub what: Injection,
    /// How long is written before, in milliseconds; of a reset, when it is killed.
    pub after_ms: u64,
}

/// Every fault of these groups at every place; all groups, where none is named.
pub fn injections(profile: &Profile, only: &[Group]) -> Vec<Injection> {
    let is_wanted = |fault: &&Fault| only.is_empty() || only.contains(&fault.group);
    let on = |fault: &Fault| -> Vec<String> {
        match fault.on {
            On::Components => profile.components.keys().cloned().collect(),
            On::Broker => vec![profile.kafka.name.clone()],
            On::Sources => profile.connectors.keys().cloned().collect(),
            On::Cut => cut(profile).map(|it| it.0).into_iter().collect(),
            On::Connectors => profile.connector_names().cloned().collect(),
        }
    };
    let all = ALL.iter().filter(is_wanted);
    all.flat_map(|fault| on(fault).into_iter().map(move |on| Injection { fault, on }))
        .collect()
}

/// The rounds that a seed gives. Each group has its turn before one has it again, and within a group each fault.
pub fn rounds(seed: u64, count: usize, of: &[Injection]) -> Vec<Round> {
    let mut random = Random::new(seed, 0);
    let mut groups: Vec<Group> = of.iter().map(|it| it.fault.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut decks: Vec<Vec<&Injection>> = vec![Vec::new(); groups.len()];
    let mut turns: Vec<usize> = Vec::new();
    let mut rounds = Vec::new();
    while rounds.len() < count && !groups.is_empty() {
        if turns.is_empty() {
            turns = (0..groups.len()).collect();
            random.shuffle(&mut turns);
        }
        let Some((group, deck)) = turns
            .pop()
            .and_then(|at| groups.get(at).zip(decks.get_mut(at)))
        else {
            break;
        };
        if deck.is_empty() {
            deck.extend(of.iter().filter(|it| it.fault.group == *group));
            random.shuffle(deck);
        }
        if let Some(what) = deck.pop() {
            rounds.push(Round {
                number: rounds.len() + 1,
                what: what.clone(),
                after_ms: 500 + random.number() % 2_000,
            });
        }
    }
    rounds
}

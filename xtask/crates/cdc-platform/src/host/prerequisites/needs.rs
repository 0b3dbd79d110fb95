//! What components need of this machine, as data that their types give.

use super::Manager;
use crate::host::user::RefusesRoot;

/// What a component needs of this machine when it runs here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What Maven fetches for it, for people.
    pub maven: &'static [&'static str],
    /// The program of PATH that runs it.
    pub program: Option<InPath>,
    /// Its program refuses to run as root.
    pub refuses_root: Option<RefusesRoot>,
    /// Its key that lowers what it takes of this machine's memory.
    pub memory: Option<&'static str>,
}

/// A program of PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPath {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub why: &'static str,
    /// What becomes of the component without it.
    pub without: Without,
}

/// What becomes of a component without its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// Python runs it, with packages of its own.
    Python {
        /// What Python is for.
        why: &'static str,
        /// The oldest that its packages are built for.
        oldest: (u32, u32),
    },
    /// It is left out.
    LeftOut {
        /// The packages with the program, of the package managers that have it.
        packages: &'static [(Manager, &'static [&'static str])],
        /// The page that tells how to install it elsewhere.
        page: &'static str,
    },
}

/// What the components of a profile need of this machine, each thing once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    pub(super) maven: Vec<&'static str>,
    pub(super) programs: Vec<InPath>,
    pub(super) refusals: Vec<RefusesRoot>,
    /// Keys of the profile.
    pub(super) memory: Vec<String>,
}

impl Needed {
    /// What components need, each with where its keys are in the profile.
    pub fn of<'a>(components: impl IntoIterator<Item = (&'a str, Needs)>) -> Self {
        let mut all = Needed::default();
        for (path, needs) in components {
            add(&mut all.maven, needs.maven.iter().copied());
            add(&mut all.programs, needs.program);
            add(&mut all.refusals, needs.refuses_root);
            let key = needs.memory.map(|key| format!("{path}.{key}"));
            all.memory.extend(key);
        }
        // What nothing replaces is wanted more than what may be left out.
        all.programs
            .sort_by_key(|it| matches!(it.without, Without::LeftOut { .. }));
        all
    }
}

fn add<T: PartialEq>(all: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

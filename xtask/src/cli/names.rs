//! What a name on the command line is the name of. `commands` looks such names up for the shell's
//! completion.

/// What a name is the name of.
#[derive(Clone, Copy, Debug)]
pub enum Names {
    /// Codes of findings and errors.
    Codes,
    /// Components.
    Components,
    /// Connectors that Connect has, and those of the profile.
    Connectors,
    /// The contexts of the user's kubeconfig.
    Contexts,
    /// Flows of the profile.
    Flows,
    /// Consumer groups.
    Groups,
    /// Keys of the profile.
    Keys,
    /// Connectors of the profile.
    ProfileConnectors,
    /// Profiles.
    Profiles,
    /// Projections of the profile.
    Projections,
    /// Components that take SQL.
    Queried,
    /// Dead letter queues.
    Queues,
    /// What can be restarted.
    Restartable,
    /// Components that keep replication slots.
    SlotKeepers,
    /// Replication slots.
    Slots,
    /// What a diagnosis can be about.
    Subjects,
    /// Topics.
    Topics,
    /// Components to which statements are typed.
    Typed,
}

impl clap::builder::ArgExt for Names {}

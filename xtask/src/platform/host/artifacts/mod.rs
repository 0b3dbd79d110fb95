//! Everything that the host platform downloads: pinned, verified, unpacked once, shared.
//!
//! An artifact's directory in the cache is named by the digest of its lock file's content and
//! appears by a rename when it is complete. So its presence is proof, two runs at once do the work
//! once, and a kill leaves only a staging directory, which the next run removes.

pub mod lockfile;
pub mod maven;
pub mod pypi;
pub mod unpack;

pub use lockfile::Locked;
pub use maven::MavenArtifact;
pub use pypi::PypiEnvironment;

//! Which cryptography TLS uses: one provider, chosen here, for every library that speaks TLS.
//!
//! The provider is ring. A process in which libraries find two providers panics at its first
//! connection.

/// Makes ring the process's provider. Without a choice, a library that finds two compiled in, or
/// none, panics at its first connection.
pub fn install() {
    // An error says that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

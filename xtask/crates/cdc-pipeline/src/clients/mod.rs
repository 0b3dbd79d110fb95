//! Thin, typed clients: an endpoint in, plain data out, typed errors. No decisions.

pub mod answer;
pub mod clickhouse;
pub mod connect;
pub mod mongodb;
pub mod mysql;
pub mod postgres;
pub mod sqlserver;
pub mod tls;

pub use cdc_kafka as kafka;

use std::time::Duration;

use crate::endpoint::Tls;
use tls::TlsProblem;

/// The HTTP client that the REST clients share the settings of. There is no proxy: endpoints are
/// loopback addresses or inside the user's own network.
fn http() -> reqwest::Client {
    crate::tls::install();
    // They speak plain HTTP: no certificates need be read from this machine.
    let plain = builder().tls_certs_only([]).build();
    plain.expect("no certificate and no resolver of its own that could be wrong")
}

/// The same for a server whose connections may be encrypted.
///
/// # Errors
/// The authorities cannot be used.
fn https(tls: &Tls) -> Result<reqwest::Client, TlsProblem> {
    match tls {
        Tls::Disable => Ok(http()),
        tls => {
            let encrypted = builder().tls_backend_preconfigured(tls::config(tls)?);
            let encrypted = encrypted.build();
            encrypted.map_err(|error| TlsProblem::Other(crate::error::reason(&error)))
        }
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(3))
}

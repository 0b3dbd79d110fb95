//! Thin, typed clients: an endpoint in, plain data out, typed errors. No decisions.

pub mod answer;
pub mod clickhouse;
pub mod connect;
pub mod mongodb;
pub mod mysql;
pub mod postgres;

pub use cdc_kafka as kafka;

/// The HTTP client that the REST clients share the settings of. There is no proxy: endpoints are
/// loopback addresses or inside the user's own network.
fn http() -> reqwest::Client {
    crate::tls::install();
    reqwest::Client::builder()
        .no_proxy()
        // They speak plain HTTP: no certificates need be read from this machine.
        .tls_certs_only([])
        .connect_timeout(std::time::Duration::from_secs(3))
        .build()
        .expect("no certificate and no resolver of its own that could be wrong")
}

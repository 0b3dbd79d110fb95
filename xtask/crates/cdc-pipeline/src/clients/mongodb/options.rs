//! The driver's options: where servers are, who logs in, and how connections are encrypted.

use mongodb::options::{AuthMechanism, ClientOptions, Credential, Tls, TlsOptions};

use super::PATIENCE;
use super::servers::Servers;
use crate::clients::tls::authorities;
use crate::endpoint::{self, Endpoint};

/// How the driver reaches servers; `set` is their set's name, where it is known. What the name service knows is asked for.
pub(super) async fn of(
    servers: &Servers,
    set: Option<&str>,
    at: &Endpoint,
) -> Result<ClientOptions, mongodb::error::Error> {
    crate::tls::install();
    let encrypted = at.tls != endpoint::Tls::Disable;
    let set = set.unwrap_or_default();
    let mut options = ClientOptions::parse(servers.connection_string(set, encrypted)).await?;
    if servers.is_one() {
        options.direct_connection = Some(true);
        options.repl_set_name = None;
    }
    options.tls = Some(tls(&at.tls));
    options.app_name = Some("cargo xtask".to_owned());
    options.connect_timeout = Some(PATIENCE);
    options.server_selection_timeout = Some(PATIENCE);
    options.credential = (!at.user.is_empty()).then(|| credential(at, servers.auth_source()));
    Ok(options)
}

fn credential(at: &Endpoint, source: &str) -> Credential {
    let mut credential = Credential::builder()
        .username(at.user.clone())
        .password(at.password.expose().to_owned())
        .source(source.to_owned())
        .build();
    if at.user.contains([',', '=']) {
        // SCRAM writes these characters otherwise (RFC 5802, 5.1), and the driver sends a name as it stands (seen with
        // 3.9.1). The older mechanism has the name in the password's digest, too.
        credential.username = Some(at.user.replace('=', "=3D").replace(',', "=2C"));
        credential.mechanism = Some(AuthMechanism::ScramSha256);
    }
    credential
}

/// The connector encrypts and verifies, or does neither: no profile has another way.
pub(super) fn tls(wanted: &endpoint::Tls) -> Tls {
    match authorities(wanted) {
        Some(ca) => Tls::Enabled(TlsOptions::builder().ca_file_path(ca.clone()).build()),
        None => Tls::Disabled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Secret;

    #[tokio::test]
    async fn a_set_is_searched_and_one_server_is_asked_itself() {
        let at = Endpoint::parse("a:1,b:2").login("a=b,c", Secret::new("geheim"));
        let several = Servers::parse("a:1,b:2/?authSource=users").expect("servers");
        let options = of(&several, Some("shop"), &at).await.expect("options");
        assert_eq!(options.repl_set_name.as_deref(), Some("shop"));
        assert_eq!(options.direct_connection, None);
        let credential = options.credential.expect("a login");
        // As SCRAM writes it.
        assert_eq!(credential.username.as_deref(), Some("a=3Db=2Cc"));
        assert_eq!(credential.source.as_deref(), Some("users"));
        let one = of(
            &Servers::member("a:1".into()),
            None,
            &Endpoint::parse("a:1"),
        )
        .await;
        let one = one.expect("options");
        assert_eq!(one.direct_connection, Some(true));
        assert_eq!(one.repl_set_name, None);
        assert!(one.credential.is_none());
    }
}

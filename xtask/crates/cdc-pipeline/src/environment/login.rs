//! How this tool logs in at a broker that asks who connects. Of one that an operator runs, the certificate of
//! Kafka's own authority and the tool's password are in the cluster's Secrets, where operators put them; of one that
//! the user runs, the profile says both.
//!
//! Where rights are checked, the tool's user may describe every topic and group: a broker may go
//! only while all replicas are in sync, and what is not seen would count as in sync. It may not
//! choose leaders, since that right is also the right to change users. A broker that came back
//! leads again within five minutes by itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret as ClusterSecret;
use kube::Api;

use super::Environment;
use crate::clients::kafka::{self, Config};
use crate::error::{Code, Error, Result};
use crate::platform::kubernetes::Cluster;
use crate::platform::{Platform, Secret};

/// The tool's own user at Kafka, its resource, and the Secret that the operator makes for it.
pub const USER: &str = crate::profile::TOOL_USER;
/// The Secret with the certificate of Kafka's own authority.
pub const AUTHORITY: &str = "my-cluster-cluster-ca-cert";
/// Where the certificate is in it.
pub const CERTIFICATE: &str = "ca.crt";

/// What was read.
#[derive(Clone, Default)]
pub(super) struct KafkaLogin {
    ca: Option<String>,
    pub(super) password: Option<Secret>,
}

impl Environment {
    /// Whether this environment's broker speaks TLS and asks who connects.
    pub fn kafka_asks_for_login(&self) -> bool {
        self.platform != Platform::Host
            && self.profile.kafka.is_secured()
            && self.profile.kafka.external.is_none()
    }

    pub(super) fn kafka_login(&self) -> KafkaLogin {
        let login = self.kafka_login.lock();
        login
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn set_kafka_login(&self, change: impl FnOnce(&mut KafkaLogin)) {
        let login = self.kafka_login.lock();
        change(&mut login.unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// The certificate of Kafka's own authority, in PEM, once it was read.
    pub fn kafka_ca(&self) -> Option<String> {
        self.kafka_login().ca
    }

    /// Takes over the certificate of Kafka's own authority.
    pub fn set_kafka_ca(&self, ca: String) {
        self.set_kafka_login(|login| login.ca = Some(ca));
    }

    /// Reads the certificate of Kafka's own authority, if it is there.
    ///
    /// # Errors
    /// The server refuses, or the Secret is not what the operator makes.
    pub async fn read_kafka_ca(&self, cluster: &Cluster) -> Result<()> {
        if self.kafka_asks_for_login()
            && let Some(ca) = self.secret(cluster, AUTHORITY, CERTIFICATE).await?
        {
            self.set_kafka_ca(ca);
        }
        Ok(())
    }

    /// Reads what a login at the broker needs, unless it is known or not asked for.
    ///
    /// # Errors
    /// A Secret is not there yet, or the server refuses.
    pub async fn learn_kafka_login(&self) -> Result<()> {
        if !self.kafka_asks_for_login() {
            return Ok(());
        }
        let known = self.kafka_login();
        if known.ca.is_some() && known.password.is_some() {
            return Ok(());
        }
        let cluster = &self.link()?.cluster;
        let missing = |name: &str| {
            let what = format!("Kafka's operator has not made the Secret {name} yet");
            Error::new(Code::Service, what)
        };
        let ca = self.secret(cluster, AUTHORITY, CERTIFICATE).await?;
        let ca = ca.ok_or_else(|| missing(AUTHORITY))?;
        let password = self.secret(cluster, USER, "password").await?;
        let password = password.ok_or_else(|| missing(USER))?;
        self.set_kafka_login(|login| {
            login.ca = Some(ca);
            login.password = Some(Secret::new(password));
        });
        Ok(())
    }

    /// Forgets what was read in the cluster: it is read anew before the next login.
    pub fn forget_kafka_login(&self) {
        self.set_kafka_login(|login| *login = KafkaLogin::default());
    }

    /// A text in a Secret of Kafka's namespace; none if the Secret is not there.
    async fn secret(&self, cluster: &Cluster, name: &str, key: &str) -> Result<Option<String>> {
        let namespace = &self.profile.kubernetes.kafka_namespace;
        let api: Api<ClusterSecret> = Api::namespaced(cluster.client.clone(), namespace);
        let secret = api.get_opt(name).await.map_err(|error| {
            Error::new(Code::Service, format!("Secret {namespace}/{name}: {error}"))
        })?;
        secret
            .map(|mut secret| text(&mut secret, key))
            .transpose()
            .map_err(|problem| {
                let what = format!("Secret {namespace}/{name}: {problem}");
                Error::new(Code::Service, what)
            })
    }

    /// How the broker is reached. Where it asks who connects, `learn_kafka_login` comes before:
    /// without a certificate the client trusts nobody.
    pub fn kafka_config(&self, timeout: Duration) -> Config {
        let mut config = Config::new(&[self.kafka().address()], timeout);
        config.route = self.link.get().map(super::Link::route);
        let KafkaLogin { ca, password } = self.kafka_login();
        let ca = ca.unwrap_or_default().into_bytes();
        if self.kafka_asks_for_login() {
            // The forward's own address is in no certificate; the service's name is in every
            // broker's.
            let server_name = Some(self.inside(&self.profile.kafka.name).host);
            config.tls = Some(kafka::Tls { ca, server_name });
            let password = password.unwrap_or_else(|| Secret::new(""));
            config.sasl = Some(kafka::Sasl::scram_sha_512(USER, password));
            return config;
        }
        if let Some(access) = self.kafka_access() {
            let server_name = None;
            config.tls = access.ca.map(|_| kafka::Tls { ca, server_name });
            config.sasl = access.login.map(|login| kafka::Sasl {
                mechanism: login.mechanism(),
                user: login.user,
                password: login.password,
            });
        }
        config
    }
}

/// A text in a Secret.
///
/// # Errors
/// It has none under this key.
pub fn text(secret: &mut ClusterSecret, key: &str) -> std::result::Result<String, String> {
    let bytes = secret
        .data
        .as_mut()
        .and_then(|data| data.remove(key))
        .ok_or_else(|| format!("it has no `{key}`"))?;
    String::from_utf8(bytes.0).map_err(|_| format!("its `{key}` is no text"))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::environment::{Secrets, targets};
    use crate::profile::Selection;

    fn environment(platform: Platform) -> Environment {
        let root = crate::repository();
        let selection = Selection {
            profile: "clickhouse-production".into(),
            set: Vec::new(),
        };
        let loaded = crate::components::load(root, &selection).expect("a profile");
        Environment::new(root, loaded, platform, Secrets::Existing).expect("an environment")
    }

    #[test]
    fn a_forward_is_trusted_by_the_service_s_name() {
        let env = environment(Platform::Kubernetes);
        env.set_kafka_ca("PEM".into());
        env.set_kafka_login(|login| login.password = Some(Secret::new("geheim")));
        let config = env.kafka_config(Duration::from_secs(1));
        assert!(!format!("{config:?}").contains("geheim"));
        let (tls, sasl) = (config.tls.expect("TLS"), config.sasl.expect("a login"));
        assert_eq!(tls.ca, b"PEM");
        assert_eq!(
            tls.server_name.as_deref(),
            Some("my-cluster-kafka-bootstrap.kafka.svc")
        );
        assert_eq!(
            (sasl.user.as_str(), sasl.password.expose()),
            (USER, "geheim")
        );
        env.forget_kafka_login();
        assert_eq!(env.kafka_ca(), None);
    }

    #[test]
    fn a_broker_on_this_machine_asks_nobody() {
        let config = environment(Platform::Host).kafka_config(Duration::from_secs(1));
        assert!(config.tls.is_none() && config.sasl.is_none());
    }

    #[test]
    fn kafka_is_ready_when_its_users_are() {
        let env = environment(Platform::Kubernetes);
        let names: Vec<String> = targets(&env.profile, "kafka")
            .into_iter()
            .map(|target| format!("{} {}", target.resource.kind, target.name))
            .collect();
        assert_eq!(
            names,
            [
                "Kafka my-cluster",
                "KafkaUser cdc-xtask",
                "KafkaUser connect",
                "KafkaUser clickhouse"
            ]
        );
        assert_eq!(targets(&env.profile, "clickhouse").len(), 2);
    }
}

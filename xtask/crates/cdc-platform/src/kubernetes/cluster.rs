//! The connection to one cluster: always a context that was named, never the current one.
//!
//! The client is put together here because kube's own leaves Nagle's algorithm on, which costs 40
//! ms for the first request of each connection.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ipnet::IpNet;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use super::resources::Resources;
use super::retry::{self, Answer, Refusal};
use crate::error::{Code, Error, Result, nearest};

/// How long a server may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster whose API server answered.
#[derive(Clone)]
pub struct Cluster {
    /// Talks to it. Its own retries are off: see `retry`.
    pub client: Client,
    /// The context's name.
    pub context: String,
    /// The API server's address.
    pub server: String,
    pub(super) resources: Arc<Resources>,
}

impl Cluster {
    /// The names of the contexts of `KUBECONFIG`, or of `~/.kube/config`.
    ///
    /// # Errors
    /// There is no such file, or it is none.
    pub fn contexts() -> Result<Vec<String>> {
        let mut names: Vec<String> = kubeconfig()?.contexts.into_iter().map(|c| c.name).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Connects to the cluster of a context, and waits for its API server's first answer.
    ///
    /// # Errors
    /// There is no such context, or its server gives no answer.
    pub async fn connect(context: &str) -> Result<Self> {
        Self::of(kubeconfig()?, context).await
    }

    /// As [`Cluster::connect`], with a configuration that was read already.
    ///
    /// # Errors
    /// There is no such context, or its server gives no answer.
    pub async fn of(kubeconfig: Kubeconfig, context: &str) -> Result<Self> {
        let known: Vec<&str> = kubeconfig
            .contexts
            .iter()
            .map(|context| context.name.as_str())
            .collect();
        if !known.contains(&context) {
            return Err(unknown_context(context, &known));
        }
        let own_proxy = names_proxy(&kubeconfig, context);
        let options = KubeConfigOptions {
            context: Some(context.to_owned()),
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| unreadable(&error).detail(format!("context {context}")))?;
        if !own_proxy && direct(&config.cluster_url, &no_proxy()) {
            config.proxy_url = None;
        }
        Self::with(config, context).await
    }

    async fn with(mut config: Config, context: &str) -> Result<Self> {
        crate::tls::install();
        config.connect_timeout = Some(PATIENCE);
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let client = client(config).map_err(|error| {
            let what = format!("context {context} cannot be used: {error}");
            Error::new(Code::Platform, what)
        })?;
        let cluster = Cluster {
            client,
            context: context.to_owned(),
            server,
            resources: Arc::default(),
        };
        cluster.version().await?;
        Ok(cluster)
    }

    /// The server's version.
    ///
    /// # Errors
    /// It gives no answer, or refuses the context's credentials.
    pub async fn version(&self) -> Result<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let version = self.ask_once("/version").await?.read::<Version>();
        let version = version.map_err(|refusal| self.silent(&refusal.to_string()))?;
        Ok(version.git_version)
    }

    /// Whether the server says that it is ready. One that has just started answers before it has read
    /// who may do what.
    pub async fn is_ready(&self) -> bool {
        self.ask_once("/readyz").await.is_ok()
    }

    /// What the server says of itself. Not sent again: one that isn't there shall be named at once.
    async fn ask_once(&self, path: &str) -> Result<Answer> {
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(|error| self.silent(&error.to_string()))?;
        let asked = tokio::time::timeout(PATIENCE, retry::once(&self.client, &request));
        match asked.await {
            Err(_) => Err(self.silent(&format!("no answer within {PATIENCE:.0?}"))),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err((refusal, _))) => Err(self.refused("version", &refusal)),
        }
    }

    fn silent(&self, why: &str) -> Error {
        let message = format!("no API server answers at {}: {why}", self.server);
        Error::new(Code::Platform, message).hint(format!(
            "is the cluster of context {} running, and reachable from here?",
            self.context
        ))
    }

    /// A refusal as the user reads it. `what` was asked for.
    pub fn refused(&self, what: &str, refusal: &Refusal) -> Error {
        match refusal {
            Refusal::NoAnswer(why) => self.silent(why),
            Refusal::Status(status) if status.code == 401 => Error::new(
                Code::Platform,
                format!(
                    "{} refuses the credentials of context {}",
                    self.server, self.context
                ),
            )
            .hint("log in to the cluster again"),
            Refusal::Status(status) if status.code == 403 => {
                Error::new(Code::Platform, format!("{what}: not permitted"))
                    .detail(refusal.to_string())
            }
            refusal => Error::new(Code::Service, format!("{what}: {refusal}")),
        }
    }
}

/// kube's own client leaves Nagle's algorithm on: the first request of each connection, which follows
/// the TLS handshake's last words, then waits 40 ms for the server's acknowledgement. Through a proxy
/// it is kube's own.
fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
    connector.set_connect_timeout(config.connect_timeout);
    let sender = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(sender);
    Ok(Client::new(service, config.default_namespace))
}

fn kubeconfig() -> Result<Kubeconfig> {
    Kubeconfig::read().map_err(|error| unreadable(&error))
}

fn unreadable(error: &KubeconfigError) -> Error {
    Error::new(
        Code::Platform,
        format!("the cluster's configuration: {error}"),
    )
    .hint("KUBECONFIG names the file; without it, it is ~/.kube/config")
}

fn unknown_context(context: &str, known: &[&str]) -> Error {
    let error = Error::new(Code::Platform, format!("there is no context `{context}`"));
    match (nearest(context, known.iter().copied()), known) {
        (_, []) => error.hint("the configuration holds no context at all; KUBECONFIG names it"),
        (Some(near), _) => error
            .detail(format!("there are: {}", known.join(", ")))
            .hint(format!("did you mean `--context {near}`?")),
        (None, _) => error
            .detail(format!("there are: {}", known.join(", ")))
            .hint("name one of them with `--context`"),
    }
}

/// Whether the configuration itself says through which proxy the cluster is reached.
fn names_proxy(kubeconfig: &Kubeconfig, context: &str) -> bool {
    let named = |name: &str| {
        let contexts = &mut kubeconfig.contexts.iter();
        let found = contexts
            .find(|known| known.name == name)?
            .context
            .as_ref()?;
        let clusters = &mut kubeconfig.clusters.iter();
        let cluster = clusters.find(|known| known.name == found.cluster)?;
        cluster.cluster.as_ref()?.proxy_url.clone()
    };
    named(context).is_some_and(|proxy| !proxy.is_empty())
}

fn no_proxy() -> String {
    ["NO_PROXY", "no_proxy"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_default()
}

/// Whether the environment's proxy is not for this server, as kubectl has it: never for this machine
/// itself, nor for what `NO_PROXY` names. kube 5 compares `NO_PROXY` with the proxy instead of the
/// server, so that with `HTTPS_PROXY` set no Kind cluster could be reached.
fn direct(server: &Uri, no_proxy: &str) -> bool {
    let Some(host) = server.host() else {
        return false;
    };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<std::net::IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .any(|entry| {
            let domain = entry.trim_start_matches("*.").trim_start_matches('.');
            let below = |domain: &str| {
                host.strip_suffix(domain)
                    .is_some_and(|rest| rest.ends_with('.'))
            };
            entry == "*"
                || entry == host
                || (!domain.is_empty() && (host == domain || below(domain)))
                || address.is_some_and(|address| {
                    let network = entry.parse::<IpNet>();
                    network.is_ok_and(|network| network.contains(&address))
                })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_context_names_the_nearest_and_all() {
        let error = unknown_context("kind-cdx", &["prod", "kind-cdc"]);
        assert_eq!((error.code, error.code.exit() as u8), (Code::Platform, 4));
        let text = error.to_string();
        assert!(text.contains("no context `kind-cdx`"), "{text}");
        assert!(text.contains("there are: prod, kind-cdc"), "{text}");
        assert!(text.contains("`--context kind-cdc`"), "{text}");
    }

    #[test]
    fn the_proxy_is_not_for_this_machine_nor_for_what_is_excepted() {
        let direct =
            |server: &str, no_proxy| super::direct(&server.parse().expect("a URI"), no_proxy);
        assert!(direct("https://127.0.0.1:6443", ""));
        assert!(direct("https://[::1]:6443", ""));
        assert!(direct("https://localhost:6443", ""));
        assert!(!direct("https://k8s.example.com", ""));
        assert!(direct("https://k8s.example.com", "a.b, .example.com"));
        assert!(direct("https://k8s.example.com", "example.com"));
        assert!(direct("https://k8s.example.com", "*"));
        assert!(!direct("https://k8s.badexample.com", "example.com"));
        assert!(direct("https://10.1.2.3:6443", "10.0.0.0/8"));
        assert!(direct("https://10.1.2.3:6443", "0.0.0.0/0"));
        assert!(!direct("https://11.1.2.3:6443", "10.0.0.0/8"));
        assert!(!direct("https://10.1.2.3:6443", "10.0.0.0/99"));
    }
}

//! A loopback port that leads to a pod through the API server, for every protocol there is.
//!
//! Each connection is carried by a stream of its own, so none can hold up another. Which pod it
//! goes to is found out when it arrives and kept for the next ones until one fails: a pod that was
//! replaced is found again. The API server's own network policies apply, those between pods do not.
//!
//! Kind clusters are reached this way too, not through their host ports: one way for all clusters.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// How long the pod may go on talking when the client has ended its half. Streams through the API
/// server have no halves: closing ours ends the pod's too.
const LINGER: Duration = Duration::from_secs(1);
/// For the API server to answer before a connection is given up.
const OPENS_WITHIN: Duration = Duration::from_secs(10);

/// What a forward leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A ready pod behind a service; the port is the service's.
    Service(String),
    /// A ready pod that a label selector finds; the port is the pod's.
    Pods(String),
    /// One pod, such as a broker; the port is the pod's.
    Pod(String),
}

/// A port by its number or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// Its number.
    Number(u16),
    /// Its name.
    Name(String),
}

impl From<u16> for Port {
    fn from(number: u16) -> Self {
        Port::Number(number)
    }
}

impl From<&str> for Port {
    fn from(name: &str) -> Self {
        Port::Name(name.to_owned())
    }
}

/// Why a connection could not be forwarded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// No loopback port could be had.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(String),
    /// The API server refused or did not answer.
    #[error("{0}")]
    Api(String),
    /// The service has no such port.
    #[error("service {service} has no port {port}")]
    NoServicePort {
        /// The service.
        service: String,
        /// The port that was asked for.
        port: String,
    },
    /// The pod names no such port.
    #[error("no container of pod {pod} has a port named {port}")]
    NoPodPort {
        /// The pod.
        pod: String,
        /// The port's name.
        port: String,
    },
    /// The service selects no pods by itself.
    #[error("service {0} has no selector")]
    NoSelector(String),
    /// There is no pod, or none that is ready.
    #[error("no pod is ready behind {0}")]
    NoPod(String),
    /// The pod was reached and did not take the connection.
    #[error("pod {pod}: {reason}")]
    Pod {
        /// The pod.
        pod: String,
        /// What the kubelet says.
        reason: String,
    },
}

impl From<kube::Error> for ForwardError {
    fn from(error: kube::Error) -> Self {
        ForwardError::Api(match &error {
            kube::Error::Api(status) => status.message.clone(),
            _ => format!("{error}: {}", crate::error::reason(&error)),
        })
    }
}

/// A loopback port that leads into the cluster, until it is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    last_error: Arc<Mutex<Option<ForwardError>>>,
    accepts: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Its connections are in a set that the task owns, and end with it.
        self.accepts.abort();
    }
}

impl Forward {
    /// Listens on a free loopback port. Whether anything is behind it is seen with the first
    /// connection.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn open(
        client: Client,
        namespace: &str,
        to: To,
        port: impl Into<Port>,
    ) -> Result<Forward, ForwardError> {
        let listen = |error: std::io::Error| ForwardError::Listen(error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let last_error = Arc::default();
        let way = Arc::new(Way {
            client,
            namespace: namespace.to_owned(),
            to,
            port: port.into(),
            known: Mutex::default(),
            last_error: Arc::clone(&last_error),
        });
        let accepts = tokio::spawn(accept(listener, way));
        Ok(Forward {
            address,
            last_error,
            accepts,
        })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Why the latest connection that failed did.
    pub fn last_error(&self) -> Option<ForwardError> {
        lock(&self.last_error).clone()
    }
}

/// Never held across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((mut local, _)) => {
                    let way = Arc::clone(&way);
                    connections.spawn(async move {
                        // The reason is known before the client sees its connection end.
                        if let Err(error) = way.carry(&mut local).await {
                            *lock(&way.known) = None;
                            *lock(&way.last_error) = Some(error);
                        }
                    });
                }
                // The client gave up before it was accepted, or file descriptors ran out; in both
                // cases the next one may do. Ended connections give theirs back meanwhile.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// How connections get to a pod.
struct Way {
    client: Client,
    namespace: String,
    to: To,
    port: Port,
    /// The pod and port that the last connection was carried to.
    known: Mutex<Option<(String, u16)>>,
    last_error: Arc<Mutex<Option<ForwardError>>>,
}

impl Way {
    async fn carry(&self, local: &mut TcpStream) -> Result<(), ForwardError> {
        // Small requests and answers: nothing is gained by waiting for more of them.
        let _ = local.set_nodelay(true);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let late = |_| ForwardError::Api("the API server does not answer".into());
        let known = lock(&self.known).clone();
        let known = match known {
            Some((pod, port)) => {
                let opened = timeout(OPENS_WITHIN, pods.portforward(&pod, &[port])).await;
                opened.map_err(late)?.ok().map(|opened| (opened, pod, port))
            }
            None => None,
        };
        let (mut opened, pod, port) = match known {
            Some(known) => known,
            None => {
                let (pod, port) = timeout(OPENS_WITHIN, self.resolve())
                    .await
                    .map_err(late)??;
                let opened = timeout(OPENS_WITHIN, pods.portforward(&pod, &[port]))
                    .await
                    .map_err(late)??;
                (opened, pod, port)
            }
        };
        *lock(&self.known) = Some((pod.clone(), port));
        let failed = opened.take_error(port);
        let Some(remote) = opened.take_stream(port) else {
            return Err(ForwardError::Pod {
                pod,
                reason: "no stream was opened".into(),
            });
        };
        // An error is one of the ends that is gone, which is how connections end too.
        if both_ways(local, remote).await.unwrap_or(true) {
            return Ok(());
        }
        // The pod ended it without a word. The kubelet's reason comes on a channel of its own.
        let said = match failed {
            Some(failed) => timeout(LINGER, failed).await.ok().flatten(),
            None => None,
        };
        said.map_or(Ok(()), |reason| Err(ForwardError::Pod { pod, reason }))
    }

    /// The pod to use, and its port.
    async fn resolve(&self) -> Result<(String, u16), ForwardError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let (selector, port) = match &self.to {
            To::Pod(name) => {
                let pod = pods.get(name).await?;
                return Ok((name.clone(), pod_port(&pod, &self.port)?));
            }
            To::Pods(selector) => (selector.clone(), self.port.clone()),
            To::Service(name) => {
                let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
                behind(&services.get(name).await?, name, &self.port)?
            }
        };
        let found = pods.list(&ListParams::default().labels(&selector)).await?;
        let pod = choose(&found.items).ok_or_else(|| ForwardError::NoPod(self.what()))?;
        let name = pod.metadata.name.clone().unwrap_or_default();
        Ok((name, pod_port(pod, &port)?))
    }

    fn what(&self) -> String {
        match &self.to {
            To::Service(name) => format!("service {}/{name}", self.namespace),
            To::Pods(selector) => format!("{selector} in {}", self.namespace),
            To::Pod(name) => format!("pod {}/{name}", self.namespace),
        }
    }
}

/// The selector of a service's pods, and the port of theirs that its port leads to.
fn behind(service: &Service, name: &str, port: &Port) -> Result<(String, Port), ForwardError> {
    let spec = service.spec.clone().unwrap_or_default();
    let selector = spec.selector.filter(|selector| !selector.is_empty());
    let selector = selector.ok_or_else(|| ForwardError::NoSelector(name.to_owned()))?;
    let selector: Vec<String> = selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let found = spec.ports.iter().flatten().find(|it| match port {
        Port::Number(number) => it.port == i32::from(*number),
        Port::Name(name) => it.name.as_ref() == Some(name),
    });
    let no_port = || ForwardError::NoServicePort {
        service: name.to_owned(),
        port: match port {
            Port::Number(number) => number.to_string(),
            Port::Name(name) => name.clone(),
        },
    };
    let found = found.ok_or_else(no_port)?;
    let number = |port: i32| u16::try_from(port).map(Port::Number);
    let target = match &found.target_port {
        None | Some(IntOrString::Int(0)) => number(found.port),
        Some(IntOrString::Int(port)) => number(*port),
        Some(IntOrString::String(name)) => Ok(Port::Name(name.clone())),
    };
    Ok((selector.join(","), target.map_err(|_| no_port())?))
}

/// A pod that is ready and stays: the oldest, so that every connection goes to the same one.
fn choose(pods: &[Pod]) -> Option<&Pod> {
    pods.iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod))
        .min_by_key(|pod| {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, pod.metadata.name.clone())
        })
}

/// Whether a pod says that it is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn pod_port(pod: &Pod, port: &Port) -> Result<u16, ForwardError> {
    let name = match port {
        Port::Number(number) => return Ok(*number),
        Port::Name(name) => name,
    };
    pod.spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_ref() == Some(name))
        .and_then(|port| u16::try_from(port.container_port).ok())
        .ok_or_else(|| ForwardError::NoPodPort {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            port: name.clone(),
        })
}

/// Carries both directions until the pod's ends; the client's end gives the pod a moment to finish.
/// Returns whether the pod sent anything.
async fn both_ways(
    local: &mut TcpStream,
    remote: impl AsyncRead + AsyncWrite + Unpin,
) -> std::io::Result<bool> {
    let (mut from_local, mut to_local) = local.split();
    let (mut from_pod, mut to_pod) = tokio::io::split(remote);
    let up = tokio::io::copy(&mut from_local, &mut to_pod);
    let mut up = std::pin::pin!(up);
    let (mut ended, mut answered) = (false, false);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let patience = if ended { LINGER } else { Duration::MAX };
        let read = tokio::select! {
            sent = &mut up, if !ended => {
                sent?;
                ended = true;
                continue;
            }
            read = timeout(patience, from_pod.read(&mut buffer)) => read.unwrap_or(Ok(0))?,
        };
        if read == 0 {
            // A client that has ended its half is not told anything by it.
            return Ok(answered || ended);
        }
        answered = true;
        to_local.write_all(&buffer[..read]).await?;
    }
}

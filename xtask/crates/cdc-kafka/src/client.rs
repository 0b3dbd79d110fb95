//! The client: configuration, the pool of connections and the routing of requests.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::{
    messages::{
        FindCoordinatorRequest, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};

use super::{
    connection::{Connection, Deadline, FRAME_LIMIT, Security},
    error::{ErrorCode, KafkaError},
    routing::{Broker, Destination, RoutingTable},
    sasl::Sasl,
    tls::{Connector, Tls},
    wire::Api,
};

/// Connections that were idle for longer are not used again: brokers close them after
/// `connections.max.idle.ms` (10 minutes by default), tunnels earlier.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Says where to dial for a broker; `None` means where it would be dialled without this function.
pub type Route = Arc<dyn Fn(&Broker) -> Option<String> + Send + Sync>;

/// How to reach a cluster.
#[derive(Clone)]
pub struct Config {
    /// Bootstrap addresses, `host:port`, tried in this order.
    pub addresses: Vec<String>,
    /// The time that one call of a client method may take, fetches excepted: they may take their
    /// `max_wait` on top.
    pub timeout: Duration,
    /// The addresses of brokers that cannot be reached where they advertise themselves.
    pub route: Option<Route>,
    /// How to recognise the brokers; without, TLS is not spoken.
    pub tls: Option<Tls>,
    /// As whom to log in, if the listener wants that.
    pub sasl: Option<Sasl>,
}

impl Config {
    /// A configuration without a route, TLS and a login.
    pub fn new(addresses: &[impl AsRef<str>], timeout: Duration) -> Self {
        Self {
            addresses: addresses.iter().map(|a| a.as_ref().to_owned()).collect(),
            timeout,
            route: None,
            tls: None,
            sasl: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("addresses", &self.addresses)
            .field("timeout", &self.timeout)
            .field("route", &self.route.as_ref().map(|_| "Fn"))
            .field("tls", &self.tls)
            .field("sasl", &self.sasl)
            .finish()
    }
}

/// A client of one Kafka cluster. Clones share connections.
///
/// Calls may run at the same time; each uses a connection of its own. Dropping a call's future
/// cancels it cleanly.
#[derive(Clone)]
pub struct KafkaClient {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    security: Security,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: HashMap<Destination, Vec<Connection>>,
    routes: RoutingTable,
    /// Index of the bootstrap address that answered last.
    preferred: usize,
}

/// Who shall answer a request.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Whichever broker answers at a bootstrap address.
    Any,
    /// The broker with this id.
    Broker(i32),
}

impl KafkaClient {
    /// Connects to the first of `addresses` that answers, and learns the cluster's brokers.
    ///
    /// `timeout` is [`Config::timeout`]. Success proves that a broker speaks Kafka there.
    pub async fn connect(
        addresses: &[impl AsRef<str>],
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        Self::with_config(Config::new(addresses, timeout)).await
    }

    /// Like [`KafkaClient::connect`] with all choices.
    pub async fn with_config(config: Config) -> Result<Self, KafkaError> {
        if config.addresses.is_empty() {
            let text = "no Kafka bootstrap address was given";
            return Err(KafkaError::Unsupported(text.to_owned()));
        }
        let security = Security {
            tls: config.tls.as_ref().map(Connector::new).transpose()?,
            sasl: config.sasl.clone(),
        };
        let client = Self {
            shared: Arc::new(Shared {
                config,
                security,
                state: Mutex::default(),
            }),
        };
        client.metadata(Some(&[]), client.deadline()).await?;
        Ok(client)
    }

    /// The deadline of a call that starts now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.shared.config.timeout)
    }

    /// The deadline of a call that starts now and may wait for `extra` at the broker.
    pub(super) fn deadline_with(&self, extra: Duration) -> Deadline {
        Deadline::after(self.shared.config.timeout.saturating_add(extra))
    }

    /// The brokers as last seen.
    pub(super) fn brokers(&self) -> Vec<Broker> {
        self.state().routes.brokers().cloned().collect()
    }

    /// Asks for metadata of `topics` (all if `None`) and remembers what it says about routes.
    pub(super) async fn metadata(
        &self,
        topics: Option<&[&str]>,
        deadline: Deadline,
    ) -> Result<MetadataResponse, KafkaError> {
        let topics = topics.map(|names| {
            let topic =
                |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            names.iter().map(topic).collect()
        });
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false);
        let response = self.call(Target::Any, &request, deadline).await?;
        self.state().routes.absorb(&response);
        Ok(response)
    }

    /// Sends a change of topics or configs to the controller.
    ///
    /// Asked for again each time: such changes are rare and a moved controller would refuse them.
    /// (A KRaft broker names any broker, itself included, and forwards to the controller.)
    pub(super) async fn call_controller<A: Api>(
        &self,
        request: &A,
        deadline: Deadline,
    ) -> Result<A::Response, KafkaError> {
        let metadata = self.metadata(Some(&[]), deadline).await?;
        let target = match metadata.controller_id.0 {
            id if id >= 0 => Target::Broker(id),
            _ => Target::Any,
        };
        self.call(target, request, deadline).await
    }

    /// The leader of a partition, from memory or from the cluster.
    pub(super) async fn leader(
        &self,
        topic: &str,
        partition: i32,
        deadline: Deadline,
    ) -> Result<i32, KafkaError> {
        if let Some(leader) = self.state().routes.leader(topic, partition) {
            return Ok(leader);
        }
        let metadata = self.metadata(Some(&[topic]), deadline).await?;
        let subject = || partition_subject(topic, partition);
        for found in &metadata.topics {
            MetadataRequest::check(found.error_code, subject, None)?;
        }
        let found = metadata
            .topics
            .iter()
            .flat_map(|found| &found.partitions)
            .find(|found| found.partition_index == partition);
        let code = match found.map(|found| found.leader_id.0) {
            Some(leader) if leader >= 0 => return Ok(leader),
            Some(_) => ErrorCode::LeaderNotAvailable,
            None => ErrorCode::UnknownTopicOrPartition,
        };
        Err(KafkaError::Broker {
            api: MetadataRequest::NAME,
            code,
            subject: subject(),
            message: None,
        })
    }

    /// What the leader of a partition answers; once more where another one leads it by now.
    pub(super) async fn at_leader<T, F>(
        &self,
        topic: &str,
        partition: i32,
        deadline: Deadline,
        ask: impl Fn(Target) -> F,
    ) -> Result<T, KafkaError>
    where
        F: Future<Output = Result<T, KafkaError>>,
    {
        let mut rerouted = false;
        loop {
            let leader = self.leader(topic, partition, deadline).await?;
            match ask(Target::Broker(leader)).await {
                Err(error) if self.reroute(topic, &error) && !rerouted => rerouted = true,
                other => return other,
            }
        }
    }

    /// What the coordinator of a consumer group answers; once more where the group has moved.
    pub(super) async fn at_coordinator<T, F>(
        &self,
        group: &str,
        deadline: Deadline,
        ask: impl Fn(Target) -> F,
    ) -> Result<T, KafkaError>
    where
        F: Future<Output = Result<T, KafkaError>>,
    {
        match ask(self.coordinator(group, deadline).await?).await {
            Err(error) if error.is_misrouted() => {
                ask(self.coordinator(group, deadline).await?).await
            }
            other => other,
        }
    }

    /// Whether to look for the leader of `topic` again and to repeat what failed with `error`.
    pub(super) fn reroute(&self, topic: &str, error: &KafkaError) -> bool {
        if error.is_retriable() {
            self.state().routes.forget(topic);
        }
        error.is_misrouted()
    }

    /// The coordinator of a consumer group. Not remembered: groups are asked about rarely.
    async fn coordinator(&self, group: &str, deadline: Deadline) -> Result<Target, KafkaError> {
        let request = FindCoordinatorRequest::default()
            .with_key_type(0) // 0: group, 1: transaction.
            .with_coordinator_keys(vec![text(group)]);
        let response = self.call(Target::Any, &request, deadline).await?;
        let subject = || group_subject(group);
        let Some(found) = response.coordinators.first() else {
            return Err(self.incomplete(FindCoordinatorRequest::NAME, &subject()));
        };
        let message = found.error_message.as_deref();
        FindCoordinatorRequest::check(found.error_code, subject, message)?;
        let id = found.node_id.0;
        self.state().routes.add_broker(id, &found.host, found.port);
        Ok(Target::Broker(id))
    }

    /// Sends a request to `target`.
    pub(super) async fn call<A: Api>(
        &self,
        target: Target,
        request: &A,
        deadline: Deadline,
    ) -> Result<A::Response, KafkaError> {
        self.call_limited(target, request, FRAME_LIMIT, deadline)
            .await
    }

    /// Sends a request whose answer may be `limit` bytes long.
    pub(super) async fn call_limited<A: Api>(
        &self,
        target: Target,
        request: &A,
        limit: usize,
        deadline: Deadline,
    ) -> Result<A::Response, KafkaError> {
        let Target::Broker(id) = target else {
            return self.call_any(request, limit, deadline).await;
        };
        match self.destination(id) {
            Some(destination) => {
                let outcome = self.call_at(&destination, request, limit, deadline).await;
                outcome.map_err(|error| self.explain(error, id))
            }
            // A leader can be named before the broker list has it: it is starting or gone.
            None => Err(KafkaError::Broker {
                api: A::NAME,
                code: ErrorCode::LeaderNotAvailable,
                subject: format!("broker {id}"),
                message: Some("the cluster does not list this broker".to_owned()),
            }),
        }
    }

    /// Where broker `id` is dialled, if the cluster has it.
    fn destination(&self, id: i32) -> Option<Destination> {
        let config = &self.shared.config;
        let route = |broker: &Broker| config.route.as_ref().and_then(|route| route(broker));
        let state = self.state();
        let mut found = state.routes.destination(id, &config.addresses, route)?;
        if self.shared.security.tls.is_none() {
            // Nobody proves to be anybody: all connections to an address are alike.
            found.advertised_host = None;
        }
        Some(found)
    }

    /// Adds to a failed connection to broker `id` that the address was the broker's idea.
    fn explain(&self, mut error: KafkaError, id: i32) -> KafkaError {
        if let KafkaError::Connect {
            address,
            advertised_by,
            ..
        } = &mut error
            && self.state().routes.advertised(id).as_deref() == Some(address)
            && !self.shared.config.addresses.contains(address)
        {
            *advertised_by = Some(id);
        }
        error
    }

    /// Tries the bootstrap addresses in turn, beginning with the one that worked last.
    async fn call_any<A: Api>(
        &self,
        request: &A,
        limit: usize,
        deadline: Deadline,
    ) -> Result<A::Response, KafkaError> {
        let addresses = &self.shared.config.addresses;
        let first = self.state().preferred;
        let mut errors = Vec::new();
        for tried in 0..addresses.len() {
            let index = (first + tried) % addresses.len();
            let share = deadline.part(addresses.len() - tried);
            let destination = Destination::any(&addresses[index]);
            match self.call_at(&destination, request, limit, share).await {
                Ok(response) => {
                    self.state().preferred = index;
                    return Ok(response);
                }
                Err(error) => errors.push(error),
            }
        }
        match errors.pop() {
            Some(only) if errors.is_empty() => Err(only),
            last => Err(KafkaError::NoBroker(
                errors.into_iter().chain(last).collect(),
            )),
        }
    }

    /// Sends a request over an idle connection, or a new one if there is none or it had broken.
    async fn call_at<A: Api>(
        &self,
        destination: &Destination,
        request: &A,
        limit: usize,
        deadline: Deadline,
    ) -> Result<A::Response, KafkaError> {
        if let Some(connection) = self.take_idle(destination) {
            match self.call_over(connection, request, limit, deadline).await {
                Err(KafkaError::Disconnected { .. }) if A::REPEATABLE => {
                    // The broker restarted or had enough of us; its other connections are as dead.
                    self.state().idle.remove(destination);
                }
                outcome => return outcome,
            }
        }
        let security = &self.shared.security;
        let connection = Connection::open(destination, security, deadline).await?;
        match self.call_over(connection, request, limit, deadline).await {
            Err(error @ KafkaError::Disconnected { .. }) if security.sasl.is_none() => {
                // A listener that wants a login hangs up without a word. It says so when asked.
                let wanted = Connection::login_wanted(destination, security, deadline).await;
                Err(wanted.unwrap_or(error))
            }
            outcome => outcome,
        }
    }

    /// Sends a request over a connection, and keeps the connection where it was answered.
    async fn call_over<A: Api>(
        &self,
        mut connection: Connection,
        request: &A,
        limit: usize,
        deadline: Deadline,
    ) -> Result<A::Response, KafkaError> {
        let response = connection.call(request, limit, deadline).await?;
        let destination = connection.destination().clone();
        let mut state = self.state();
        state.idle.entry(destination).or_default().push(connection);
        Ok(response)
    }

    fn take_idle(&self, destination: &Destination) -> Option<Connection> {
        let mut state = self.state();
        let idle = state.idle.get_mut(destination)?;
        idle.retain(|connection| connection.idle() < MAX_IDLE);
        idle.pop()
    }

    /// An error for an answer that lacks what was asked for.
    pub(super) fn incomplete(&self, api: &'static str, subject: &str) -> KafkaError {
        self.damaged(api, format!("it says nothing about {subject}"))
    }

    /// An error for an answer whose content is damaged.
    pub(super) fn damaged(&self, api: &'static str, detail: String) -> KafkaError {
        KafkaError::Protocol {
            address: self.shared.config.addresses.join(","),
            api,
            detail,
        }
    }

    /// The shared state, never held across an await. Should a holder panic, what is left of it is
    /// still usable: routes that are missing are asked for.
    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KafkaClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KafkaClient")
            .field(&self.shared.config)
            .finish()
    }
}

/// A protocol string.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A protocol topic name.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// How errors name a topic.
pub(super) fn topic_subject(topic: &str) -> String {
    format!("topic {topic}")
}

/// How errors name a partition.
pub(super) fn partition_subject(topic: &str, partition: i32) -> String {
    format!("topic {topic}, partition {partition}")
}

/// How errors name a consumer group.
pub(super) fn group_subject(group: &str) -> String {
    format!("group {group}")
}

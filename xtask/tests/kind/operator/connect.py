"""KafkaConnect: workers out of pods, then the connectors that name the cluster."""

import json
import time
from typing import Any, Dict, List

import connector
import podset
from connect_rest import Connect, Rest, Unreachable
from kafka import Refused, digest, heap, images, labels, pod, probe
from kube import STRIMZI, Object, condition, log, owner

USES_RESOURCES = "strimzi.io/use-connector-resources"
_CERTIFICATES, _PASSWORDS = "/opt/kafka/connect-certs", "/opt/kafka/connect-password"
DEFAULTS = {
    "key.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "config.providers": "strimzienv,strimzifile,strimzidir",
    "config.providers.strimzienv.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
    "config.providers.strimzifile.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
    "config.providers.strimzifile.param.allowed.paths": "/opt/kafka",
    "config.providers.strimzidir.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
    "config.providers.strimzidir.param.allowed.paths": "/opt/kafka",
}


def reconcile(operator: Any, name: str) -> None:
    """Under the cluster's lock, as everything here."""
    cluster = operator.kube.get(STRIMZI, "KafkaConnect", operator.namespace, name)
    if cluster is None or cluster["metadata"].get("deletionTimestamp"):
        _gone(operator, name)
        return
    generation = cluster["metadata"]["generation"]
    status: Object = {
        "labelSelector": f"strimzi.io/cluster={name},strimzi.io/name={name}-connect,strimzi.io/kind=KafkaConnect",
        "observedGeneration": generation,
        "replicas": cluster["spec"].get("replicas", 3),
    }
    if status["replicas"]:
        status["url"] = f"http://{name}-connect-api.{operator.namespace}.svc:8083"
    try:
        plugins = _Cluster(operator, cluster).reconcile()
        if plugins is not None:
            status["connectorPlugins"] = plugins
        status["conditions"] = [condition("Ready")]
        log(f"KafkaConnect {name} is ready")
    except podset.NotReadyInTime as error:
        # While it waited it saw nothing newer than this.
        status["conditions"] = [condition("NotReady", "TimeoutException", str(error))]
    except Refused as error:
        status["conditions"] = [condition("NotReady", error.reason, str(error))]
    except Unreachable:
        status["conditions"] = [condition("NotReady", "ConnectException")]
    except Rest as error:
        status["conditions"] = [condition("NotReady", "ConnectRestException", str(error))]
    for it in status["conditions"]:
        if it["type"] == "NotReady":
            log(f"KafkaConnect {name} is not ready: {it.get('reason')}: {it.get('message')}")
    operator.kube.set_status(STRIMZI, "KafkaConnect", operator.namespace, name, status)


def reconcile_one(operator: Any, name: str) -> None:
    resource = operator.kube.get(STRIMZI, "KafkaConnector", operator.namespace, name)
    if resource is None or resource["metadata"].get("deletionTimestamp"):
        return
    cluster_name = resource["metadata"]["labels"]["strimzi.io/cluster"]
    cluster = operator.kube.get(STRIMZI, "KafkaConnect", operator.namespace, cluster_name)
    if cluster is None:
        connector.refuse(operator, resource, "NoSuchResourceException", _missing(operator, cluster_name), 0)
        return
    _connector(operator, cluster, resource)


def forget(operator: Any, name: str, cluster_name: str) -> None:
    cluster = operator.kube.get(STRIMZI, "KafkaConnect", operator.namespace, cluster_name)
    again = operator.kube.get(STRIMZI, "KafkaConnector", operator.namespace, name)
    if cluster is not None and again is None and _uses_resources(cluster):
        try:
            _api(operator, cluster_name).ask("DELETE", f"/connectors/{name}")
        except (Rest, Unreachable) as error:
            log(f"deleting connector {name}: {error}")


def _gone(operator: Any, name: str) -> None:
    for resource in _connectors(operator, name):
        connector.refuse(operator, resource, "NoSuchResourceException", _missing(operator, name), 0)


def _missing(operator: Any, name: str) -> str:
    return (
        f"KafkaConnect resource '{name}' identified by label 'strimzi.io/cluster' does not exist "
        f"in namespace {operator.namespace}."
    )


def _connectors(operator: Any, cluster: str) -> List[Object]:
    return operator.kube.list(STRIMZI, "KafkaConnector", operator.namespace, **{"strimzi.io/cluster": cluster})


def _uses_resources(cluster: Object) -> bool:
    return (cluster["metadata"].get("annotations") or {}).get(USES_RESOURCES) == "true"


def _api(operator: Any, cluster: str) -> Connect:
    return Connect(f"{cluster}-connect-api.{operator.namespace}.svc")


def _connector(operator: Any, cluster: Object, resource: Object) -> None:
    name = cluster["metadata"]["name"]
    if not _uses_resources(cluster):
        message = f"KafkaConnect cluster '{name}' is not configured with annotation {USES_RESOURCES}"
        connector.refuse(operator, resource, "NoSuchResourceException", message)
    elif cluster["spec"].get("replicas", 3) == 0:
        message = f"Kafka Connect cluster '{name}' in namespace {operator.namespace} has 0 replicas."
        connector.refuse(operator, resource, "RuntimeException", message)
    else:
        connector.reconcile(operator, _api(operator, name), resource)


class _Cluster:
    def __init__(self, operator: Any, cluster: Object) -> None:
        self.operator, self.kube, self.cluster = operator, operator.kube, cluster
        self.name, self.namespace, self.spec = cluster["metadata"]["name"], operator.namespace, cluster["spec"]
        self.component = f"{self.name}-connect"
        self.labels = labels(self.name, "KafkaConnect", self.component, "kafka-connect")

    def reconcile(self) -> Any:
        supported = images("STRIMZI_KAFKA_CONNECT_IMAGES")
        version = self.spec.get("version", max(supported))
        if version not in supported:
            raise Refused(
                "UnsupportedKafkaVersionException",
                f"Unsupported KafkaConnect.spec.version: {version}. Supported versions are: [{', '.join(sorted(supported))}]",
            )
        self._metrics()
        config = self._config()
        self._shared(config)
        replicas = self.spec.get("replicas", 3)
        pods = [self._pod(number, config, self.spec.get("image") or supported[version]) for number in range(replicas)]
        podset.apply(self.kube, self.cluster, self.component, self.labels, pods)
        podset.roll(self.kube, pods, self.operator.timeout)
        if not replicas:
            self._each_connector()
            return None
        plugins = self._plugins()
        if _uses_resources(self.cluster):
            self._strangers()
        self._each_connector()
        return [plugin for plugin in plugins if plugin["type"] in ("source", "sink")]

    def _plugins(self) -> List[Object]:
        """The service leads to a pod a moment after it is ready."""
        api, deadline = _api(self.operator, self.name), time.monotonic() + 10
        while True:
            try:
                return api.ask("GET", "/connector-plugins")
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _each_connector(self) -> None:
        for resource in _connectors(self.operator, self.name):
            if not resource["metadata"].get("deletionTimestamp"):
                _connector(self.operator, self.cluster, resource)

    def _strangers(self) -> None:
        """Connectors whose resource is gone are deleted."""
        api = _api(self.operator, self.name)
        wanted = {resource["metadata"]["name"] for resource in _connectors(self.operator, self.name)}
        for name in api.ask("GET", "/connectors"):
            if name not in wanted:
                log(f"deleting connector {name}, which has no resource")
                api.ask("DELETE", f"/connectors/{name}")

    def _metrics(self) -> None:
        metrics = self.spec.get("metricsConfig")
        if metrics and metrics["type"] == "jmxPrometheusExporter":
            name = metrics["valueFrom"]["configMapKeyRef"]["name"]
            if self.kube.get("v1", "ConfigMap", self.namespace, name) is None:
                raise Refused("InvalidConfigurationException", f"ConfigMap {name} does not exist")

    def _config(self) -> str:
        host = f"@POD@.{self.component}.{self.namespace}.svc"
        settings: Dict[str, Any] = {
            **DEFAULTS,
            **(self.spec.get("config") or {}),
            "bootstrap.servers": self.spec["bootstrapServers"],
            "group.id": self.spec["groupId"],
            "config.storage.topic": self.spec["configStorageTopic"],
            "offset.storage.topic": self.spec["offsetStorageTopic"],
            "status.storage.topic": self.spec["statusStorageTopic"],
            "plugin.path": "/opt/kafka/plugins",
            "listeners": "http://0.0.0.0:8083",
            "rest.advertised.host.name": host,
            "rest.advertised.port": 8083,
        }
        for prefix in ("", "producer.", "consumer.", "admin."):
            settings.update({prefix + key: value for key, value in self._security().items()})
        return "".join(
            f"{key}={str(value).lower() if isinstance(value, bool) else value}\n" for key, value in settings.items()
        )

    def _security(self) -> Dict[str, str]:
        """How the worker logs in at Kafka: passwords by reference, as the real one's."""
        settings: Dict[str, str] = {}
        login = self.spec.get("authentication")
        trusted = (self.spec.get("tls") or {}).get("trustedCertificates")
        if trusted:
            settings["ssl.truststore.type"] = "PEM"
            settings["ssl.truststore.location"] = f"{_CERTIFICATES}/{trusted[0]['secretName']}/ca.crt"
        if login:
            if login["type"] != "scram-sha-512":
                raise Refused("InvalidResourceException", f"the stand-in does not know {login['type']}")
            secret = login["passwordSecret"]
            password = f"${{strimzidir:{_PASSWORDS}/{secret['secretName']}:{secret['password']}}}"
            settings["sasl.mechanism"] = "SCRAM-SHA-512"
            settings["sasl.jaas.config"] = (
                "org.apache.kafka.common.security.scram.ScramLoginModule required "
                f'username="{login["username"]}" password="{password}";'
            )
        if trusted or login:
            settings["security.protocol"] = ("SASL_" if login else "") + ("SSL" if trusted else "PLAINTEXT")
        return settings

    def _security_mounts(self) -> List[tuple]:
        names = [(_CERTIFICATES, trusted["secretName"]) for trusted in (self.spec.get("tls") or {}).get("trustedCertificates", [])]
        if self.spec.get("authentication"):
            names.append((_PASSWORDS, self.spec["authentication"]["passwordSecret"]["secretName"]))
        return names

    def _meta(self, name: str) -> Object:
        return {
            "namespace": self.namespace,
            "name": name,
            "labels": self.labels,
            "ownerReferences": owner(self.cluster),
        }

    def _shared(self, config: str) -> None:
        chosen = podset.selector(self.labels)
        port = {"name": "rest-api", "port": 8083, "targetPort": 8083, "protocol": "TCP"}
        for kind, extra in (
            (f"{self.name}-connect-api", {}),
            (self.component, {"clusterIP": "None", "publishNotReadyAddresses": True}),
        ):
            self.kube.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": self._meta(kind),
                    "spec": {"selector": chosen, "ports": [port], **extra},
                }
            )
        self.kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self._meta(self.component)})
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": self._meta(f"{self.component}-config"),
                "data": {"kafka-connect.properties": config},
            }
        )
        if _uses_resources(self.cluster):
            self._policy(chosen)

    def _policy(self, chosen: Dict[str, str]) -> None:
        """Port 8083 is for the workers and the operator only (where the network plug-in enforces policies)."""
        operator = {"podSelector": {"matchLabels": {"strimzi.io/kind": "cluster-operator"}}, "namespaceSelector": {}}
        self.kube.apply(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": self._meta(self.component),
                "spec": {
                    "podSelector": {"matchLabels": chosen},
                    "policyTypes": ["Ingress"],
                    "ingress": [
                        {
                            "from": [{"podSelector": {"matchLabels": chosen}}, operator],
                            "ports": [{"port": 8083, "protocol": "TCP"}],
                        }
                    ],
                },
            }
        )

    def _pod(self, number: int, config: str, image: str) -> Object:
        name = f"{self.component}-{number}"
        ask = {"httpGet": {"path": "/health", "port": "rest-api", "scheme": "HTTP"}}
        container = {
            "name": self.component,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["/opt/kafka/kafka_connect_run.sh"],
            "env": [{"name": "STRIMZI_DYNAMIC_HEAP_PERCENTAGE", "value": "75"}, *heap(self.spec.get("jvmOptions"))],
            "ports": [{"containerPort": 8083, "name": "rest-api", "protocol": "TCP"}],
            "livenessProbe": probe({"initialDelaySeconds": 60, **(self.spec.get("livenessProbe") or {})}, ask),
            "readinessProbe": probe({"initialDelaySeconds": 60, **(self.spec.get("readinessProbe") or {})}, ask),
            "resources": self.spec.get("resources") or {},
            "volumeMounts": [
                {"name": "strimzi-tmp", "mountPath": "/tmp"},
                {"name": "kafka-metrics-and-logging", "mountPath": "/opt/kafka/custom-config/"},
                *({"name": secret, "mountPath": f"{place}/{secret}"} for place, secret in self._security_mounts()),
            ],
        }
        own = {
            **self.labels,
            "strimzi.io/controller": "strimzipodset",
            "strimzi.io/controller-name": self.component,
            "strimzi.io/pod-name": name,
        }
        return podset.revised(
            pod(
                self.namespace,
                name,
                own,
                {"strimzi.io/logging-hash": "0", "strimzi.io/configuration-hash": digest(config)},
                json.loads(json.dumps(container)),
                self.spec.get("template") or {},
                "connectContainer",
                [
                    {"name": "strimzi-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "5Mi"}},
                    {"name": "kafka-metrics-and-logging", "configMap": {"name": f"{self.component}-config"}},
                    *({"name": secret, "secret": {"secretName": secret}} for _, secret in self._security_mounts()),
                ],
                {"hostname": name, "subdomain": self.component, "serviceAccountName": self.component},
            )
        )

"""Kafka and KafkaNodePool: one KRaft cluster out of pods, as Strimzi 1.2.0 reports it."""

import base64
import json
import os
import uuid
from typing import Any, Dict, List, Optional

import authority
import podset
from kube import STRIMZI, Object, condition, log, owner

# The release whose Deployment started this.
VERSION = os.environ.get("STRIMZI_DEFAULT_KAFKA_INIT_IMAGE", "quay.io/strimzi/operator:1.2.0").rsplit(":", 1)[1]


def reconcile(operator: Any, name: str) -> None:
    cluster = operator.kube.get(STRIMZI, "Kafka", operator.namespace, name)
    if cluster is None or cluster["metadata"].get("deletionTimestamp"):
        return  # what it owns goes with it
    if not cluster.get("status"):
        creating = condition("NotReady", "Creating", "Kafka cluster is being deployed")
        _status(operator, name, {"conditions": [creating], "observedGeneration": 0})
    generation = cluster["metadata"]["generation"]
    try:
        _Cluster(operator, cluster).reconcile()
    except (Refused, podset.NotReadyInTime) as error:
        reason = error.reason if isinstance(error, Refused) else "TimeoutException"
        log(f"Kafka {name}: {reason}: {error}")
        kept = {k: v for k, v in (cluster.get("status") or {}).items() if k != "conditions"}
        _status(
            operator,
            name,
            {**kept, "conditions": [condition("NotReady", reason, str(error))], "observedGeneration": generation},
        )


class Refused(Exception):
    """A specification that the operator does not accept."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _status(operator: Any, name: str, status: Object) -> None:
    operator.kube.set_status(STRIMZI, "Kafka", operator.namespace, name, status)


def images(variable: str) -> Dict[str, str]:
    """Version to image, as the operator's Deployment maps them."""
    lines = os.environ.get(variable, "").split()
    return dict(line.split("=", 1) for line in lines)


def labels(cluster: str, kind: str, name: str, component: str, **more: str) -> Dict[str, str]:
    return {
        "app.kubernetes.io/instance": cluster,
        "app.kubernetes.io/managed-by": "strimzi-cluster-operator",
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/part-of": f"strimzi-{cluster}",
        "strimzi.io/cluster": cluster,
        "strimzi.io/component-type": component,
        "strimzi.io/kind": kind,
        "strimzi.io/name": name,
        **more,
    }


class _Node:
    def __init__(self, cluster: str, namespace: str, pool: Object, number: int) -> None:
        self.pool, self.id = pool, number
        self.name = f"{cluster}-{pool['metadata']['name']}-{number}"
        self.host = f"{self.name}.{cluster}-kafka-brokers.{namespace}.svc"
        self.roles: List[str] = pool["spec"]["roles"]


class _Cluster:
    def __init__(self, operator: Any, cluster: Object) -> None:
        self.operator, self.kube, self.cluster = operator, operator.kube, cluster
        self.name, self.namespace = cluster["metadata"]["name"], operator.namespace
        self.spec = cluster["spec"]["kafka"]
        self.labels = labels(self.name, "Kafka", f"{self.name}-kafka", "kafka")

    def reconcile(self) -> None:
        supported = images("STRIMZI_KAFKA_IMAGES")
        version = self.spec.get("version", max(supported))
        if version not in supported:
            raise Refused(
                "UnsupportedKafkaVersionException",
                f"Unsupported Kafka.spec.kafka.version: {version}. Supported versions are: [{', '.join(sorted(supported))}]",
            )
        pools = self.kube.list(STRIMZI, "KafkaNodePool", self.namespace, **{"strimzi.io/cluster": self.name})
        pools = [pool for pool in pools if not pool["metadata"].get("deletionTimestamp")]
        if not pools:
            raise Refused("InvalidConfigurationException", f"No KafkaNodePools found for Kafka cluster {self.name}")
        for listener in self.spec["listeners"]:
            login = (listener.get("authentication") or {}).get("type", "scram-sha-512")
            if login != "scram-sha-512" or listener["type"] not in ("internal", "nodeport"):
                raise Refused(
                    "InvalidResourceException",
                    f"the stand-in serves internal and nodeport listeners, with SCRAM or without a login, not {listener['name']}",
                )
        self.authority = authority.ensure(self.kube, self.name, self._meta)
        cluster_id = self._cluster_id(pools)
        nodes = _assign(self.name, self.namespace, pools)
        image = self.spec.get("image") or supported[version]
        self._shared(nodes)
        pods = []
        for pool in pools:
            own = [self._pod(node, nodes, image, version, cluster_id) for node in nodes if node.pool is pool]
            own_labels = {**self.labels, "strimzi.io/pool-name": pool["metadata"]["name"]}
            podset.apply(self.kube, pool, f"{self.name}-{pool['metadata']['name']}", own_labels, own)
            pods += own
            self._pool_status(pool, [node for node in nodes if node.pool is pool], cluster_id)
        # The real one has observed every generation before the first broker rolls.
        before = self.cluster.get("status") or {}
        if any(c["type"] == "Ready" for c in before.get("conditions", [])):
            _status(self.operator, self.name, {**before, "observedGeneration": self.cluster["metadata"]["generation"]})
        podset.roll(self.kube, pods, self.operator.timeout)
        self._entity_operator()
        _status(
            self.operator,
            self.name,
            {
                "clusterId": cluster_id,
                "conditions": [condition("Ready")],
                "kafkaMetadataVersion": self.spec.get("metadataVersion", "4.3-IV0"),
                "kafkaNodePools": [{"name": pool["metadata"]["name"]} for pool in pools],
                "kafkaVersion": version,
                "listeners": [self._listener_status(listener, nodes) for listener in self.spec["listeners"]],
                "observedGeneration": self.cluster["metadata"]["generation"],
                "operatorLastSuccessfulVersion": VERSION,
            },
        )
        log(f"Kafka {self.name} is ready")

    def _cluster_id(self, pools: List[Object]) -> str:
        for resource in (self.cluster, *pools):
            if (resource.get("status") or {}).get("clusterId"):
                return resource["status"]["clusterId"]
        # Kafka's tools take an id that begins with a dash for an option, so that Kafka makes none.
        while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()).startswith("-"):
            pass
        return made.rstrip("=")

    def _pool_status(self, pool: Object, nodes: List[_Node], cluster_id: str) -> None:
        name = pool["metadata"]["name"]
        status = {
            "clusterId": cluster_id,
            "conditions": [],
            "labelSelector": f"strimzi.io/cluster={self.name},strimzi.io/name={self.name}-kafka,strimzi.io/kind=Kafka,"
            f"strimzi.io/pool-name={name}",
            "nodeIds": [node.id for node in nodes],
            "observedGeneration": pool["metadata"]["generation"],
            "replicas": len(nodes),
            "roles": pool["spec"]["roles"],
        }
        if pool.get("status") != status:
            self.kube.set_status(STRIMZI, "KafkaNodePool", self.namespace, name, status)

    def _meta(self, name: str, **more: Any) -> Object:
        return {
            "namespace": self.namespace,
            "name": name,
            "labels": self.labels,
            "ownerReferences": owner(self.cluster),
            **more,
        }

    def _service(self, name: str, ports: List[Object], **spec: Any) -> None:
        chosen = {"strimzi.io/cluster": self.name, "strimzi.io/kind": "Kafka", "strimzi.io/name": f"{self.name}-kafka"}
        chosen.update(spec.pop("also", {}))
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": self._meta(name),
                "spec": {"selector": chosen, "ports": ports, **spec},
            }
        )

    def _shared(self, nodes: List[_Node]) -> None:
        self.kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self._meta(f"{self.name}-kafka")})
        inner = [_port("tcp-replication", 9091)]
        inner += [_port(f"tcp-{_short(x)}", x["port"]) for x in self.spec["listeners"] if x["type"] == "internal"]
        self._service(f"{self.name}-kafka-bootstrap", inner, also={"strimzi.io/broker-role": "true"})
        self._service(
            f"{self.name}-kafka-brokers",
            [_port("tcp-ctrlplane", 9090), *inner],
            clusterIP="None",
            publishNotReadyAddresses=True,
        )
        for listener in self.spec["listeners"]:
            if listener["type"] == "nodeport":
                self._nodeports(listener, nodes)

    def _nodeports(self, listener: Object, nodes: List[_Node]) -> None:
        configuration = listener.get("configuration") or {}
        wanted = (configuration.get("bootstrap") or {}).get("nodePort")
        port = _port(f"tcp-{_short(listener)}", listener["port"], wanted)
        self._service(f"{self.name}-kafka-{listener['name']}-bootstrap", [port], type="NodePort")
        for node in nodes:
            wanted = _broker(listener, node.id).get("nodePort")
            port = _port(f"tcp-{_short(listener)}", listener["port"], wanted)
            name = f"{self.name}-{node.pool['metadata']['name']}-{listener['name']}-{node.id}"
            self._service(name, [port], type="NodePort", also={"strimzi.io/pod-name": node.name})

    def _advertised(self, listener: Object, node: _Node) -> str:
        if listener["type"] == "internal":
            return f"{node.host}:{listener['port']}"
        configured = _broker(listener, node.id)
        name = f"{self.name}-{node.pool['metadata']['name']}-{listener['name']}-{node.id}"
        service = self.kube.get("v1", "Service", self.namespace, name)
        port = configured.get("advertisedPort") or service["spec"]["ports"][0]["nodePort"]
        return f"{configured.get('advertisedHost') or self._node_address()}:{port}"

    def _node_address(self) -> str:
        for node in self.kube.request("GET", "/api/v1/nodes")["items"]:
            for address in node["status"]["addresses"]:
                if address["type"] == "InternalIP":
                    return address["address"]
        return "127.0.0.1"

    def _listener_status(self, listener: Object, nodes: List[_Node]) -> Object:
        if listener["type"] == "internal":
            addresses = [{"host": f"{self.name}-kafka-bootstrap.{self.namespace}.svc", "port": listener["port"]}]
        else:
            service = self.kube.get("v1", "Service", self.namespace, f"{self.name}-kafka-{listener['name']}-bootstrap")
            addresses = [{"host": self._node_address(), "port": service["spec"]["ports"][0]["nodePort"]}]
        text = ",".join(f"{a['host']}:{a['port']}" for a in addresses)
        status = {"addresses": addresses, "bootstrapServers": text, "name": listener["name"]}
        if listener.get("tls"):
            status["certificates"] = [self.authority["crt"]]
        return status

    def _certificate(self, node: _Node) -> None:
        """The names that Strimzi puts into a broker's certificate, as far as clients ask for them."""
        names = []
        for service in (f"{self.name}-kafka-bootstrap", f"{self.name}-kafka-brokers"):
            whole = f"{service}.{self.namespace}.svc"
            names += [service, f"{service}.{self.namespace}", whole, f"{whole}.cluster.local"]
        names += [node.host, f"{node.host}.cluster.local"]
        hosts = [f"DNS:{name}" for name in names]
        for listener in self.spec["listeners"]:
            if listener["type"] == "nodeport" and listener.get("tls"):
                host = self._advertised(listener, node).rsplit(":", 1)[0]
                hosts.append(f"IP:{host}" if host.replace(".", "").isdigit() else f"DNS:{host}")
        authority.ensure_server(self.kube, self.authority, self._meta(node.name), hosts)

    def _server_config(self, node: _Node, nodes: List[_Node], volumes: List[Object]) -> str:
        controllers = [n for n in nodes if "controller" in n.roles]
        listeners, advertised = [], []
        if "controller" in node.roles:
            listeners.append("CONTROLPLANE-9090://0.0.0.0:9090")
            advertised.append(f"CONTROLPLANE-9090://{node.host}:9090")
        if "broker" in node.roles:
            listeners.append("REPLICATION-9091://0.0.0.0:9091")
            advertised.append(f"REPLICATION-9091://{node.host}:9091")
            for listener in self.spec["listeners"]:
                listeners.append(f"{_listener(listener)}://0.0.0.0:{listener['port']}")
                advertised.append(f"{_listener(listener)}://{self._advertised(listener, node)}")
        names = ["CONTROLPLANE-9090", "REPLICATION-9091", *(_listener(x) for x in self.spec["listeners"])]
        protocols = {_listener(x): _protocol(x) for x in self.spec["listeners"]}
        settings = {
            **(self.spec.get("config") or {}),
            "node.id": node.id,
            "process.roles": ",".join(node.roles),
            "controller.quorum.voters": ",".join(f"{n.id}@{n.host}:9090" for n in controllers),
            "controller.listener.names": "CONTROLPLANE-9090",
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(f"{x}:{protocols.get(x, 'PLAINTEXT')}" for x in names),
            "inter.broker.listener.name": "REPLICATION-9091",
            "log.dirs": ",".join(f"/var/lib/kafka/data-{v['id']}/kafka-log{node.id}" for v in volumes),
        }
        for listener in self.spec["listeners"]:
            prefix = f"listener.name.{_listener(listener).lower()}"
            if listener.get("tls"):
                settings[f"{prefix}.ssl.keystore.type"] = "PEM"
                settings[f"{prefix}.ssl.keystore.location"] = "/opt/kafka/certs/keystore.pem"
            if listener.get("authentication"):
                settings[f"{prefix}.sasl.enabled.mechanisms"] = "SCRAM-SHA-512"
                module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                settings[f"{prefix}.scram-sha-512.sasl.jaas.config"] = module
        if (self.spec.get("authorization") or {}).get("type") == "simple":
            settings["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            # The brokers and operators, which come over the stand-in's own listeners.
            settings["super.users"] = "User:ANONYMOUS"
        if self.spec.get("rack"):
            settings["replica.selector.class"] = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
        return "".join(f"{key}={_plain(value)}\n" for key, value in settings.items())

    def _claim(self, node: _Node, volume: Object) -> Object:
        name = f"data-{volume['id']}-{node.name}"
        if volume["type"] == "ephemeral":
            return {"name": f"data-{volume['id']}", "emptyDir": {}}
        meta = self._meta(name)
        if not volume.get("deleteClaim"):
            del meta["ownerReferences"]
        spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": volume["size"]}}}
        if volume.get("class"):
            spec["storageClassName"] = volume["class"]
        if self.kube.get("v1", "PersistentVolumeClaim", self.namespace, name) is None:
            self.kube.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})
        return {"name": f"data-{volume['id']}", "persistentVolumeClaim": {"claimName": name}}

    def _pod(self, node: _Node, nodes: List[_Node], image: str, version: str, cluster_id: str) -> Object:
        storage = node.pool["spec"]["storage"]
        volumes = storage["volumes"] if storage["type"] == "jbod" else [{**storage, "id": 0}]
        config = self._server_config(node, nodes, volumes)
        self._certificate(node)
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": self._meta(node.name),
                "data": {"server.config": config, "cluster.id": cluster_id},
            }
        )
        template = {**(self.spec.get("template") or {}), **(node.pool["spec"].get("template") or {})}
        own = {
            **self.labels,
            "strimzi.io/broker-role": str("broker" in node.roles).lower(),
            "strimzi.io/controller-role": str("controller" in node.roles).lower(),
            "strimzi.io/controller": "strimzipodset",
            "strimzi.io/controller-name": f"{self.name}-{node.pool['metadata']['name']}",
            "strimzi.io/pod-name": node.name,
            "strimzi.io/pool-name": node.pool["metadata"]["name"],
        }
        container = {
            "name": "kafka",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["/opt/kafka/kafka_run.sh"],
            "env": [
                {"name": "KAFKA_CLUSTER_NAME", "value": self.name},
                {"name": "STRIMZI_DYNAMIC_HEAP_PERCENTAGE", "value": "50"},
                *heap(node.pool["spec"].get("jvmOptions") or self.spec.get("jvmOptions")),
            ],
            "ports": [{"containerPort": 9090, "name": "tcp-ctrlplane"}, {"containerPort": 9091, "name": "tcp-replication"}]
            + [{"containerPort": x["port"], "name": f"tcp-{_short(x)}"} for x in self.spec["listeners"]],
            "livenessProbe": probe(self.spec.get("livenessProbe"), {"exec": {"command": ["/opt/kafka/kafka_liveness.sh"]}}),
            "readinessProbe": probe(self.spec.get("readinessProbe"), {"exec": {"command": ["/opt/kafka/kafka_readiness.sh"]}}),
            "resources": node.pool["spec"].get("resources") or self.spec.get("resources") or {},
            "volumeMounts": [
                *({"name": f"data-{v['id']}", "mountPath": f"/var/lib/kafka/data-{v['id']}"} for v in volumes),
                {"name": "strimzi-tmp", "mountPath": "/tmp"},
                {"name": "kafka-metrics-and-logging", "mountPath": "/opt/kafka/custom-config/"},
                {"name": "broker-certs", "mountPath": "/opt/kafka/certs/"},
            ],
        }
        outside = any(listener["type"] == "nodeport" for listener in self.spec["listeners"])
        init = [self._init(container["resources"], template)] if outside else []
        return podset.revised(
            pod(
                self.namespace,
                node.name,
                own,
                {"strimzi.io/kafka-version": version, "strimzi.io/configuration-hash": digest(config)},
                container,
                template,
                "kafkaContainer",
                [
                    *(self._claim(node, volume) for volume in volumes),
                    {"name": "strimzi-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "5Mi"}},
                    {"name": "kafka-metrics-and-logging", "configMap": {"name": node.name}},
                    {"name": "broker-certs", "secret": {"secretName": node.name}},
                    {"name": "rack-volume", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                ],
                {
                    "hostname": node.name,
                    "subdomain": f"{self.name}-kafka-brokers",
                    "serviceAccountName": f"{self.name}-kafka",
                    "initContainers": init,
                },
            )
        )

    def _init(self, resources: Object, template: Object) -> Object:
        """What finds the node's address for a listener to the outside."""
        made = {
            "name": "kafka-init",
            "image": os.environ.get("STRIMZI_DEFAULT_KAFKA_INIT_IMAGE", f"quay.io/strimzi/operator:{VERSION}"),
            "imagePullPolicy": "IfNotPresent",
            "args": ["/opt/strimzi/bin/kafka_init_run.sh"],
            "env": [{"name": "EXTERNAL_ADDRESS", "value": "TRUE"}],
            "resources": resources,
            "volumeMounts": [{"name": "rack-volume", "mountPath": "/opt/kafka/init"}],
        }
        context = (template.get("initContainer") or {}).get("securityContext")
        return {**made, "securityContext": context} if context else made

    def _entity_operator(self) -> None:
        if "entityOperator" in self.cluster["spec"]:
            import entity

            entity.deploy(self.operator, self.cluster)


def _assign(cluster: str, namespace: str, pools: List[Object]) -> List[_Node]:
    """Numbers that stay with a pool; new ones are the lowest that are free."""
    used = {number for pool in pools for number in (pool.get("status") or {}).get("nodeIds", [])}
    nodes = []
    for pool in sorted(pools, key=lambda p: p["metadata"]["name"]):
        numbers = list((pool.get("status") or {}).get("nodeIds", []))[: pool["spec"]["replicas"]]
        while len(numbers) < pool["spec"]["replicas"]:
            free = next(n for n in range(1000) if n not in used)
            used.add(free)
            numbers.append(free)
        nodes += [_Node(cluster, namespace, pool, number) for number in numbers]
    return nodes


def _short(listener: Object) -> str:
    return listener["name"][:11]


def _listener(listener: Object) -> str:
    return f"{listener['name'].upper()}-{listener['port']}"


def _protocol(listener: Object) -> str:
    login = "SASL_" if listener.get("authentication") else ""
    return login + ("SSL" if listener.get("tls") else "PLAINTEXT")


def _port(name: str, port: int, node_port: Optional[int] = None) -> Object:
    made: Object = {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
    if node_port:
        made["nodePort"] = node_port
    return made


def _broker(listener: Object, number: int) -> Object:
    brokers = (listener.get("configuration") or {}).get("brokers") or []
    return next((broker for broker in brokers if broker["broker"] == number), {})


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]


def heap(options: Optional[Object]) -> List[Object]:
    """`jvmOptions` as Kafka's scripts take them."""
    sizes = [f"{key}{value}" for key, value in (options or {}).items() if key in ("-Xms", "-Xmx")]
    properties = " ".join("-D%s=%s" % (it["name"], it["value"]) for it in (options or {}).get("javaSystemProperties", []))
    named = {"KAFKA_HEAP_OPTS": " ".join(sizes), "STRIMZI_JAVA_SYSTEM_PROPERTIES": properties}
    return [{"name": name, "value": value} for name, value in named.items() if value]


def probe(configured: Optional[Object], how: Object) -> Object:
    return {"initialDelaySeconds": 15, "timeoutSeconds": 5, **(configured or {}), **how}


def pod(
    namespace: str,
    name: str,
    own_labels: Dict[str, str],
    annotations: Dict[str, str],
    container: Object,
    template: Object,
    container_template: str,
    volumes: List[Object],
    spec: Object,
) -> Object:
    """A pod with what the resource's template adds."""
    of_pod = template.get("pod") or {}
    of_container = template.get(container_template) or {}
    meta = of_pod.get("metadata") or {}
    container = json.loads(json.dumps(container))
    container["env"] += of_container.get("env") or []
    container["volumeMounts"] += of_container.get("volumeMounts") or []
    if of_container.get("securityContext"):
        container["securityContext"] = of_container["securityContext"]
    made = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": of_pod.get("terminationGracePeriodSeconds", 30),
        "securityContext": of_pod.get("securityContext") or {"fsGroup": 0},
        "containers": [container],
        "volumes": [*volumes, *(of_pod.get("volumes") or [])],
        **spec,
    }
    for key in ("affinity", "tolerations", "topologySpreadConstraints", "priorityClassName", "imagePullSecrets"):
        if of_pod.get(key):
            made[key] = of_pod[key]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {**(meta.get("labels") or {}), **own_labels},
            "annotations": {**(meta.get("annotations") or {}), **annotations},
        },
        "spec": made,
    }

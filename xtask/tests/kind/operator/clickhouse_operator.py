"""Stands in for the Altinity ClickHouse operator 0.25.6 in tests: ClickHouseInstallation to StatefulSets.

`Completed` is about what it did, not about what is: it says so as soon as the pods run, ready or not, and never takes
it back when they break later.
"""

import os
import signal
import threading
import time
import traceback
from typing import Dict, Iterator, List, Optional, Tuple

from kube import ApiError, Kube, Object, log, owner, thread

GROUP = "clickhouse.altinity.com/v1"
FINALIZER = "finalizer.clickhouseinstallation.altinity.com"
CHI = "clickhouse.altinity.com/chi"
VERSION = "0.25.6"
TIMEOUT = 300.0


class Refused(Exception):
    """A specification that this stand-in does not serve."""


class _Host:
    def __init__(self, chi: str, cluster: str, shard: int, replica: int) -> None:
        self.cluster, self.shard, self.replica = cluster, shard, replica
        self.name = f"chi-{chi}-{cluster}-{shard}-{replica}"
        self.pod = f"{self.name}-0"


class _Installation:
    def __init__(self, kube: Kube, resource: Object) -> None:
        self.kube, self.resource, self.spec = kube, resource, resource["spec"]
        self.namespace, self.name = resource["metadata"]["namespace"], resource["metadata"]["name"]
        self.hosts = list(_hosts(self.name, self.spec))
        self.labels = {CHI: self.name, "clickhouse.altinity.com/app": "chop", "clickhouse.altinity.com/chop": VERSION}
        self.defaults = (self.spec.get("defaults") or {}).get("templates") or {}

    def reconcile(self) -> None:
        meta = self.resource["metadata"]
        if meta.get("deletionTimestamp"):
            self._delete()
            return
        finalizers = meta.get("finalizers") or []
        if FINALIZER not in finalizers:
            patch = {"metadata": {"finalizers": [*finalizers, FINALIZER]}}
            self.kube.merge(GROUP, "ClickHouseInstallation", self.namespace, self.name, patch)
        log(f"{self.namespace}/{self.name}: reconcile started, generation {meta['generation']}")
        self._status("InProgress", action="reconcile started")
        try:
            self._apply()
            self._wait()
        except Refused as error:
            self._status("Aborted", error=str(error), errors=[str(error)])
            return
        self._status("Completed", action="reconcile completed successfully", done=True)
        log(f"{self.namespace}/{self.name}: reconcile completed")

    def _status(self, status: str, done: bool = False, **more: object) -> None:
        made: Object = {
            "chop-version": VERSION,
            "clusters": len({host.cluster for host in self.hosts}),
            "shards": len({(host.cluster, host.shard) for host in self.hosts}),
            "replicas": max((host.replica + 1 for host in self.hosts), default=0),
            "hosts": len(self.hosts),
            "endpoint": f"clickhouse-{self.name}.{self.namespace}.svc.cluster.local",
            "endpoints": [f"clickhouse-{self.name}.{self.namespace}.svc.cluster.local"],
            "fqdns": [f"{host.name}.{self.namespace}.svc.cluster.local" for host in self.hosts],
            "pods": [host.pod for host in self.hosts],
            "status": status,
            **more,
        }
        if done:
            made["hostsCompleted"] = len(self.hosts)
            made["generation"] = self.resource["metadata"]["generation"]
        self.kube.set_status(GROUP, "ClickHouseInstallation", self.namespace, self.name, made)

    def _meta(self, name: str, **more: object) -> Object:
        return {
            "namespace": self.namespace,
            "name": name,
            "labels": self.labels,
            "ownerReferences": owner(self.resource),
            **more,
        }

    def _apply(self) -> None:
        usersd, env = self._users()
        settings, more = self._settings()
        env += more
        for name, data in (
            (f"chi-{self.name}-common-usersd", {"chop-generated-users.xml": usersd}),
            (f"chi-{self.name}-common-configd", {"chop-generated-settings.xml": settings}),
        ):
            self.kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": self._meta(name), "data": data})
        for host in self.hosts:
            self._service(host.name, {"statefulset.kubernetes.io/pod-name": host.pod}, {"publishNotReadyAddresses": True})
            self.kube.apply(self._stateful_set(host, env))
        self._service(f"clickhouse-{self.name}", {CHI: self.name, "clickhouse.altinity.com/ready": "yes"}, self._service_spec())

    def _service_spec(self) -> Object:
        wanted = self.defaults.get("serviceTemplate")
        for template in (self.spec.get("templates") or {}).get("serviceTemplates") or []:
            if template["name"] == wanted:
                return template.get("spec") or {}
        return {}

    def _service(self, name: str, selector: Dict[str, str], extra: Object) -> None:
        spec: Object = {"selector": selector, "ports": [{**port, "port": port["containerPort"]} for port in _PORTS]}
        for port in spec["ports"]:
            port["targetPort"] = port.pop("containerPort")
        if "type" not in extra:
            spec["clusterIP"] = "None"
        spec.update(extra)
        self.kube.apply({"apiVersion": "v1", "kind": "Service", "metadata": self._meta(name), "spec": spec})

    def _users(self) -> Tuple[str, List[Object]]:
        """users.xml, and the environment that it takes the passwords from."""
        users: Dict[str, str] = {"default": ""}
        env = []
        for path, value in _flat((self.spec.get("configuration") or {}).get("users") or {}):
            user, _, key = path.partition("/")
            if key in ("k8s_secret_password", "k8s_secret_env_password"):
                reference = dict(zip(("key", "name", "namespace"), reversed(str(value).split("/"))))
            elif key == "password" and isinstance(value, dict):
                reference = dict(value["valueFrom"]["secretKeyRef"])
            elif key == "password":
                users[user] = f"<password>{value}</password>"
                continue
            elif key.startswith("password_"):
                raise Refused(f"{path}: the stand-in's server needs the password itself")
            else:
                continue
            if reference.get("namespace", self.namespace) != self.namespace:
                raise Refused(f"{path}: a Secret of another namespace")
            variable = f"CONFIGURATION_USERS_{user.upper()}_PASSWORD"
            env.append(
                {
                    "name": variable,
                    "valueFrom": {"secretKeyRef": {"name": reference["name"], "key": reference["key"]}},
                }
            )
            users[user] = f'<password from_env="{variable}"/>'
        body = "".join(f"<{name}>{password or '<password/>'}</{name}>" for name, password in users.items())
        return f"<yandex><users>{body}</users></yandex>\n", env

    def _settings(self) -> Tuple[str, List[Object]]:
        """The section `kafka` of config.xml, and the environment that it takes passwords from."""
        body, env = "", []
        for path, value in _flat((self.spec.get("configuration") or {}).get("settings") or {}):
            section, _, key = path.partition("/")
            if section != "kafka":
                continue
            if isinstance(value, dict):
                variable = f"CONFIGURATION_SETTINGS_{path.upper().replace('/', '_')}"
                env.append({"name": variable, "valueFrom": {"secretKeyRef": dict(value["valueFrom"]["secretKeyRef"])}})
                body += f'<{key} from_env="{variable}"/>'
            else:
                body += f"<{key}>{value}</{key}>"
        if env:
            # The stand-in's server reaches the brokers through itself: see images/clickhouse/kafka_tls.py.
            env.append({"name": "STANDIN_KAFKA", "value": " ".join(f"{ip}={name}" for ip, name in _BROKERS)})
        return f"<yandex><kafka>{body}</kafka></yandex>\n", env

    def _template(self, kind: str, name: Optional[str]) -> Object:
        for template in (self.spec.get("templates") or {}).get(kind) or []:
            if template["name"] == name:
                return template
        if name:
            raise Refused(f"no template {name} in {kind}")
        return {}

    def _stateful_set(self, host: _Host, env: List[Object]) -> Object:
        template = self._template("podTemplates", self.defaults.get("podTemplate"))
        pod = dict(template.get("spec") or {})
        containers = [dict(container) for container in pod.get("containers") or []]
        if not containers:
            containers = [{"name": "clickhouse", "image": "clickhouse/clickhouse-server:latest"}]
        main = next((c for c in containers if c["name"] == "clickhouse"), containers[0])
        self._complete(main, env)
        claims = (self.spec.get("templates") or {}).get("volumeClaimTemplates") or []
        pod["containers"] = containers
        pod["volumes"] = [
            *(pod.get("volumes") or []),
            {"name": "usersd", "configMap": {"name": f"chi-{self.name}-common-usersd"}},
            {"name": "configd", "configMap": {"name": f"chi-{self.name}-common-configd"}},
        ]
        if any(entry["name"] == "STANDIN_KAFKA" for entry in env):
            pod["hostAliases"] = [{"ip": ip, "hostnames": [name]} for ip, name in _BROKERS]
        labels = {
            **self.labels,
            "clickhouse.altinity.com/cluster": host.cluster,
            "clickhouse.altinity.com/shard": str(host.shard),
            "clickhouse.altinity.com/replica": str(host.replica),
        }
        meta = template.get("metadata") or {}
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": self._meta(host.name, labels=labels),
            "spec": {
                "replicas": 0 if self.spec.get("stop") in ("yes", "true", "1") else 1,
                "serviceName": host.name,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {
                        "labels": {**(meta.get("labels") or {}), **labels, "clickhouse.altinity.com/ready": "yes"},
                        "annotations": meta.get("annotations") or {},
                    },
                    "spec": pod,
                },
                "volumeClaimTemplates": [
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {"name": claim["name"], "labels": self.labels},
                        "spec": claim["spec"],
                    }
                    for claim in claims
                ],
            },
        }

    def _complete(self, container: Object, env: List[Object]) -> None:
        ports = list(container.get("ports") or [])
        taken = {port["containerPort"] for port in ports}
        container["ports"] = ports + [port for port in _PORTS if port["containerPort"] not in taken]
        container["env"] = [*(container.get("env") or []), *env]
        mounts = list(container.get("volumeMounts") or [])
        data = self.defaults.get("dataVolumeClaimTemplate")
        if data and data not in [mount["name"] for mount in mounts]:
            mounts.append({"name": data, "mountPath": "/var/lib/clickhouse"})
        mounts.append({"name": "usersd", "mountPath": "/etc/clickhouse-server/users.d/"})
        mounts.append({"name": "configd", "mountPath": "/etc/clickhouse-server/config.d/"})
        container["volumeMounts"] = mounts
        ping = {"httpGet": {"path": "/ping", "port": 8123}}
        container.setdefault("livenessProbe", {**ping, "initialDelaySeconds": 60, "periodSeconds": 3, "failureThreshold": 10})
        container.setdefault("readinessProbe", {**ping, "initialDelaySeconds": 10, "periodSeconds": 3})

    def _wait(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        for host in self.hosts:
            while time.monotonic() < deadline and self.spec.get("stop") not in ("yes", "true", "1"):
                pod = self.kube.get("v1", "Pod", self.namespace, host.pod)
                # The lie: running is enough.
                if pod is not None and pod["status"].get("phase") == "Running":
                    break
                time.sleep(0.5)

    def _delete(self) -> None:
        log(f"{self.namespace}/{self.name}: deleting")
        for host in self.hosts:
            self.kube.delete("apps/v1", "StatefulSet", self.namespace, host.name)
            self.kube.delete("v1", "Service", self.namespace, host.name)
            for claim in (self.spec.get("templates") or {}).get("volumeClaimTemplates") or []:
                if claim.get("reclaimPolicy") != "Retain":
                    self.kube.delete("v1", "PersistentVolumeClaim", self.namespace, f"{claim['name']}-{host.pod}")
        self.kube.delete("v1", "Service", self.namespace, f"clickhouse-{self.name}")
        for part in ("usersd", "configd"):
            self.kube.delete("v1", "ConfigMap", self.namespace, f"chi-{self.name}-common-{part}")
        left = [entry for entry in self.resource["metadata"].get("finalizers") or [] if entry != FINALIZER]
        patch = {"metadata": {"finalizers": left}}
        self.kube.merge(GROUP, "ClickHouseInstallation", self.namespace, self.name, patch)


# The one thing of the tests' profiles that this stand-in knows: where their brokers are.
_BROKERS = [
    ("127.0.1.1", "my-cluster-kafka-bootstrap.kafka.svc"),
    *((f"127.0.2.{n + 1}", f"my-cluster-my-pool-{n}.my-cluster-kafka-brokers.kafka.svc") for n in range(3)),
]

_PORTS = [
    {"name": "http", "containerPort": 8123, "protocol": "TCP"},
    {"name": "tcp", "containerPort": 9000, "protocol": "TCP"},
    {"name": "interserver", "containerPort": 9009, "protocol": "TCP"},
]


def _hosts(chi: str, spec: Object) -> Iterator[_Host]:
    for cluster in (spec.get("configuration") or {}).get("clusters") or []:
        layout = cluster.get("layout") or {}
        for shard in range(layout.get("shardsCount", 1)):
            for replica in range(layout.get("replicasCount", 1)):
                yield _Host(chi, cluster["name"], shard, replica)


def _flat(value: Object, prefix: str = "") -> Iterator[Tuple[str, object]]:
    """`a: {b: 1}` and `a/b: 1` are the same."""
    for key, inner in value.items():
        path = f"{prefix}/{key}" if prefix else key
        if isinstance(inner, dict) and "valueFrom" not in inner:
            yield from _flat(inner, path)
        else:
            yield path, inner


def _react(kube: Kube, lock: threading.Lock, namespace: str, name: str) -> None:
    with lock:
        resource = kube.get(GROUP, "ClickHouseInstallation", namespace, name)
        if resource is None:
            return
        try:
            _Installation(kube, resource).reconcile()
        except (ApiError, OSError):
            traceback.print_exc()


def _watch(kube: Kube, namespace: Optional[str]) -> None:
    seen: Dict[str, tuple] = {}
    locks: Dict[str, threading.Lock] = {}
    for event in kube.watch(GROUP, "ClickHouseInstallation", namespace):
        meta = event["object"]["metadata"]
        key = f"{meta['namespace']}/{meta['name']}"
        essence = (meta["uid"], meta["generation"], meta.get("deletionTimestamp"))
        if event["type"] == "DELETED":
            seen.pop(key, None)
        elif seen.get(key) != essence:
            seen[key] = essence
            thread(_react, kube, locks.setdefault(key, threading.Lock()), meta["namespace"], meta["name"])


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    own = os.environ["OPERATOR_POD_NAMESPACE"]
    # The real one watches everything from kube-system, and its own namespace from elsewhere.
    namespace = None if own == "kube-system" else own
    log(f"stand-in for the ClickHouse operator, watching {namespace or 'every namespace'}")
    thread(_watch, Kube(), namespace)
    stop.wait()


if __name__ == "__main__":
    main()

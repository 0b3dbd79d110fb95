"""Stands in for Strimzi's topic operator: KafkaTopic to topic, with its finalizer and its way to fail.

A failed KafkaTopic has `Ready` "False", not `NotReady`.
"""

import os
import signal
import socket
import threading
import time

import health
from kafka_wire import Broker, KafkaError
from kube import STRIMZI, ApiError, Kube, Object, condition, log, thread

FINALIZER = "strimzi.io/topic-operator"
INTERVAL = 120.0


class _Topics:
    def __init__(self) -> None:
        self.kube = Kube()
        self.namespace = os.environ["STRIMZI_NAMESPACE"]
        self.selector = os.environ["STRIMZI_RESOURCE_LABELS"]
        host, port = os.environ["STRIMZI_KAFKA_BOOTSTRAP_SERVERS"].rsplit(":", 1)
        self._startup(host)
        self.broker = Broker(host, int(port))
        self.lock = threading.Lock()

    def _startup(self, host: str) -> None:
        """The real one ends with 1 where the API server cannot be asked for the authority's certificate, or the brokers'
        name does not resolve: both after a node's restart."""
        cluster = self.selector.split("=", 1)[1]
        self.kube.get("v1", "Secret", self.namespace, f"{cluster}-cluster-ca-cert")
        socket.getaddrinfo(host, None)

    def reconcile(self, name: str) -> bool:
        """False when it has to be tried again."""
        try:
            self._reconcile(name)
            return True
        except (ApiError, OSError) as error:
            log(f"topic {name}: {error}")
            return False

    def _reconcile(self, name: str) -> None:
        with self.lock:
            resource = self.kube.get(STRIMZI, "KafkaTopic", self.namespace, name)
            if resource is None:
                return
            if resource["metadata"].get("deletionTimestamp"):
                self._delete(resource)
            else:
                self._converge(resource)

    def _name(self, resource: Object) -> str:
        return resource["spec"].get("topicName") or resource["metadata"]["name"]

    def _delete(self, resource: Object) -> None:
        finalizers = resource["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        try:
            self.broker.delete_topic(self._name(resource))
        except (KafkaError, OSError) as error:
            log(f"topic {self._name(resource)} is not deleted: {error}")
            return
        self._finalizers(resource, [entry for entry in finalizers if entry != FINALIZER])

    def _finalizers(self, resource: Object, finalizers: list) -> None:
        name = resource["metadata"]["name"]
        self.kube.merge(STRIMZI, "KafkaTopic", self.namespace, name, {"metadata": {"finalizers": finalizers}})

    def _converge(self, resource: Object) -> None:
        name, spec = self._name(resource), resource["spec"]
        finalizers = resource["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            self._finalizers(resource, [*finalizers, FINALIZER])
        status: Object = {"observedGeneration": resource["metadata"]["generation"], "topicName": name}
        config = {key: _text(value) for key, value in (spec.get("config") or {}).items()}
        try:
            found = self.broker.topic(name)
            if found is None:
                self.broker.create_topic(name, spec.get("partitions", -1), spec.get("replicas", -1), config)
                found = self._wait(name)
            else:
                if spec.get("partitions", found.partitions) < found.partitions:
                    raise KafkaError("NotSupported", "Decreasing partitions not supported")
                if spec.get("partitions", found.partitions) > found.partitions:
                    self.broker.create_partitions(name, spec["partitions"])
                self.broker.set_config(name, config)
            status.update({"conditions": [condition("Ready")], "topicId": found.id})
        except KafkaError as error:
            reason = "KafkaError" if error.name.startswith("org.") else error.name
            message = f"{error.name}: {error.text}" if reason == "KafkaError" else error.text
            status["conditions"] = [condition("Ready", reason, message, "False")]
        except OSError as error:
            status["conditions"] = [condition("Ready", "KafkaError", str(error), "False")]
        before = resource.get("status") or {}
        if _same(before, status):
            return
        self.kube.set_status(STRIMZI, "KafkaTopic", self.namespace, resource["metadata"]["name"], status)

    def _wait(self, name: str):
        for _ in range(50):
            found = self.broker.topic(name)
            if found is not None:
                return found
            time.sleep(0.1)
        raise KafkaError("org.apache.kafka.common.errors.TimeoutException", f"{name} did not appear")

    def timer(self) -> None:
        while True:
            time.sleep(INTERVAL)
            key, value = self.selector.split("=", 1)
            try:
                listed = self.kube.list(STRIMZI, "KafkaTopic", self.namespace, **{key: value})
            except (ApiError, OSError) as error:
                log(f"timer: {error}")
                continue
            for resource in listed:
                self.reconcile(resource["metadata"]["name"])


def _same(before: Object, status: Object) -> bool:
    def plain(of: Object) -> Object:
        return {**of, "conditions": [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in of.get("conditions", [])]}

    return plain(before) == plain(status)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _watch(topics: _Topics) -> None:
    seen = {}
    for event in topics.kube.watch(STRIMZI, "KafkaTopic", topics.namespace, topics.selector):
        meta = event["object"]["metadata"]
        essence = (meta["uid"], meta.get("generation"), meta.get("deletionTimestamp"), str(meta.get("annotations")))
        if event["type"] != "DELETED" and seen.get(meta["name"]) != essence:
            if topics.reconcile(meta["name"]):
                seen[meta["name"]] = essence


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    health.serve(8080)
    topics = _Topics()
    log(f"stand-in for the topic operator, {topics.selector}")
    thread(_watch, topics)
    thread(topics.timer)
    stop.wait()


if __name__ == "__main__":
    main()

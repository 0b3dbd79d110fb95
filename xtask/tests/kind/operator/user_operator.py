"""Stands in for Strimzi's user operator: KafkaUser to SCRAM credentials, rights by topic and group, and a Secret.

A user is Ready when the broker has taken both; the Secret is there before that, as with the real one.
"""

import base64
import os
import secrets
import signal
import string
import threading
import time

import health
from kafka_wire import Broker, KafkaError
from kube import STRIMZI, ApiError, Kube, Object, condition, log, owner, thread


class _Users:
    def __init__(self) -> None:
        self.kube = Kube()
        self.namespace = os.environ["STRIMZI_NAMESPACE"]
        self.selector = os.environ["STRIMZI_RESOURCE_LABELS"]
        host, port = os.environ["STRIMZI_KAFKA_BOOTSTRAP_SERVERS"].rsplit(":", 1)
        self.broker = Broker(host, int(port))

    def reconcile(self, name: str) -> None:
        user = self.kube.get(STRIMZI, "KafkaUser", self.namespace, name)
        if user is None or user["metadata"].get("deletionTimestamp"):
            return
        status: Object = {"observedGeneration": user["metadata"]["generation"], "username": name, "secret": name}
        try:
            password = self._password(user)
            self._secret(user, password)
            self.broker.set_scram(name, password)
            self.broker.set_acls(f"User:{name}", _acls(user))
            status["conditions"] = [condition("Ready")]
            log(f"user {name} is ready")
        except (KafkaError, OSError, LookupError) as error:
            status["conditions"] = [condition("NotReady", type(error).__name__, str(error))]
        self.kube.set_status(STRIMZI, "KafkaUser", self.namespace, name, status)
        if status["conditions"][0]["type"] != "Ready":
            raise ConnectionError(status["conditions"][0]["message"])

    def _password(self, user: Object) -> str:
        authentication = user["spec"].get("authentication") or {}
        if authentication.get("type") != "scram-sha-512":
            raise LookupError("the stand-in knows scram-sha-512 only")
        wanted = ((authentication.get("password") or {}).get("valueFrom") or {}).get("secretKeyRef")
        name, key = (wanted["name"], wanted["key"]) if wanted else (user["metadata"]["name"], "password")
        found = self.kube.get("v1", "Secret", self.namespace, name)
        if found is not None and key in (found.get("data") or {}):
            return base64.b64decode(found["data"][key]).decode()
        if wanted:
            raise LookupError(f"Secret {name} has no {key}")
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))

    def _secret(self, user: Object, password: str) -> None:
        name = user["metadata"]["name"]
        jaas = f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{name}" password="{password}";'
        texts = {"password": password, "sasl.jaas.config": jaas}
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "namespace": self.namespace,
                    "name": name,
                    "labels": {"strimzi.io/kind": "KafkaUser", "app.kubernetes.io/managed-by": "strimzi-user-operator"},
                    "ownerReferences": owner(user),
                },
                "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
            }
        )


def _acls(user: Object) -> list:
    authorization = user["spec"].get("authorization") or {}
    return [
        (rule["resource"]["type"], rule["resource"].get("name", "kafka-cluster"), rule["resource"].get("patternType", "literal"),
         rule.get("host", "*"), operation, rule.get("type", "allow"))
        for rule in authorization.get("acls") or []
        for operation in rule["operations"]
    ]


def _watch(users: _Users) -> None:
    seen = {}
    for event in users.kube.watch(STRIMZI, "KafkaUser", users.namespace, users.selector):
        meta = event["object"]["metadata"]
        essence = (meta["uid"], meta["generation"])
        if event["type"] == "DELETED" or seen.get(meta["name"]) == essence:
            continue
        for _ in range(30):
            try:
                users.reconcile(meta["name"])
                seen[meta["name"]] = essence
                break
            except (ApiError, OSError) as error:
                log(f"user {meta['name']}: {error}")
                time.sleep(1)


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    health.serve(8081)
    users = _Users()
    log(f"stand-in for the user operator, {users.selector}")
    thread(_watch, users)
    stop.wait()


if __name__ == "__main__":
    main()

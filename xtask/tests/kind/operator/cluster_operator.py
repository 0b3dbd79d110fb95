"""Stands in for Strimzi's cluster operator 1.2.0 in tests: watches, one lock per cluster, one timer.

Modelled on recorded statuses of the real one, with what it gets wrong:

* A resource is reconciled when its spec, labels or annotations change, when its timer fires, and at no other time.
  What changes elsewhere (a ConfigMap that now exists, a task that failed) is seen by the timer alone.
* While a cluster is reconciled its lock is held, for as long as a pod needs to become ready, up to
  STRIMZI_OPERATION_TIMEOUT_MS. A change that comes meanwhile waits ten seconds for the lock and is then forgotten
  until the timer. Connectors share the lock of their Connect cluster.
"""

import os
import signal
import threading
import traceback
from typing import Callable, Dict, Tuple

import connect
import health
import kafka
import podset
from leader import Leader
from kube import STRIMZI, ApiError, Kube, Object, log, thread

LOCK_TIMEOUT = 10.0


class Operator:
    """What every reconciliation needs, and the locks."""

    def __init__(self) -> None:
        self.kube = Kube()
        self.namespace = os.environ["STRIMZI_NAMESPACE"]
        self.interval = _seconds("STRIMZI_FULL_RECONCILIATION_INTERVAL_MS", 120_000)
        self.timeout = _seconds("STRIMZI_OPERATION_TIMEOUT_MS", 300_000)
        self._locks: Dict[Tuple[str, str], threading.Lock] = {}
        self._guard = threading.Lock()
        self._count = 0

    def later(self, kind: str, name: str, why: str, work: Callable[[], None]) -> None:
        """Runs `work` in a thread of its own under the cluster's lock, or drops it."""

        def run() -> None:
            with self._guard:
                lock = self._locks.setdefault((kind, name), threading.Lock())
                self._count += 1
                # The words of the real one's log: the tool reads them.
                cause = why if why == "timer" else "connector-watch" if "connector" in why else "watch"
                about = f"Reconciliation #{self._count}({cause}) {kind}({self.namespace}/{name}):"
            if not lock.acquire(timeout=LOCK_TIMEOUT):
                millis = int(LOCK_TIMEOUT * 1000)
                log(f"WARN  {about} Failed to acquire lock lock::{self.namespace}::{kind}::{name} within {millis}ms.")
                return
            try:
                log(f"INFO  {about} {why}")
                work()
                log(f"INFO  {about} reconciled")
            except (ApiError, OSError):
                # The next timer tries again, as the real one does.
                traceback.print_exc()
                log(f"WARN  {about} Failed to reconcile")
            finally:
                lock.release()

        thread(run)

    def kafka(self, name: str, why: str) -> None:
        self.later("Kafka", name, why, lambda: kafka.reconcile(self, name))

    def connect(self, name: str, why: str) -> None:
        self.later("KafkaConnect", name, why, lambda: connect.reconcile(self, name))

    def connector(self, name: str, cluster: str, why: str) -> None:
        self.later("KafkaConnect", cluster, f"{why} of connector {name}", lambda: connect.reconcile_one(self, name))

    def forget_connector(self, name: str, cluster: str) -> None:
        self.later("KafkaConnect", cluster, f"connector {name} deleted", lambda: connect.forget(self, name, cluster))


def _seconds(variable: str, default: int) -> float:
    # The tests' own variables come first: the Deployment of the real operator sets the others.
    return int(os.environ.get(f"STANDIN_{variable}") or os.environ.get(variable) or default) / 1000


def _cluster(resource: Object) -> str:
    return (resource["metadata"].get("labels") or {}).get("strimzi.io/cluster", "")


def _essence(resource: Object) -> tuple:
    meta = resource["metadata"]
    return (
        meta["uid"],
        meta.get("generation"),
        str(meta.get("labels")),
        str(meta.get("annotations")),
        meta.get("deletionTimestamp"),
    )


def _watch(operator: Operator, kind: str, react: Callable[[str, Object], None]) -> None:
    seen: Dict[str, tuple] = {}
    for event in operator.kube.watch(STRIMZI, kind, operator.namespace):
        resource = event["object"]
        name = resource["metadata"]["name"]
        if event["type"] == "DELETED":
            seen.pop(name, None)
        elif seen.get(name) == _essence(resource):
            continue
        else:
            seen[name] = _essence(resource)
        react(event["type"], resource)


def _on_kafka(operator: Operator) -> Callable[[str, Object], None]:
    return lambda kind, resource: operator.kafka(resource["metadata"]["name"], kind) if kind != "DELETED" else None


def _on_pool(operator: Operator) -> Callable[[str, Object], None]:
    def react(kind: str, resource: Object) -> None:
        if _cluster(resource):
            operator.kafka(_cluster(resource), f"pool {kind}")

    return react


def _on_connect(operator: Operator) -> Callable[[str, Object], None]:
    # A deleted cluster's pods go with their owner; its connectors learn that it is gone.
    return lambda kind, resource: operator.connect(resource["metadata"]["name"], kind)


def _on_connector(operator: Operator) -> Callable[[str, Object], None]:
    def react(kind: str, resource: Object) -> None:
        name, cluster = resource["metadata"]["name"], _cluster(resource)
        if not cluster:
            return
        if kind == "DELETED":
            operator.forget_connector(name, cluster)
        else:
            operator.connector(name, cluster, kind)

    return react


def _timer(operator: Operator, stop: threading.Event) -> None:
    while not stop.wait(operator.interval):
        for kind, again in (("Kafka", operator.kafka), ("KafkaConnect", operator.connect)):
            try:
                for resource in operator.kube.list(STRIMZI, kind, operator.namespace):
                    again(resource["metadata"]["name"], "timer")
            except (ApiError, OSError) as error:
                log(f"timer: {error}")


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    operator = Operator()
    health.serve(8080)
    log(f"stand-in for the cluster operator in {operator.namespace}: timer {operator.interval} s, timeout {operator.timeout} s")
    leader = Leader(operator.kube)
    if not leader.wait(stop):
        return
    thread(podset.run, operator.kube, operator.namespace)
    for kind, react in (
        ("Kafka", _on_kafka),
        ("KafkaNodePool", _on_pool),
        ("KafkaConnect", _on_connect),
        ("KafkaConnector", _on_connector),
    ):
        thread(_watch, operator, kind, react(operator))
    thread(_timer, operator, stop)
    stop.wait()
    leader.release()


if __name__ == "__main__":
    main()

"""KafkaConnector: what Strimzi 1.2.0 tells Connect to do, and what it then says about it.

Its `Ready` means that Connect accepted the configuration and had no failed task at that instant. It is not looked
at again before the next change or timer.
"""

import json
import time
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional

from connect_rest import Connect, Rest, Unreachable
from kube import STRIMZI, Object, condition, log, now

RESTART = "strimzi.io/restart"
RESTART_TASK = "strimzi.io/restart-task"
OFFSETS = "strimzi.io/connector-offsets"
CLASS = "io.strimzi.operator.cluster.operator.assembly.ConnectRestException"


def refuse(operator: Any, resource: Object, reason: str, message: str, tasks: Optional[int] = None) -> None:
    """NotReady, and nothing of Connect's own status."""
    status = {
        "conditions": [condition("NotReady", reason, message)],
        "observedGeneration": resource["metadata"]["generation"],
        "tasksMax": resource["spec"].get("tasksMax", 1) if tasks is None else tasks,
    }
    _write(operator, resource, status)


def _write(operator: Any, resource: Object, status: Object) -> None:
    operator.kube.set_status(STRIMZI, "KafkaConnector", operator.namespace, resource["metadata"]["name"], status)


def reconcile(operator: Any, api: Connect, resource: Object) -> None:
    try:
        _Connector(operator, api, resource).reconcile()
    except Unreachable:
        refuse(operator, resource, "ConnectException", "")
    except Rest as error:
        # 1.2.0 passes on what it caught.
        refuse(operator, resource, "CompletionException", f"{CLASS}: {error}")


class _Connector:
    def __init__(self, operator: Any, api: Connect, resource: Object) -> None:
        self.operator, self.api, self.resource = operator, api, resource
        self.name, self.spec = resource["metadata"]["name"], resource["spec"]
        self.annotations: Dict[str, str] = resource["metadata"].get("annotations") or {}
        self.path = f"/connectors/{self.name}"
        self.warnings: List[Object] = []
        self.restarts: Optional[Object] = (resource.get("status") or {}).get("autoRestart")

    def reconcile(self) -> None:
        wanted = self._wanted()
        found = self.api.find(f"{self.path}/config")
        if found is None:
            log(f"connector {self.name}: created")
            # One that is to be paused or stopped never runs before.
            state = {"initial_state": self.spec.get("state", "running").upper()}
            self.api.ask("POST", "/connectors", {"name": self.name, "config": wanted, **state})
        elif found != wanted:
            log(f"connector {self.name}: configuration")
            self.api.ask("PUT", f"{self.path}/config", wanted)
        status = self._state(self._status())
        status = self._auto_restart(status)
        status = self._manual_restart(status)
        self._offsets()
        topics = self.api.ask("GET", f"{self.path}/topics").get(self.name, {}).get("topics", [])
        self._report(status, topics)

    def _wanted(self) -> Dict[str, str]:
        config = {key: _text(value) for key, value in (self.spec.get("config") or {}).items()}
        config.update({"name": self.name, "connector.class": self.spec["class"]})
        config["tasks.max"] = str(self.spec.get("tasksMax", 1))
        return config

    def _status(self) -> Object:
        """A new connector has none for a moment."""
        for _ in range(100):
            status = self.api.find(f"{self.path}/status")
            if status is not None:
                return status
            time.sleep(0.1)
        raise Rest("GET", f"{self.path}/status", 404, f"No status found for connector {self.name}")

    def _state(self, status: Object) -> Object:
        wanted, state = self.spec.get("state", "running"), status["connector"]["state"]
        verb = {
            ("running", "PAUSED"): "resume",
            ("running", "STOPPED"): "resume",
            ("paused", "RUNNING"): "pause",
            ("stopped", "RUNNING"): "stop",
            ("stopped", "PAUSED"): "stop",
            ("stopped", "FAILED"): "stop",
        }.get((wanted, state))
        if verb is None:
            return status
        self.api.ask("PUT", f"{self.path}/{verb}")
        target = {"resume": "RUNNING", "pause": "PAUSED", "stop": "STOPPED"}[verb]
        for _ in range(30):
            status = self._status()
            if status["connector"]["state"] == target and (verb != "stop" or not status["tasks"]):
                return status
            time.sleep(0.1)
        return status

    def _auto_restart(self, status: Object) -> Object:
        settings = self.spec.get("autoRestart") or {}
        if not settings.get("enabled"):
            self.restarts = None
            return status
        count = (self.restarts or {}).get("count", 0)
        rest = _minutes_since((self.restarts or {}).get("lastRestartTimestamp"))
        backoff = count * count + count  # minutes
        if not _failed(status):
            if self.restarts and rest > backoff:
                self.restarts = None
            return status
        most = settings.get("maxRestarts")
        if (most is not None and count >= most) or (count and rest < min(backoff, 60)):
            self.restarts = None if not count else self.restarts
            return status
        log(f"connector {self.name}: automatic restart {count + 1}")
        self.restarts = {"count": count + 1, "lastRestartTimestamp": now()}
        answer = self.api.ask("POST", f"{self.path}/restart?includeTasks=true&onlyFailed=true")
        return answer if answer.get("connector") else self._status()

    def _manual_restart(self, status: Object) -> Object:
        if RESTART in self.annotations:
            parts = [part.strip() for part in self.annotations[RESTART].split(",")]
            query = f"includeTasks={_text('includeTasks' in parts)}&onlyFailed={_text('onlyFailed' in parts)}"
            status = self._restart(RESTART, f"{self.path}/restart?{query}", "RestartConnector", status)
        if RESTART_TASK in self.annotations:
            task = self.annotations[RESTART_TASK]
            status = self._restart(RESTART_TASK, f"{self.path}/tasks/{task}/restart", "RestartConnectorTask", status)
        return status

    def _restart(self, annotation: str, path: str, reason: str, status: Object) -> Object:
        try:
            self.api.ask("POST", path)
        except Rest as error:
            self.warnings.append(condition("Warning", reason, str(error)))
            return status
        self._forget(annotation)
        return self._status()

    def _forget(self, annotation: str) -> None:
        patch = {"metadata": {"annotations": {annotation: None}}}
        self.operator.kube.merge(STRIMZI, "KafkaConnector", self.operator.namespace, self.name, patch)

    def _offsets(self) -> None:
        verb = self.annotations.get(OFFSETS)
        if verb not in ("list", "alter", "reset"):
            return
        reason, doing = {
            "list": ("ListOffsets", "listing"),
            "alter": ("AlterOffsets", "altering"),
            "reset": ("ResetOffsets", "resetting"),
        }[verb]
        try:
            {"list": self._list_offsets, "alter": self._alter_offsets, "reset": self._reset_offsets}[verb]()
        except (Rest, ValueError) as error:
            self.warnings.append(
                condition("Warning", reason, f"Encountered error {doing} connector offsets. {_short(error)}")
            )
        else:
            self._forget(OFFSETS)

    def _list_offsets(self) -> None:
        target = ((self.spec.get("listOffsets") or {}).get("toConfigMap") or {}).get("name")
        if not target:
            raise ValueError("Failed to list offsets: no listOffsets.toConfigMap in the resource")
        offsets = self.api.ask("GET", f"{self.path}/offsets")
        self.operator.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "namespace": self.operator.namespace,
                    "name": target,
                    "labels": {"strimzi.io/cluster": self.resource["metadata"]["labels"]["strimzi.io/cluster"]},
                },
                "data": {"offsets.json": json.dumps(offsets, indent=2)},
            }
        )

    def _alter_offsets(self) -> None:
        self._must_be_stopped()
        source = ((self.spec.get("alterOffsets") or {}).get("fromConfigMap") or {}).get("name", "")
        found = self.operator.kube.get("v1", "ConfigMap", self.operator.namespace, source) if source else None
        if found is None or "offsets.json" not in (found.get("data") or {}):
            raise ValueError(f"ConfigMap {source} with the key offsets.json does not exist")
        self.api.ask("PATCH", f"{self.path}/offsets", json.loads(found["data"]["offsets.json"]))

    def _reset_offsets(self) -> None:
        self._must_be_stopped()
        self.api.ask("DELETE", f"{self.path}/offsets")

    def _must_be_stopped(self) -> None:
        if self._status()["connector"]["state"] != "STOPPED":
            raise ValueError("Connector is not in STOPPED state")

    def _report(self, status: Object, topics: List[str]) -> None:
        failed = [str(task["id"]) for task in status["tasks"] if task["state"] == "FAILED"]
        if status["connector"]["state"] == "FAILED":
            ready = condition("NotReady", "Throwable", "The connector has failed, see connectorStatus for more details.")
        elif failed:
            message = f"The following tasks have failed: {', '.join(failed)}, see connectorStatus for more details."
            ready = condition("NotReady", "Throwable", message)
        else:
            ready = condition("Ready")
        made: Object = {
            "conditions": [ready, *self.warnings],
            "connectorStatus": status,
            "observedGeneration": self.resource["metadata"]["generation"],
            "tasksMax": self.spec.get("tasksMax", 1),
            "topics": topics,
        }
        if self.restarts:
            made["autoRestart"] = self.restarts
        _write(self.operator, self.resource, made)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _failed(status: Object) -> bool:
    return "FAILED" in [status["connector"]["state"], *(task["state"] for task in status["tasks"])]


def _short(error: Exception) -> str:
    return error.text if isinstance(error, Rest) else str(error)


def _minutes_since(stamp: Optional[str]) -> float:
    if not stamp:
        return 1e9
    then = datetime.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - then).total_seconds() / 60

"""A small Kubernetes client: what an operator in a pod needs, with Python's standard library only."""

import http.client
import json
import os
import ssl
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, Optional
from urllib.parse import quote, urlencode

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
MANAGER = "standin-operator"
PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Lease": "leases",
    "NetworkPolicy": "networkpolicies",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
    "ClickHouseInstallation": "clickhouseinstallations",
    "Kafka": "kafkas",
    "KafkaConnect": "kafkaconnects",
    "KafkaConnector": "kafkaconnectors",
    "KafkaNodePool": "kafkanodepools",
    "KafkaTopic": "kafkatopics",
    "KafkaUser": "kafkausers",
    "StrimziPodSet": "strimzipodsets",
}
STRIMZI = "kafka.strimzi.io/v1"
PODSET = "core.strimzi.io/v1"

Object = Dict[str, Any]


def log(*words: Any) -> None:
    print(time.strftime("%H:%M:%S", time.gmtime()), *words, flush=True)


class ApiError(Exception):
    """An answer of the API server that is not a success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def path(version: str, kind: str, namespace: Optional[str], name: str = "") -> str:
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{where}/{PLURALS[kind]}" + (f"/{name}" if name else "")


class Kube:
    """The API server, as this pod's service account."""

    def __init__(self) -> None:
        self.host = os.environ["KUBERNETES_SERVICE_HOST"]
        self.port = int(os.environ["KUBERNETES_SERVICE_PORT"])
        self.tls = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")

    def _open(self, method: str, target: str, body: Any, kind: str, timeout: float) -> http.client.HTTPResponse:
        """Asks again at 429 and 5xx as the real ones' client does (fabric8: ten times, 0.1 s and more)."""
        for attempt in range(10):
            try:
                return self._once(method, target, body, kind, timeout)
            except ApiError as error:
                if error.code != 429 and error.code < 500:
                    raise
            time.sleep(0.1 * 2 ** min(attempt, 5))
        return self._once(method, target, body, kind, timeout)

    def _once(self, method: str, target: str, body: Any, kind: str, timeout: float) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)
        with open(f"{ACCOUNT}/token", encoding="utf-8") as file:
            headers = {"Authorization": f"Bearer {file.read()}", "Accept": "application/json", "Content-Type": kind}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        if response.status >= 300:
            text = response.read().decode("utf-8", "replace")
            connection.close()
            try:
                text = json.loads(text)["message"]
            except (ValueError, KeyError):
                pass
            raise ApiError(response.status, text)
        return response

    def request(self, method: str, target: str, body: Any = None, kind: str = "application/json") -> Object:
        with self._open(method, target, body, kind, 30) as response:
            return json.loads(response.read())

    def get(self, version: str, kind: str, namespace: str, name: str) -> Optional[Object]:
        try:
            return self.request("GET", path(version, kind, namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, version: str, kind: str, namespace: Optional[str], **selector: str) -> List[Object]:
        query = "?" + urlencode({"labelSelector": ",".join(f"{k}={v}" for k, v in selector.items())}) if selector else ""
        return self.request("GET", path(version, kind, namespace) + query)["items"]

    def apply(self, wanted: Object) -> Object:
        """Server-side apply."""
        meta = wanted["metadata"]
        target = path(wanted["apiVersion"], wanted["kind"], meta["namespace"], meta["name"])
        return self.request(
            "PATCH", f"{target}?fieldManager={MANAGER}&force=true", wanted, "application/apply-patch+yaml"
        )

    def create(self, wanted: Object) -> Object:
        return self.request("POST", path(wanted["apiVersion"], wanted["kind"], wanted["metadata"]["namespace"]), wanted)

    def replace(self, wanted: Object) -> Object:
        """Refused where somebody else has changed it since."""
        meta = wanted["metadata"]
        return self.request("PUT", path(wanted["apiVersion"], wanted["kind"], meta["namespace"], meta["name"]), wanted)

    def merge(self, version: str, kind: str, namespace: str, name: str, patch: Object) -> Object:
        return self.request("PATCH", path(version, kind, namespace, name), patch, "application/merge-patch+json")

    def delete(self, version: str, kind: str, namespace: str, name: str) -> None:
        try:
            self.request("DELETE", path(version, kind, namespace, name))
        except ApiError as error:
            if error.code != 404:
                raise

    def set_status(self, version: str, kind: str, namespace: str, name: str, status: Object) -> None:
        """Replaces the whole status: what is not in it is gone."""
        for _ in range(5):
            current = self.get(version, kind, namespace, name)
            if current is None:
                return
            current["status"] = status
            try:
                self.request("PUT", path(version, kind, namespace, name) + "/status", current)
                return
            except ApiError as error:
                if error.code == 404:
                    return
                if error.code != 409:
                    raise

    def watch(self, version: str, kind: str, namespace: Optional[str], selector: str = "") -> Iterator[Object]:
        """Every object as ADDED, then its changes, for ever. After a lost watch everything is ADDED again."""
        base = path(version, kind, namespace)
        label = f"labelSelector={quote(selector)}&" if selector else ""
        while True:
            try:
                listed = self.request("GET", f"{base}?{label}")
                for item in listed["items"]:
                    yield {"type": "ADDED", "object": item}
                position = listed["metadata"]["resourceVersion"]
                target = f"{base}?{label}watch=1&resourceVersion={position}&timeoutSeconds=3000"
                with self._open("GET", target, None, "application/json", 3100) as stream:
                    for line in stream:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        yield event
            except (ApiError, OSError, http.client.HTTPException, ValueError) as error:
                log(f"watch of {kind}: {error}")
                time.sleep(1)


def owner(of: Object) -> List[Object]:
    return [
        {
            "apiVersion": of["apiVersion"],
            "kind": of["kind"],
            "name": of["metadata"]["name"],
            "uid": of["metadata"]["uid"],
            "controller": False,
            "blockOwnerDeletion": False,
        }
    ]


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 1_000_000_000:09d}Z"


def condition(kind: str, reason: str = "", message: str = "", status: str = "True") -> Object:
    made = {"lastTransitionTime": now(), "status": status, "type": kind}
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def pod_ready(pod: Optional[Object]) -> bool:
    conditions = (pod or {}).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def thread(work: Callable[..., Any], *args: Any) -> None:
    """A thread whose failure ends the process: a silent half of an operator would be no model of one."""

    def run() -> None:
        try:
            work(*args)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    threading.Thread(target=run, daemon=True).start()

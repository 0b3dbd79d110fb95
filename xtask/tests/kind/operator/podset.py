"""StrimziPodSets: pods that are there because a set names them, and rolled by whoever changed the set."""

import hashlib
import json
import threading
import time
from typing import Dict, List, Optional

from kube import PODSET, ApiError, Kube, Object, log, owner, pod_ready

REVISION = "strimzi.io/revision"
MANUAL = "strimzi.io/manual-rolling-update"


class NotReadyInTime(Exception):
    """A pod was not ready within the operation's time."""


def revised(pod: Object) -> Object:
    """The pod with the revision that its specification has."""
    text = json.dumps([pod["spec"], pod["metadata"].get("annotations")], sort_keys=True)
    pod["metadata"].setdefault("annotations", {})[REVISION] = hashlib.sha256(text.encode()).hexdigest()[:8]
    return pod


def apply(kube: Kube, of: Object, name: str, labels: Dict[str, str], pods: List[Object]) -> Object:
    """Writes the set. Its pods are made by `run`."""
    wanted = {
        "apiVersion": PODSET,
        "kind": "StrimziPodSet",
        "metadata": {"namespace": of["metadata"]["namespace"], "name": name, "labels": labels, "ownerReferences": owner(of)},
        "spec": {"selector": {"matchLabels": selector(labels)}, "pods": pods},
    }
    return kube.apply(wanted)


def selector(labels: Dict[str, str]) -> Dict[str, str]:
    keys = ("strimzi.io/cluster", "strimzi.io/kind", "strimzi.io/name", "strimzi.io/pool-name")
    return {key: labels[key] for key in keys if key in labels}


def roll(kube: Kube, pods: List[Object], timeout: float) -> None:
    """Replaces the pods that are not what they should be, or that somebody wants replaced, one after the other, and
    waits for each to be ready."""
    sets = {(pod["metadata"]["namespace"], pod["metadata"]["labels"]["strimzi.io/controller-name"]) for pod in pods}
    marked = {place for place in sets if _marked(kube.get(PODSET, "StrimziPodSet", *place))}
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        deadline = time.monotonic() + timeout
        wanted = pod["metadata"]["annotations"][REVISION]
        before = kube.get("v1", "Pod", namespace, name)
        whole = (namespace, pod["metadata"]["labels"]["strimzi.io/controller-name"]) in marked
        old = before["metadata"]["uid"] if before is not None and (whole or _marked(before)) else None
        asked = False
        while True:
            current = kube.get("v1", "Pod", namespace, name)
            if current is not None and not current["metadata"].get("deletionTimestamp"):
                right = current["metadata"].get("annotations", {}).get(REVISION) == wanted
                if right and current["metadata"]["uid"] != old:
                    if pod_ready(current):
                        break
                elif not asked:
                    log(f"rolling pod {name}")
                    kube.delete("v1", "Pod", namespace, name)
                    asked = True
            if time.monotonic() > deadline:
                raise NotReadyInTime(
                    f"Exceeded timeout of {int(timeout * 1000)}ms while waiting for Pods resource {name} "
                    f"in namespace {namespace} to be ready"
                )
            time.sleep(0.2)
    for namespace, name in marked:
        kube.merge(PODSET, "StrimziPodSet", namespace, name, {"metadata": {"annotations": {MANUAL: None}}})


def _marked(found: Optional[Object]) -> bool:
    return found is not None and found["metadata"].get("annotations", {}).get(MANUAL) == "true"


class _Sets:
    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace
        self._lock = threading.Lock()

    def converge(self, name: str) -> None:
        try:
            self._converge(name)
        except (ApiError, OSError) as error:
            log(f"pod set {name}: {error}")  # the watches begin anew too, and bring us here again

    def _converge(self, name: str) -> None:
        with self._lock:
            current = self.kube.get(PODSET, "StrimziPodSet", self.namespace, name)
            if current is None or current["metadata"].get("deletionTimestamp"):
                return
            self._pods(current)

    def _pods(self, current: Object) -> None:
        wanted = {pod["metadata"]["name"]: pod for pod in current["spec"]["pods"]}
        there = {
            pod["metadata"]["name"]: pod
            for pod in self.kube.list("v1", "Pod", self.namespace, **current["spec"]["selector"]["matchLabels"])
        }
        for name, pod in there.items():
            if name not in wanted and not pod["metadata"].get("deletionTimestamp"):
                self.kube.delete("v1", "Pod", self.namespace, name)
        for name, pod in wanted.items():
            found = there.get(name)
            if found is not None and found["status"].get("phase") in ("Failed", "Succeeded"):
                self.kube.delete("v1", "Pod", self.namespace, name)
            elif found is None:
                made = json.loads(json.dumps(pod))
                made["metadata"]["ownerReferences"] = owner(current)
                try:
                    self.kube.create(made)
                except ApiError as error:
                    if error.code != 409:  # it is still being deleted: its DELETED event brings us here again
                        log(f"pod {name}: {error}")
        status = {
            "observedGeneration": current["metadata"]["generation"],
            "pods": len(wanted),
            "readyPods": sum(pod_ready(there.get(name)) for name in wanted),
            "currentPods": sum(
                there[name]["metadata"].get("annotations", {}).get(REVISION) == pod["metadata"]["annotations"][REVISION]
                for name, pod in wanted.items()
                if name in there
            ),
        }
        if current.get("status") != status:
            self.kube.set_status(PODSET, "StrimziPodSet", self.namespace, current["metadata"]["name"], status)


def run(kube: Kube, namespace: str) -> None:
    """Keeps every set's pods there, for ever."""
    sets = _Sets(kube, namespace)

    def pods() -> None:
        for event in kube.watch("v1", "Pod", namespace, "strimzi.io/controller=strimzipodset"):
            sets.converge(event["object"]["metadata"]["labels"]["strimzi.io/controller-name"])

    threading.Thread(target=pods, daemon=True).start()
    for event in kube.watch(PODSET, "StrimziPodSet", namespace):
        if event["type"] != "DELETED":
            sets.converge(event["object"]["metadata"]["name"])

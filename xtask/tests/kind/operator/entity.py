"""The entity operator: a Deployment of its own, so that topics hang when it goes before them."""

import os
import time
from typing import Any

import podset
from kafka import labels
from kube import Object, owner

RBAC = "rbac.authorization.k8s.io"


def deploy(operator: Any, cluster: Object) -> None:
    """Applies it and waits until it is available."""
    kube, namespace = operator.kube, operator.namespace
    name = cluster["metadata"]["name"]
    entity = f"{name}-entity-operator"
    own = labels(name, "Kafka", entity, "entity-operator")

    def meta(called: str) -> Object:
        return {"namespace": namespace, "name": called, "labels": own, "ownerReferences": owner(cluster)}

    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(entity)})
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "strimzi-entity-operator"}
    for part in ("topic", "user"):
        kube.apply(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": meta(f"{name}-entity-{part}-operator-role"),
                "subjects": [{"kind": "ServiceAccount", "name": entity, "namespace": namespace}],
                "roleRef": role,
            }
        )
    settings = cluster["spec"]["entityOperator"]
    image = os.environ.get("STRIMZI_DEFAULT_TOPIC_OPERATOR_IMAGE", "quay.io/strimzi/operator:1.2.0")
    containers = [
        _container(part, image, port, name, settings.get(f"{part}Operator") or {})
        for part, port in (("topic", 8080), ("user", 8081))
        if f"{part}Operator" in settings
    ]
    if not containers:
        return
    of_pod = settings.get("template") or {}
    for container in containers:
        part = container["name"].split("-")[0]
        context = (of_pod.get(f"{part}OperatorContainer") or {}).get("securityContext")
        if context:
            container["securityContext"] = context
    template = {
        "metadata": {"labels": own},
        "spec": {
            "serviceAccountName": entity,
            "containers": containers,
            "securityContext": (of_pod.get("pod") or {}).get("securityContext") or {},
        },
    }
    kube.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta(entity),
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": podset.selector(own)},
                "template": template,
            },
        }
    )
    deadline = time.monotonic() + operator.timeout
    while True:
        found = kube.get("apps/v1", "Deployment", namespace, entity)
        status = (found or {}).get("status", {})
        if found and status.get("observedGeneration", 0) >= found["metadata"]["generation"] and status.get("readyReplicas"):
            return
        if time.monotonic() > deadline:
            raise podset.NotReadyInTime(
                f"Exceeded timeout of {int(operator.timeout * 1000)}ms while waiting for Deployment resource {entity} "
                f"in namespace {namespace} to be ready"
            )
        time.sleep(0.2)


def _container(part: str, image: str, port: int, cluster: str, settings: Object) -> Object:
    ask = {"path": "/healthy", "port": port}
    return {
        "name": f"{part}-operator",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [f"/opt/strimzi/bin/{part}_operator_run.sh"],
        "env": [
            {"name": "STRIMZI_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "STRIMZI_RESOURCE_LABELS", "value": f"strimzi.io/cluster={cluster}"},
            {"name": "STRIMZI_KAFKA_BOOTSTRAP_SERVERS", "value": f"{cluster}-kafka-bootstrap:9091"},
        ],
        "ports": [{"containerPort": port, "name": "healthcheck"}],
        "livenessProbe": {"httpGet": ask, "initialDelaySeconds": 10, "timeoutSeconds": 5},
        "readinessProbe": {
            "initialDelaySeconds": 10,
            "timeoutSeconds": 5,
            **(settings.get("readinessProbe") or {}),
            "httpGet": {**ask, "path": "/ready"},
        },
        "resources": settings.get("resources") or {},
    }

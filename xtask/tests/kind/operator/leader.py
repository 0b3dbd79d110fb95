"""Leader election over a Lease, with the real one's times: 15 s to expire, renewed every 2 s, given up at the end."""

import os
import threading
import time
from datetime import datetime, timezone
from typing import Any, Optional

from kube import ApiError, Kube, Object, log, now, thread

LEASE = "coordination.k8s.io/v1"
DURATION, RETRY, RENEWED_WITHIN = 15, 2.0, 10.0


class Leader:
    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.name = os.environ["STRIMZI_LEADER_ELECTION_LEASE_NAME"]
        self.namespace = os.environ["STRIMZI_LEADER_ELECTION_LEASE_NAMESPACE"]
        self.identity = os.environ["STRIMZI_LEADER_ELECTION_IDENTITY"]
        self.lock, self.leads = threading.Lock(), False

    def wait(self, stop: threading.Event) -> bool:
        """Until this one leads; False when it is to end before."""
        log("INFO  Waiting to become a leader")
        while not self._renew():
            if stop.wait(RETRY):
                return False
        log("INFO  I'm the new leader")
        thread(self._keep)
        return True

    def release(self) -> None:
        with self.lock:
            self.leads = False
            lease = self._get()
            if lease is not None and lease["spec"].get("holderIdentity") == self.identity:
                lease["spec"].update({"holderIdentity": "", "leaseDurationSeconds": 1})
                self.kube.replace(lease)
        log("INFO  Stopped being a leader during a shutdown")

    def _keep(self) -> None:
        renewed = time.monotonic()
        while True:
            time.sleep(RETRY)
            if not self.leads:
                return
            if self._renew():
                renewed = time.monotonic()
            elif time.monotonic() - renewed > RENEWED_WITHIN:
                log("WARN  Stopped being a leader")
                os._exit(1)

    def _get(self) -> Optional[Object]:
        return self.kube.get(LEASE, "Lease", self.namespace, self.name)

    def _renew(self) -> bool:
        try:
            with self.lock:
                return self._try()
        except (ApiError, OSError) as error:
            log(f"lease {self.name}: {error}")
            return False

    def _try(self) -> bool:
        stamp = now()[:26] + "Z"
        spec: Any = {"holderIdentity": self.identity, "leaseDurationSeconds": DURATION, "renewTime": stamp}
        lease = self._get()
        if lease is None:
            meta = {"namespace": self.namespace, "name": self.name}
            self.kube.create({"apiVersion": LEASE, "kind": "Lease", "metadata": meta, "spec": {**spec, "acquireTime": stamp}})
        else:
            held = lease["spec"]
            if held.get("holderIdentity") not in ("", None, self.identity) and not _expired(held):
                return False
            if held.get("holderIdentity") != self.identity:
                spec["acquireTime"] = stamp
            lease["spec"] = {**held, **spec}
            self.kube.replace(lease)
        self.leads = True
        return True


def _expired(held: Object) -> bool:
    renewed = datetime.strptime(held["renewTime"][:26], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - renewed).total_seconds() > held.get("leaseDurationSeconds", DURATION)

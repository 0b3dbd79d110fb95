"""Kafka's own certificate authority, and the certificates that it signs: with openssl, in Strimzi's Secrets."""

import base64
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List

from kube import Object

DAYS = "365"


def ensure(kube: Any, cluster: str, meta: Any) -> Dict[str, str]:
    """The authority's key and certificate; made at the first call, kept in the Secrets of the real names."""
    names = (f"{cluster}-cluster-ca-cert", f"{cluster}-cluster-ca")
    found = [kube.get("v1", "Secret", meta("")["namespace"], name) for name in names]
    if all(found):
        return {"crt": _text(found[0], "ca.crt"), "key": _text(found[1], "ca.key")}
    with tempfile.TemporaryDirectory() as place:
        _openssl(place, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS, "-keyout", "ca.key", "-out", "ca.crt",
                 "-subj", "/O=io.strimzi/CN=cluster-ca v0")
        made = {"crt": Path(place, "ca.crt").read_text(), "key": Path(place, "ca.key").read_text()}
    # The key first: whoever sees the certificate finds the pair complete.
    _write(kube, meta(names[1]), {"ca.key": made["key"]})
    _write(kube, meta(names[0]), {"ca.crt": made["crt"]})
    return made


def ensure_server(kube: Any, authority: Dict[str, str], meta: Object, hosts: List[str]) -> None:
    """A server's key with its certificate, in one file as brokers read it."""
    current = kube.get("v1", "Secret", meta["namespace"], meta["name"])
    if current is not None and _text(current, "names") == ",".join(hosts):
        return
    with tempfile.TemporaryDirectory() as place:
        for name, text in (("ca.crt", authority["crt"]), ("ca.key", authority["key"]), ("ext", f"subjectAltName={','.join(hosts)}\n")):
            Path(place, name).write_text(text)
        _openssl(place, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "csr", "-subj", "/O=io.strimzi/CN=my-cluster-kafka")
        _openssl(place, "x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS,
                 "-extfile", "ext", "-out", "crt")
        store = Path(place, "key").read_text() + Path(place, "crt").read_text()
    _write(kube, meta, {"keystore.pem": store, "names": ",".join(hosts)})


def _openssl(place: str, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=place, check=True, capture_output=True)


def _text(secret: Object, key: str) -> str:
    return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()


def _write(kube: Any, meta: Object, texts: Dict[str, str]) -> None:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})

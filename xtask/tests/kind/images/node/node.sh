#!/bin/bash
# usage: node.sh FROM TO LABEL IMAGE...   the Kind node image FROM with the images in its containerd, as TO.
# A test's cluster then has every image at once, and pulls nothing.
set -euo pipefail
from=$1 to=$2 label=$3; shift 3
here=$(cd "$(dirname "$0")" && pwd)
name=cdc-test-node-$$
docker run -d --privileged --security-opt seccomp=unconfined --entrypoint sleep --name $name "$from" infinity >/dev/null
trap 'docker rm -f $name >/dev/null' EXIT
docker exec $name mkdir -p /kind/registry /etc/containerd/certs.d/_default
docker cp -q "$here/registry.py" $name:/kind/registry/ 2>/dev/null || docker cp "$here/registry.py" $name:/kind/registry/
docker cp "$here/registry.service" $name:/etc/systemd/system/
docker cp "$here/services.service" $name:/etc/systemd/system/
docker cp "$here/hosts.toml" $name:/etc/containerd/certs.d/_default/
docker exec $name sh -ec 'systemctl enable registry.service services.service 2>/dev/null
  grep -q certs.d /etc/containerd/config.toml || printf "\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n" >> /etc/containerd/config.toml'
docker exec -d $name containerd
for _ in $(seq 100); do docker exec $name ctr version >/dev/null 2>&1 && break; sleep 0.1; done
docker save "$@" | docker exec -i $name ctr --namespace k8s.io images import --all-platforms --no-unpack --digests - >/dev/null
docker exec $name sh -ec 'ctr --namespace k8s.io images ls | while read -r ref kind digest rest; do
    case $ref in *@*|sha256:*|REF) ;; *) printf "%s %s\n" "${ref#*/}" "$digest";; esac; done \
  | jq -Rn "[inputs | split(\" \") | {(.[0]): .[1]}] | add" > /kind/registry/index.json
  kill $(pidof containerd); while pidof containerd >/dev/null; do sleep 0.1; done; rm -rf /run/containerd /var/log/*'
docker commit --change "LABEL cdc-xtask.test/inputs=$label" --change 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' $name "$to" >/dev/null

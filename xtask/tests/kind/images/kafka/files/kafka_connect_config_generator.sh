#!/bin/bash
# The worker's configuration on stdout: what the operator mounts, completed with the pod's name.
set -e
sed "s|@POD@|$(hostname)|" /opt/kafka/custom-config/kafka-connect.properties

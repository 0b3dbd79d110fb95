#!/bin/bash
# A Connect worker: the operator mounts its configuration, the pod's name completes it.
set -e
sed "s|@POD@|$(hostname)|" /opt/kafka/custom-config/kafka-connect.properties > /tmp/strimzi-connect.properties
exec /opt/kafka/bin/kafka-run-class.sh org.apache.kafka.connect.cli.ConnectDistributed /tmp/strimzi-connect.properties

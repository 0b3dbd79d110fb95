#!/bin/bash
# A Connect worker: the configuration that the operator mounts, completed with the pod's name.
set -e
sed "s|@POD@|$(hostname)|" /opt/kafka/custom-config/kafka-connect.properties > /tmp/strimzi-connect.properties
export KAFKA_OPTS="$KAFKA_OPTS $STRIMZI_JAVA_SYSTEM_PROPERTIES"
exec /opt/kafka/bin/kafka-run-class.sh org.apache.kafka.connect.cli.ConnectDistributed /tmp/strimzi-connect.properties

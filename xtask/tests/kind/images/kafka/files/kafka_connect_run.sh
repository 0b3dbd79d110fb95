#!/bin/bash
# A Connect worker.
set -e
/opt/kafka/kafka_connect_config_generator.sh > /tmp/strimzi-connect.properties
exec /opt/kafka/bin/kafka-run-class.sh org.apache.kafka.connect.cli.ConnectDistributed /tmp/strimzi-connect.properties

#!/bin/bash
# A broker: its configuration and the cluster's id are mounted by the operator.
set -e
config=/opt/kafka/custom-config/server.config
if [ ! -e /var/lib/kafka/data-0/kafka-log0/meta.properties ]; then
  KAFKA_OPTS=-XX:TieredStopAtLevel=1 /opt/kafka/bin/kafka-run-class.sh kafka.tools.StorageTool format \
    --ignore-formatted --cluster-id "$(cat /opt/kafka/custom-config/cluster.id)" --config $config
fi
export KAFKA_OPTS="-XX:TieredStopAtLevel=1 $KAFKA_OPTS"
exec /opt/kafka/bin/kafka-run-class.sh kafka.Kafka $config

#!/bin/bash
# A class of Kafka with the heap that KAFKA_HEAP_OPTS or the container's memory allow.
source /opt/kafka/set_kafka_gc_options.sh
source /opt/kafka/set_kafka_jmx_options.sh
exec java ${KAFKA_HEAP_OPTS:--Xms64m -Xmx$(/opt/kafka/dynamic_resources.sh)m} $KAFKA_GC_OPTS $KAFKA_JMX_OPTS -XX:-UsePerfData \
  -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
  -Dlog4j2.configurationFile="${KAFKA_LOG4J:-/opt/kafka/config/log4j2.properties}" \
  $KAFKA_OPTS -cp "/opt/kafka/libs/*" "$@"

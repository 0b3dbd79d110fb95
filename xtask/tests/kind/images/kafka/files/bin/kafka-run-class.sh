#!/bin/bash
# A class of Kafka with the heap that STRIMZI_DYNAMIC_HEAP_PERCENTAGE or KAFKA_HEAP_OPTS allow. At most 512 MiB: the
# clusters of the tests share one machine.
limit=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -1)
heap=512
if [[ $limit =~ ^[0-9]+$ ]] && (( limit < 1 << 50 )); then
  share=$(( limit / 1048576 * ${STRIMZI_DYNAMIC_HEAP_PERCENTAGE:-50} / 100 ))
  (( share < heap )) && heap=$share
fi
exec java ${KAFKA_HEAP_OPTS:--Xms64m -Xmx${heap}m} -XX:+UseSerialGC -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError \
  -Djava.awt.headless=true -Dlog4j2.configurationFile="${KAFKA_LOG4J:-/opt/kafka/config/log4j2.properties}" \
  $KAFKA_OPTS -cp "/opt/kafka/libs/*" "$@"

#!/bin/bash
# The heap in MiB that STRIMZI_DYNAMIC_HEAP_PERCENTAGE of the container's memory makes, on stdout. At most 512: the
# clusters of the tests share one machine.
limit=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -1)
heap=512
if [[ $limit =~ ^[0-9]+$ ]] && (( limit < 1 << 50 )); then
  share=$(( limit / 1048576 * ${STRIMZI_DYNAMIC_HEAP_PERCENTAGE:-50} / 100 ))
  (( share < heap )) && heap=$share
fi
echo "$heap"

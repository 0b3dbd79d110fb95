#!/bin/bash
# Sourced: the collector that needs the fewest threads.
export KAFKA_GC_OPTS=-XX:+UseSerialGC

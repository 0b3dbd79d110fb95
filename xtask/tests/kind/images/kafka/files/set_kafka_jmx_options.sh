#!/bin/bash
# Sourced: no JMX port is opened here.
export KAFKA_JMX_OPTS=

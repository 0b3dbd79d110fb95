#!/bin/bash
# The replication listener answers once the broker has joined the cluster.
exec 3<>/dev/tcp/127.0.0.1/9091

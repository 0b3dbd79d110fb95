#!/bin/bash
# As the real one with KRaft: who is not ready yet, since names do not resolve after a node's restart, is alive.
for process in /proc/[0-9]*; do
  case $(readlink "$process/exe") in
    */java) exit 0 ;;
  esac
done
exit 1

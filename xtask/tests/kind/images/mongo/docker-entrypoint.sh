#!/bin/bash
# As the official image's: options alone are for mongod, which by default listens on every address.
set -e
[ "${1:0:1}" = - ] && set -- mongod "$@"
if [ "$1" = mongod ] && [[ " $* " != *" --bind_ip"* ]]; then
  set -- "$@" --bind_ip_all
fi
exec "$@"

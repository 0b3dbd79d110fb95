#!/bin/bash
# usage: base.sh DIR    the root file system that every locally built image shares, from Debian's packages.
# Needs root and debootstrap. DIR is made anew.
set -euo pipefail
out=$1
rm -rf "$out"
debootstrap --variant=minbase \
  --include=openjdk-17-jre-headless,python3,procps,libpq5,libreadline8 bookworm "$out" >&2
# psql and pg_isready alone: the package would bring Perl.
chroot "$out" sh -ec 'apt-get -qq update; cd /tmp; apt-get -qq -o APT::Sandbox::User=root download postgresql-client-15
  dpkg -x postgresql-client-15_*.deb x; cp x/usr/lib/postgresql/15/bin/psql x/usr/lib/postgresql/15/bin/pg_isready /usr/local/bin/; rm -rf /tmp/*' >&2
cd "$out"
rm -rf var/cache/apt/* var/lib/apt/lists/* var/cache/debconf/* var/log/* \
  usr/share/doc/* usr/share/man/* usr/share/locale/* usr/share/info \
  usr/lib/jvm/java-17-openjdk-amd64/lib/server/classes_nocoops.jsa usr/lib/jvm/java-17-openjdk-amd64/lib/ct.sym

#!/bin/bash
# usage: build.sh DIR    libs/ and classes/ of the server behind mongod.py: mongo-java-server 1.47.0 (BSD-3) with a patch.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) out=$1
mkdir -p "$out/libs" "$out/src" "$out/classes"
mvn -B -q -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory="$out/libs"
mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
  -Dartifact=de.bwaldvogel:mongo-java-server-core:1.47.0:jar:sources -DoutputDirectory="$out/src"
(cd "$out/src" && unzip -qo ./*-sources.jar && patch -s -p0 < "$here/replica-set.patch")
changed=$(grep -oE '^--- [^ 	]+' "$here/replica-set.patch" | sed "s|^--- |$out/src/|")
javac -nowarn -Xlint:none --release 17 -cp "$out/libs/*" -d "$out/classes" $changed "$here/MongoMain.java"
rm -rf "$out/src"

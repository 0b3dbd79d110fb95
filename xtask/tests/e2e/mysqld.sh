#!/usr/bin/env bash
# mysqld.sh DIR: a genuine MySQL server as DIR/mysqld, from Debian unstable (stable releases have MariaDB), with its own
# libraries and loader beside it. debootstrap checks Debian's signatures. As root; 560 MB.
set -euo pipefail
dir=$1
new=$dir.new
rm -rf "$new" "$dir"
mkdir -p "$new"
debootstrap --variant=minbase --include=mysql-server-core sid "$new/root" >"$new/log" 2>&1 ||
  { tail -5 "$new/log" >&2; exit 1; }
root=$dir/root/usr
cat >"$new/mysqld" <<END
#!/bin/sh
exec $root/lib64/ld-linux-x86-64.so.2 --library-path $root/lib/x86_64-linux-gnu $root/sbin/mysqld "\$@" \\
  --basedir=$root --lc-messages-dir=$root/share/mysql
END
chmod 755 "$new" "$new/mysqld"
mv "$new" "$dir"

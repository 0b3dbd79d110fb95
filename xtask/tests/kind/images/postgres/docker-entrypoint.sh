#!/bin/bash
# What the official image's entrypoint does, as far as the product uses it.
set -Eeo pipefail
[ "${1:0:1}" = '-' ] && set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"
file_env() { # NAME: the value of NAME, or what is in the file that NAME_FILE names
  local file=${1}_FILE
  [ -n "${!1}" ] && [ -n "${!file}" ] && { echo "error: both $1 and $file are set (but are exclusive)" >&2; exit 1; }
  [ -n "${!file}" ] && export "$1"="$(< "${!file}")"
  unset "$file"
}
file_env POSTGRES_PASSWORD; file_env POSTGRES_USER; file_env POSTGRES_DB
: "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"; chown -R 999:999 "$PGDATA"; chmod 0700 "$PGDATA"
  exec setpriv --reuid=999 --regid=999 --clear-groups "$BASH_SOURCE" "$@"
fi
mkdir -p "$PGDATA"; chmod 0700 "$PGDATA" 2>/dev/null || true
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    echo "Error: Database is uninitialized and superuser password is not specified." >&2; exit 1
  fi
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 --auth-local=trust
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"
  printf 'host replication all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -w -o "-c listen_addresses= -c unix_socket_directories=/var/run/postgresql" start
  run() { psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc -h /var/run/postgresql -U "$POSTGRES_USER" "$@"; }
  [ "$POSTGRES_DB" = postgres ] || run -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) echo "running $file"; . "$file";;
      *.sql) echo "running $file"; run -d "$POSTGRES_DB" -f "$file";;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  echo 'PostgreSQL init process complete; ready for start up.'
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql

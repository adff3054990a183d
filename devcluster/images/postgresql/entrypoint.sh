#!/bin/sh
# Start PostgreSQL from the environment and the command line of the official image: POSTGRES_USER, POSTGRES_PASSWORD or
# POSTGRES_PASSWORD_FILE, POSTGRES_DB, POSTGRES_INITDB_ARGS and PGDATA. Scripts of /docker-entrypoint-initdb.d do not run.
set -eu

die() { printf '%s\n' "$*" >&2; exit 1; }

initialise() {
    password=${POSTGRES_PASSWORD:-}
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        password=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
    [ -n "$password" ] || die 'POSTGRES_PASSWORD, or a file named by POSTGRES_PASSWORD_FILE, must give a password'
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    printf '%s\n' "$password" |
        # The arguments are several words, as in the official image.
        # shellcheck disable=SC2086
        initdb --username="$user" --pwfile=/dev/stdin --auth-local=trust --auth-host=scram-sha-256 \
            ${POSTGRES_INITDB_ARGS:-}
    printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    printf "listen_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
    if [ "$database" != postgres ]; then
        quoted=$(printf '%s' "$database" | sed 's/"/""/g')
        # Without a server: nobody can connect before the database is there.
        printf 'CREATE DATABASE "%s"\n' "$quoted" | postgres --single -j postgres >/dev/null
    fi
}

export PGDATA="${PGDATA:-/var/lib/postgresql/data}"
case ${1:-postgres} in
    postgres) [ "$#" -eq 0 ] || shift ;;
    -*) ;;
    *) exec "$@" ;;
esac
[ -s "$PGDATA/PG_VERSION" ] || initialise
exec postgres "$@"

# Sourced by .ci/run: provides a PostgreSQL server and PgBouncer for the tests, and exports the server's address as
# TRANSFERKIT_TEST_POSTGRES. A server that is already named there is used. Otherwise it uses a running server, or
# installs the packages and starts one, which needs root or sudo.

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

postgres_answers() {
    [ -n "${1:-}" ] && command -v psql >/dev/null && psql --quiet --no-psqlrc -d "$1" -c 'SELECT 1' >/dev/null 2>&1
}

postgres_find() {
    local address
    for address in "${TRANSFERKIT_TEST_POSTGRES:-}" \
        "postgresql://postgres@/postgres?host=/var/run/postgresql" "postgresql://postgres@127.0.0.1:5432/postgres"; do
        if postgres_answers "$address"; then
            export TRANSFERKIT_TEST_POSTGRES=$address
            return 0
        fi
    done
    return 1
}

postgres_install() {
    local packages=()
    compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || packages+=(postgresql)
    command -v psql >/dev/null || packages+=(postgresql-client)
    [ -x /usr/sbin/pgbouncer ] || packages+=(pgbouncer)
    [ "${#packages[@]}" -ne 0 ] || return 0
    echo "installing ${packages[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
}

# Starts a server in a temporary folder. `postgres_stop` stops and removes it.
postgres_start() {
    local bin
    bin=$(compgen -G "/usr/lib/postgresql/*/bin" | sort -V | tail -n 1)
    postgres_folder=$(mktemp -d)
    chmod 755 "$postgres_folder"
    as_root chown postgres:postgres "$postgres_folder"
    as_root runuser -u postgres -- "$bin/initdb" -D "$postgres_folder/data" -U postgres -A trust -E UTF8 >/dev/null
    as_root runuser -u postgres -- "$bin/pg_ctl" -D "$postgres_folder/data" -w -l "$postgres_folder/log" \
        -o "-c listen_addresses= -c unix_socket_directories=$postgres_folder" start >/dev/null
    export TRANSFERKIT_TEST_POSTGRES="postgresql://postgres@/postgres?host=$postgres_folder"
}

postgres_stop() {
    [ -n "${postgres_folder:-}" ] || return 0
    as_root runuser -u postgres -- "$(compgen -G "/usr/lib/postgresql/*/bin" | sort -V | tail -n 1)/pg_ctl" \
        -D "$postgres_folder/data" -m immediate -w stop >/dev/null || true
    as_root rm -rf "$postgres_folder"
}

postgres_ready() {
    postgres_install
    postgres_find || postgres_start
    postgres_answers "$TRANSFERKIT_TEST_POSTGRES"
    echo "PostgreSQL: $(psql --no-psqlrc -d "$TRANSFERKIT_TEST_POSTGRES" -Atc 'SHOW server_version')"
}

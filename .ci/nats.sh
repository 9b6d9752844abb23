# Sourced by .ci/run: installs nats-server for the tests of the relay, if it is absent, which needs root or sudo. The
# tests start their own servers. Expects `as_root` of .ci/postgres.sh.

nats_ready() {
    if ! command -v nats-server >/dev/null && [ ! -x /usr/sbin/nats-server ]; then
        echo "installing nats-server"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nats-server >/dev/null
        # The package starts a server of its own, which no test uses.
        if command -v systemctl >/dev/null; then as_root systemctl stop nats-server >/dev/null 2>&1 || true; fi
    fi
    echo "NATS: $(PATH=$PATH:/usr/sbin nats-server --version)"
}

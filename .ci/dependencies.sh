#!/usr/bin/env bash
# Tests with the oldest releases that the pyproject.toml files allow: `bash .ci/dependencies.sh`. All other steps of CI
# use the newest releases. It runs only the tests that use the interfaces of dependencies.
# `bash .ci/dependencies.sh highest` runs the same tests with the newest releases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
resolution=${1:-lowest-direct}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset VIRTUAL_ENV PYTHONPATH PYTEST_ADDOPTS
export UV_NO_PROGRESS=1

uv venv --quiet --python 3.11 "$tmp/venv"
uv pip install --quiet --python "$tmp/venv" --resolution "$resolution" --group test \
    ".[cli,emulators,kafka,nats,otel,postgres,serve,servicebus]" ./adapters/microsoft ./adapters/graph ./adapters/acs ./adapters/asterisk
uv pip list --python "$tmp/venv" | grep -iE \
    '^(aiohttp|attrs|azure-|cattrs|cloudevents|confluent|cryptography|httpx|lazy|msal|nats|opentelemetry|psycopg|pyjwt|requests|rich|starlette|trustme|typer|uvicorn|websockets)'
python=$tmp/venv/bin/python
timeout --kill-after=30 420 "$python" -m pytest -q -p no:cacheprovider \
    adapters/microsoft/tests \
    adapters/graph/tests/test_graph_{auth,callbacks,emulator,submit,transport}.py \
    adapters/acs/tests/test_acs_{auth,callbacks,client,errors,sdk_client,submit}.py \
    adapters/asterisk/tests/test_asterisk_{callbacks,contract,gaps,settings,transfers}.py \
    tests/test_{codec,config}.py tests/cli/test_{app,serve,transfer}.py tests/provider/test_http.py tests/testing \
    tests/callbacks/test_{asgi,forged_callbacks,receiver,tokens}.py tests/stores/sqlite/test_sqlite_store.py tests/telemetry/test_{spans,metrics}.py tests/relay
# These are skipped if no PostgreSQL server runs.
timeout --kill-after=30 120 "$python" -m pytest -q -p no:cacheprovider -m heavy -k "not Proxy" tests/stores/test_postgres_store.py

#!/usr/bin/env bash
# Measures the lines and branches that the tests reach: `bash .ci/coverage.sh`. Fails if the core is below
# `fail_under` of pyproject.toml. The heavy tests run too, except those that kill processes, because a killed process
# writes no coverage data. Takes some minutes. Starts PostgreSQL as .ci/run does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
tmp=$(mktemp -d)
# shellcheck source=.ci/postgres.sh
source .ci/postgres.sh
trap 'postgres_stop; rm -rf "$tmp"' EXIT
unset VIRTUAL_ENV PYTHONPATH PYTEST_ADDOPTS UV_PROJECT_ENVIRONMENT
export UV_NO_PROGRESS=1 COVERAGE_FILE=$tmp/coverage

# shellcheck source=.ci/nats.sh
source .ci/nats.sh
postgres_ready
nats_ready
failed=0 # the report is printed also if a test fails
uv sync --group check --group examples
uv run coverage run -m pytest -q -p no:cacheprovider || failed=1
uv run coverage run -m pytest -q -p no:cacheprovider -m heavy --ignore tests/processes || failed=1
uv run coverage combine --quiet
uv run coverage report --include 'adapters/*' --fail-under 0
uv run coverage report || failed=1
exit "$failed"

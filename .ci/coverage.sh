#!/usr/bin/env bash
# Which lines and branches no test takes: `bash .ci/coverage.sh`. It fails if there is one in the core; what no
# test can take says why on its line. Takes some minutes, as the heavy tests are measured, too: all but those
# that kill processes, which leave nothing to count. Needs PostgreSQL, and brings it as .ci/run does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
tmp=$(mktemp -d)
# shellcheck source=.ci/postgres.sh
source .ci/postgres.sh
trap 'postgres_stop; rm -rf "$tmp"' EXIT
unset VIRTUAL_ENV PYTHONPATH PYTEST_ADDOPTS UV_PROJECT_ENVIRONMENT
export UV_NO_PROGRESS=1 COVERAGE_FILE=$tmp/coverage

postgres_ready
failed=0 # all is told, also when a test fails
uv sync --group check --group examples
uv run coverage run -m pytest -q -p no:cacheprovider || failed=1
uv run coverage run -m pytest -q -p no:cacheprovider -m heavy --ignore tests/processes || failed=1
uv run coverage combine --quiet
uv run coverage report --include 'adapters/*' --fail-under 0
uv run coverage report || failed=1
exit "$failed"

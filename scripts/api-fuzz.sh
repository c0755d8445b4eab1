#!/usr/bin/env bash
# Asks every call of the API what its own reference allows and what it forbids, with schemathesis, on a
# controller of its own: no 5xx, nothing that the reference does not say. The tests do the same for a short while.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -x .venv-api/bin/schemathesis ]; then
    echo "SKIP: .venv-api is not there (scripts/test-deps.sh makes it)"
    exit 0
fi
AGENTD_API_EXAMPLES="${AGENTD_API_EXAMPLES:-100}" AGENTD_API_SECONDS="${AGENTD_API_SECONDS:-1200}" \
    "${CARGO:-cargo}" test --locked -p e2e --test main reference:: -- --nocapture --test-threads 1

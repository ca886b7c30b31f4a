#!/usr/bin/env bash
# Runs a libp2p program of another language at an open door:
#
#     tests/interop/run.sh js|py WORK-DIR DOOR-ADDRESS OTHERS-BLOB...
#
# Its packages, in exactly the versions that are pinned beside it, go into WORK-DIR and never into the tree. Exits with the
# program's code, or with 77 if the language or its packages are missing here, for the reason on the last line.
set -euo pipefail
program=$1 work=$2/interop-$1
shift 2
cd "$(dirname "$0")/$program"
mkdir -p "$work"

skip() {
    echo "SKIPPED $program: $1"
    exit 77
}

# Whether WORK-DIR holds the packages that this list names.
installed() { cmp -s "$1" "$work/installed"; }

js() {
    command -v node >/dev/null && command -v npm >/dev/null || skip "node and npm are not installed"
    [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || skip "node 20 is the oldest that js-libp2p runs on"
    cp package.json package-lock.json *.mjs "$work"
    if ! installed package-lock.json; then
        timeout 300 npm ci --prefix "$work" --no-audit --no-fund --ignore-scripts --fetch-retries 1 >"$work/log" 2>&1 ||
            skip "npm cannot install its packages: $(grep -m 1 error "$work/log")"
        cp package-lock.json "$work/installed"
    fi
    run=(node "$work/door.mjs")
}

py() {
    command -v python3 >/dev/null || skip "python3 is not installed"
    if ! installed requirements.txt; then
        python3 -m venv --clear "$work/venv" >"$work/log" 2>&1 || skip "python3-venv is not installed"
        timeout 540 "$work/venv/bin/pip" install --retries 1 --requirement requirements.txt >"$work/log" 2>&1 ||
            skip "pip cannot install its packages: $(tail -n 1 "$work/log")"
        cp requirements.txt "$work/installed"
    fi
    run=("$work/venv/bin/python" door.py)
}

# One at a time installs; whoever waited finds everything there.
exec 9>"$work/lock"
flock 9
"$program"
exec 9>&-
exec timeout 120 "${run[@]}" "$@"

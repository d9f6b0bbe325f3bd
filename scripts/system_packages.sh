#!/bin/sh
# Checks what the operating system must provide, and installs it from Debian's packages where we
# are root. PostgreSQL is for the tests alone: without it, those that need it are skipped.
# Usage: scripts/system_packages.sh PYTHON
set -eu
python=${1:-python3}
missing=""

if ! command -v "$python" >/dev/null 2>&1; then
    missing="$missing python3 python3-venv"
elif ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="$missing python3-venv"
fi
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
command -v npm >/dev/null 2>&1 || missing="$missing npm"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: Debian packages:$missing"
        apt-get update -qq
        # shellcheck disable=SC2086  # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        echo "setup: please install:$missing (for instance: sudo apt-get install$missing)" >&2
        exit 1
    fi
fi

if ! command -v initdb >/dev/null 2>&1 && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: Debian package: postgresql"
        # The tests start servers of their own; one of the system's would only be in the way.
        mkdir -p /etc/postgresql-common
        [ -e /etc/postgresql-common/createcluster.conf ] ||
            echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
        apt-get update -qq || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            -o Dpkg::Options::=--force-confold postgresql >/dev/null ||
            echo "setup: no PostgreSQL could be installed; its tests will be skipped" >&2
    else
        echo "setup: no PostgreSQL here, so its tests will be skipped (to have them: sudo apt-get install postgresql)" >&2
    fi
fi

"$python" - <<'PY'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"setup: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
PY
major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
if [ "$major" -lt 20 ]; then
    echo "setup: Node.js 20 or newer is needed, this is $(node --version)" >&2
    exit 1
fi

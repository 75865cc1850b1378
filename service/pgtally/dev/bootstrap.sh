#!/bin/sh
# Installs what `make run` (argument run) or `make test` (argument test) needs and this machine
# lacks: PostgreSQL >= 15 with pg_cron and hll, the pinned Python packages in .venv and, for the
# tests, Chromium. Does nothing, in a fraction of a second, when all is there.
set -eu
cd "$(dirname "$0")/../../.."
want=$1

fail() {
  echo "pgtally: $1" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this needs root or sudo. As root, run: $*"
  fi
}

apt_install() {
  command -v apt-get >/dev/null || fail "please install: $* (this is neither Debian nor Ubuntu)"
  echo "installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" \
    >/dev/null || fail "installing failed. As root, run: apt-get install $*"
}

find_python() {
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null &&
      "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
}

python_packages() {
  lock=requirements.lock
  [ "$want" = test ] && lock=requirements-dev.lock
  stamp=$(cat requirements.lock requirements-demo.lock "$lock" pyproject.toml | cksum)
  if [ -x .venv/bin/pgtally ] && grep -qsxF "$stamp" ".venv/$want.stamp"; then
    return
  fi
  python=$(find_python)
  if [ -z "$python" ]; then
    apt_update
    apt_install python3 python3-venv
    python=$(find_python)
    [ -n "$python" ] || fail "Python 3.11 or newer is needed; this system's packages are older"
  fi
  if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    rm -rf .venv
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
      apt_update
      apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    "$python" -m venv .venv
  fi
  echo "installing the Python packages of $lock"
  pip=".venv/bin/python -m pip --quiet --disable-pip-version-check install --no-deps"
  $pip --require-hashes -r "$lock"
  $pip --require-hashes --no-build-isolation -r requirements-demo.lock
  $pip --no-build-isolation --editable .
  echo "$stamp" >".venv/$want.stamp"
}

apt_update() {
  command -v apt-get >/dev/null || return 0
  echo "updating the list of packages"
  as_root apt-get update -qq || fail "apt-get update failed"
}

# The tests also check every function with plpgsql_check.
has_postgres() {
  .venv/bin/python - "$want" 2>/dev/null <<'END'
import sys
from pgtally.dev.cluster import EXTENSIONS, find_binaries
find_binaries((*EXTENSIONS, "plpgsql_check") if sys.argv[1] == "test" else EXTENSIONS)
END
}

postgres_packages() {
  for version in 19 18 17 16 15; do
    wanted="postgresql-$version postgresql-$version-cron postgresql-$version-hll"
    [ "$want" = test ] && wanted="$wanted postgresql-$version-plpgsql-check"
    # shellcheck disable=SC2086
    if [ "$(LC_ALL=C apt-cache policy $wanted 2>/dev/null | grep -c 'Candidate: [0-9]')" = \
      "$(echo "$wanted" | wc -w)" ]; then
      echo "$wanted"
      return
    fi
  done
}

postgres() {
  if has_postgres; then
    return
  fi
  command -v apt-get >/dev/null ||
    fail "please install PostgreSQL 15 or newer with the extensions pg_cron and hll"
  apt_update
  packages=$(postgres_packages)
  [ -n "$packages" ] || fail "this system has no packages of PostgreSQL 15 or newer with pg_cron and hll.
Add the repository of the PostgreSQL project, then try again:
  apt-get install postgresql-common && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh"
  # The Debian packages would otherwise make and start a cluster of their own on port 5432.
  no_cluster=/etc/postgresql-common/createcluster.d/pgtally.conf
  as_root mkdir -p "${no_cluster%/*}"
  echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
  trap 'as_root rm -f "$no_cluster"' EXIT
  # shellcheck disable=SC2086
  apt_install $packages
  has_postgres || fail "PostgreSQL with pg_cron and hll was installed but is not found"
}

# The tests look at the pages in it. (Not a function called chromium: `command -v` would find that.)
browser() {
  if [ "$want" != test ] || command -v chromium >/dev/null; then
    return
  fi
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    fail "the tests open the pages in Chromium. As root, run: apt-get install chromium"
  fi
  apt_update
  apt_install chromium
  command -v chromium >/dev/null || fail "Chromium was installed but is not found"
}

python_packages
postgres
browser

#!/bin/sh
# Install what this machine lacks when root on Debian; otherwise list everything that is missing, at once.
#   tests/setup.sh            what every target needs, and uv
#   tests/setup.sh cluster    also what the cluster and the images need, unless kind or an existing cluster serves
#   tests/setup.sh tests      also what the tests of make check need
#   tests/setup.sh clients    also callers of other languages, for `make test`; without them, their tests are skipped
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
UV_VERSION=0.13.9
tools="${MODELWARD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/modelward}/tools"

wanted=any
case "${1:-}:${CLUSTER:-}" in
  tests:*) wanted="any tests" ;;
  clients:*) wanted="any clients" ;;
  cluster:existing | cluster:kind) ;;
  cluster:embedded) wanted="any cluster images" ;;
  cluster:) { command -v kind && docker info; } >/dev/null 2>&1 || wanted="any cluster images" ;;
esac

has() {
  case "$1" in /*) [ -e "$1" ] ;; *) command -v "$1" >/dev/null ;; esac
}
missing() {
  while read -r program package purpose; do
    case " $wanted " in *" $purpose "*) has "$program" || echo "$package" ;; esac
  done <"$(dirname "$0")/support/cluster/programs.txt"
  has uv || "$tools/bin/uv" --version >/dev/null 2>&1 || python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

packages=$(missing | sort -u | tr '\n' ' ')
if [ "${1:-}" = cluster ] && [ "$wanted" != any ] && [ "$(id -u)" != 0 ]; then
  echo "setup: the embedded cluster needs root: run as root, or set CLUSTER=existing to use the current context" >&2
  [ -z "$packages" ] || echo "setup: missing as well; install: $packages" >&2
  exit 1
fi
if [ -n "$packages" ]; then
  if [ "$(id -u)" != 0 ] || ! has apt-get; then
    echo "setup: this machine lacks Debian's packages (or their equivalents): $packages" >&2
    [ "${1:-}" = clients ] && exit 0 || exit 1
  fi
  echo "setup: installing $packages" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086  # one word a package
  apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi
if ! has uv && ! "$tools/bin/uv" --version >/dev/null 2>&1; then
  echo "setup: installing uv $UV_VERSION into $tools" >&2
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
fi

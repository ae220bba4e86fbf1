#!/bin/sh
# deps.sh [--check] [TOOL ...] -- what Drawbridge needs on Debian bookworm: says what is missing and installs it.
#
#   --check   install nothing; exit 1 when something is missing
#   TOOL      only these: programs whose package has the same name (clang, clang-tidy, clang-format), which
#             few need; one that is there already, from wherever, will do
# Without the right to install (not root, no sudo) it says what it would do, and exits 1.
set -eu
check=
if [ "${1:-}" = --check ]; then
    check=yes
    shift
fi
build='gcc make pkg-config libuv1-dev libhiredis-dev libssl-dev libzstd-dev libsqlite3-dev liblzf-dev
libxxhash-dev libjemalloc-dev liblua5.1-0-dev libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev libyaml-dev'
test='libcmocka-dev redis-server redis-tools nutcracker haproxy wordnet-base python3 python3-redis prometheus
prometheus-redis-exporter openssl procps iproute2'
# Node.js runs the tests of client libraries; any version that is there already will do.
command -v node > /dev/null 2>&1 || test="$test nodejs npm"
[ -z "${DRAWBRIDGE_BUILD_ONLY:-}" ] && wanted="$build $test" || wanted=$build
if [ $# -gt 0 ]; then
    wanted=
    for tool in "$@"; do
        command -v "$tool" > /dev/null 2>&1 || wanted="$wanted $tool"
    done
fi

missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ -n "$check" ]; then
    echo "missing packages:$missing"
    exit 1
fi
if [ "$(id -u)" = 0 ]; then sudo=
elif command -v sudo > /dev/null; then sudo=sudo
else
    echo "These packages are missing, and this user may not install them. As root:"
    echo "    apt-get install --no-install-recommends$missing"
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# The packages' own services are not wanted: tests and demo start what they need themselves.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" > /dev/null && $sudo chmod +x "$policy" && made_policy=yes
fi
trap '[ -z "$made_policy" ] || $sudo rm -f "$policy"' EXIT
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing > /dev/null

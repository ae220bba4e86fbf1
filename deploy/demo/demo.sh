#!/bin/sh
# demo.sh -- `make demo`: installs what is missing, builds, and moves a live Redis on this machine, and back.
# Options are passed on to demo.py (--target redis: a redis-server in place of the bundled server).
set -eu
cd "$(dirname "$0")/../.."
began=$(date +%s)
sh deploy/deps.sh
make -s -j"$(nproc)" all
echo "built in $(($(date +%s) - began)) s"
exec /usr/bin/python3 deploy/demo/demo.py "$@"

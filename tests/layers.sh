#!/bin/sh
# layers.sh -- fail when a file includes something above or beside its layer.
# One line per layer: "<folder>: <folders its files may include from>".
set -eu
cd "$(dirname "$0")/.."
rules='lib/base:
lib/net: lib/base
lib/redis: lib/base
lib/control: lib/base lib/net lib/redis
gateway: lib/base lib/net lib/redis lib/control
syncer: lib/base lib/net lib/redis lib/control
server: lib/base lib/net lib/redis lib/control
state: lib/base lib/net lib/redis lib/control'
status=0
list=$(mktemp)
trap 'rm -f "$list"' EXIT
for layer in $(echo "$rules" | cut -d: -f1); do
    [ -d "$layer" ] || continue
    grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<]' --include='*.[ch]' "$layer" |
        sed -E "s|^([^:]+):([0-9]+):[^\"<]*[\"<]([^\">]+)[\">].*|$layer \1 \2 \3|" >> "$list" || true
done
while read -r layer file line target; do
    case $target in
    sqlite3.h) [ "$layer" = state ] || { echo "$file:$line: only state includes sqlite3.h"; status=1; }; continue ;;
    lib/* | gateway/* | syncer/* | server/* | state/*) ;;
    *) continue ;; # a system header
    esac
    case $target in
    lib/*) folder=$(echo "$target" | cut -d/ -f1-2) ;;
    *) folder=${target%%/*} ;;
    esac
    allowed=$(echo "$rules" | sed -n "s|^$layer:||p")
    case " $allowed $layer " in *" $folder "*) ;; *)
        echo "$file:$line: $layer may not include $folder"; status=1 ;;
    esac
done < "$list"
grep -nE '#include "' main.c | grep -vE '"(gateway/gateway|server/server|state/cli|state/state|syncer/syncer)\.h"' &&
    { echo "main.c may include the role headers and nothing else"; status=1; }
grep -rnE '^#include "[^/"]+"|^#include "\.\.' --include='*.[ch]' $(echo "$rules" | cut -d: -f1) &&
    { echo "includes are written from the root of the project"; status=1; }
[ $status = 0 ] && echo "layers: fine"
exit $status

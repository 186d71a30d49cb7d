#!/bin/sh
# Stands for pg_dump in tests: the options that backup.sh gives it, and a dump of one line. The database `away` can't be reached.
set -eu

[ "$1" = --no-password ] || exit 2
file=${2#--file=}
if [ "$3" = away ]; then
    echo "connection to server failed: Connection refused" >&2
    exit 1
fi
# Only its first field: the rest is secret.
[ -z "${PGPASSFILE-}" ] || echo "passwords of $(cut -d: -f1 "$PGPASSFILE"), mode $(stat -c %a "$PGPASSFILE"), all of it: $(cat "$PGPASSFILE")" >&2
echo "-- a dump of $3" >"$file"

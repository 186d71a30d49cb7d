#!/bin/sh
# Dumps a database into $BACKUP_DIR, and keeps the newest dumps: backup.sh DATABASE [--keep N] [--compress] [--passwords FILE].
# A dump is there whole or not at all, so it may be killed, and run again.
set -eu

keep=3 compress=no database=
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=$2 && shift 2 ;;
    --passwords) export PGPASSFILE="$2" && shift 2 ;;
    --compress) compress=yes && shift ;;
    *) database=$1 && shift ;;
    esac
done
say() { printf '{"baton": {"progress": %s, "status": "%s"}}\n' "$1" "$2"; }

# TMPDIR is the attempt's own, and goes with it; the last step is one rename.
dump=$TMPDIR/$database.sql
say 0 "dumping $database"
pg_dump --no-password --file="$dump" "$database" || exit 75
name=$database-$(date -u +%Y%m%dT%H%M%SZ)-$BATON_TASK_ID.sql
if [ "$compress" = yes ]; then
    say 0.6 "compressing"
    gzip "$dump" && dump=$dump.gz name=$name.gz
fi
say 0.8 "keeping the newest $keep"
cp "$dump" "$BACKUP_DIR/.$name.part"
mv "$BACKUP_DIR/.$name.part" "$BACKUP_DIR/$name"
# Names sort by time, to the second, and hold no spaces. This dump stays, whatever else came in that second.
for old in $(cd "$BACKUP_DIR" && ls -r | grep "^$database-" | grep -vxF "$name" | tail -n "+$keep"); do
    rm -- "$BACKUP_DIR/$old"
done
printf '{"baton": {"progress": 1, "status": "done", "result": {"file": "%s", "bytes": %s}}}\n' "$name" "$(wc -c <"$BACKUP_DIR/$name" | tr -d ' ')"

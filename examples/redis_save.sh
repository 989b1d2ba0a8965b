# What a save of redis-server by fork costs while a client writes: sh redis_save.sh [VALUES]
set -e
values=${1:-10000}
export LC_ALL=C
directory=$(mktemp -d); cd "$directory"
redis() { redis-cli -s "$directory/socket" "$@"; }
info() { redis info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }
field() { sed -n "s/^$2:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$1/status"; }
faults() { cut -d ' ' -f 10 "/proc/$server/stat"; }
redis-server --port 0 --unixsocket "$directory/socket" --dir "$directory" --save '' --daemonize yes \
    --enable-debug-command local --rdb-key-save-delay 100 --pidfile "$directory/pid" >log
until redis ping >/dev/null 2>&1; do sleep 0.05; done
server=$(cat pid)
redis debug populate "$values" key 1000 >/dev/null
seq -f 'SETRANGE key:%.0f 0 changed' 0 4 $((values - 1)) >writes
before=$(faults)
redis bgsave >/dev/null
forked=$(faults)
child=$(info persistence rdb_bgsave_in_progress | grep -q 1 && pgrep -P "$server")
echo "tables of the parent and of the child, kB: $(field "$server" VmPTE) $(field "$child" VmPTE)"
redis <writes >answers
echo "faults of the parent in the fork, and for its writes: $((forked - before)) $(($(faults) - forked))"
[ "$(info persistence rdb_bgsave_in_progress)" = 1 ] || echo "the child had saved everything before all was written"
until [ "$(info persistence rdb_bgsave_in_progress)" = 0 ]; do sleep 0.1; done
echo "copied, bytes: $(info persistence rdb_last_cow_size)"
echo "the fork, us: $(info stats latest_fork_usec)"
redis shutdown nosave
until [ ! -e pid ]; do sleep 0.05; done
cd /; rm -r "$directory"

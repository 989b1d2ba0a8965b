# redis-server: saves by fork while clients write, is ended by SIGKILL, and loads what it has saved
set -e
D=$(mktemp -d); cd $D
cat >conf <<X
port 0
unixsocket $D/sock
dir $D
save ""
enable-debug-command local
daemonize yes
logfile $D/log
pidfile $D/pid
X
redis() { redis-cli -s $D/sock "$@"; }
ready() { until redis ping 2>/dev/null | grep -q PONG; do sleep 0.2; done; }
redis-server conf; ready
redis <<X
debug populate 1000 key 500
set state before
eval 'redis.call("incr", "n"); return redis.call("hset", "h", "a", 1, "b", 2)' 0
bgsave
set state after
debug populate 1000 key2 500
X
for i in 1 2 3 4; do (for j in 1 2 3 4 5; do echo incr counter; echo lpush list $i.$j; done | redis >/dev/null) & done; wait $(jobs -p)
printf '%s\n' 'get counter' 'llen list' | redis
until redis info persistence | grep -q 'rdb_bgsave_in_progress:0'; do sleep 0.2; done
redis info everything | grep -a 'rdb_last_bgsave_status\|rdb_saves\|^used_memory_rss:' | tr -d '\r' | sed 's/rss:.*/rss/'
kill -9 $(cat pid)
while kill -0 $(cat pid) 2>/dev/null; do sleep 0.2; done
rm -f sock pid
redis-server conf; ready
printf '%s\n' 'get state' dbsize 'get counter' | redis
redis shutdown nosave
until [ ! -e pid ]; do sleep 0.2; done
grep -c 'DB loaded from disk' log
cd /; rm -r $D

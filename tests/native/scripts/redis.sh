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
ready() { until redis ping 2>/dev/null | grep -q PONG; do sleep 0.05; done; }
redis-server conf; ready
redis debug populate 1000 key 500
redis set state before
redis eval 'redis.call("incr", "n"); return redis.call("hset", "h", "a", 1, "b", 2)' 0
redis bgsave
redis set state after
redis debug populate 1000 key2 500
for i in 1 2 3 4; do (for j in 1 2 3 4 5; do redis incr counter >/dev/null; redis lpush list $i.$j >/dev/null; done) & done; wait $(jobs -p)
redis get counter
redis llen list
until redis info persistence | grep -q 'rdb_bgsave_in_progress:0'; do sleep 0.05; done
redis info persistence | grep -a 'rdb_last_bgsave_status\|rdb_saves' | tr -d '\r'
redis info memory | grep -c used_memory_rss:
kill -9 $(cat pid)
while kill -0 $(cat pid) 2>/dev/null; do sleep 0.05; done
rm -f sock pid
redis-server conf; ready
echo "$(redis get state) $(redis dbsize) $(redis get counter)"
redis shutdown nosave
until [ ! -e pid ]; do sleep 0.05; done
grep -c 'DB loaded from disk' log
cd /; rm -r $D

# Ends a backend, and then the postmaster, by SIGKILL while 8 clients write, at moments that $SEED chooses.  Whatever a
# client was told to be committed must be there after recovery, and at most one transaction more of each client.
RANDOM=$SEED
postmaster() { head -1 $D/data/postmaster.pid; }
backends() { ps -o pid=,args= --ppid $(postmaster) | awk '/postgres: .* regression /{print $1}'; }
check() {
    psql -X -A -t -F ' ' -d regression -c 'SELECT client, count(*) FROM written GROUP BY client' >$D/rows || return
    sed 's/^/told /' $D/told | cat - $D/rows | awk '
        $1 == "told" { told[$2]++; next }
        { rows[$1] = $2 }
        END {
            for (c = 0; c < 8; c++) {
                if (rows[c] < told[c]) { print "client " c ": " rows[c] " rows, but was told of " told[c]; bad = 1 }
                if (rows[c] > told[c] + rounds) { print "client " c ": " rows[c] " rows after " told[c]; bad = 1 }
                all += told[c]
            }
            print (all > 0 && !bad) ? "nothing is lost" : "wrong"
        }' rounds=$1
}
work() {
    (cd $D && pgbench -n -l -c 8 -t 1000 -f $D/write.sql regression >$D/bench.out 2>&1; cat pgbench_log.* >>told; rm pgbench_log.*) &
    until [ $(backends | wc -l) = 8 ]; do sleep 0.01; done
    sleep 0.0$((RANDOM % 9))$((RANDOM % 10))
}
psql -X -q -d regression -c 'CREATE TABLE written (client int, n serial PRIMARY KEY)'
echo 'INSERT INTO written (client) VALUES (:client_id);' >$D/write.sql
work
victim=$(backends | sed -n $((RANDOM % 8 + 1))p)
kill -9 $victim && wait
until psql -X -q -d regression -c 'SELECT 1' >$D/up.out 2>&1; do sleep 0.1; done
grep -c "server process (PID $victim) was terminated by signal 9" $D/log
check 1
work
dead=$(postmaster)
kill -9 $dead && wait
until pg_ctl -D $D/data -l $D/log -w -s start >$D/start.out 2>&1; do sleep 0.1; done
grep -c 'was not properly shut down; automatic recovery in progress' $D/log
check 2

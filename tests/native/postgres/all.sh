# What tests/native/test_native_postgres.py runs in the machine and has run on Linux.
. $S/server.sh
pg_ctl -D $D/data -l $D/log -w -s start || { cat $D/log; exit 1; }
ps -o args= --ppid $(head -1 $D/data/postmaster.pid) | sort
. $S/scripts.sh
. $S/bank.sh
. $S/kills.sh
pg_ctl -D $D/data -m fast -w -s stop
tail -1 $D/log | sed 's/.*LOG/LOG/'

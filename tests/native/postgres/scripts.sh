# Runs the SQL scripts in $S/sql in one session, on the running server of $D.
createdb regression
for f in $S/sql/*.sql; do cat $f; echo 'RESET ALL;'; done >$D/all.sql
psql -X -a -q -d regression <$D/all.sql 2>&1 | sed 's/PID [0-9]*/PID N/'

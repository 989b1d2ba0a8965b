# 8 clients move money as pgbench's own script does (TPC-B, more or less), among fewer accounts. In the
# database that scripts.sh has made: to copy a template takes longer than all of this.
psql -X -q -d regression <<X
CREATE TABLE branch (bid int PRIMARY KEY, balance int);
CREATE TABLE teller (tid int PRIMARY KEY, balance int);
CREATE TABLE account (aid int PRIMARY KEY, balance int);
CREATE TABLE history (tid int, aid int, delta int, at timestamp);
INSERT INTO branch VALUES (1, 0);
INSERT INTO teller SELECT i, 0 FROM generate_series(1, 10) i;
INSERT INTO account SELECT i, 0 FROM generate_series(1, 1000) i;
X
cat >$D/move.sql <<'X'
\set aid random(1, 1000)
\set tid random(1, 10)
\set delta random(-5000, 5000)
BEGIN;
UPDATE account SET balance = balance + :delta WHERE aid = :aid;
SELECT balance FROM account WHERE aid = :aid;
UPDATE teller SET balance = balance + :delta WHERE tid = :tid;
UPDATE branch SET balance = balance + :delta WHERE bid = 1;
INSERT INTO history VALUES (:tid, :aid, :delta, CURRENT_TIMESTAMP);
END;
X
pgbench -n -c 8 -t 5 -f $D/move.sql regression >$D/bench.out 2>&1 || cat $D/bench.out
grep processed $D/bench.out
psql -X -A -t -d regression <<X
SELECT (SELECT sum(balance) FROM account) = (SELECT balance FROM branch);
SELECT (SELECT sum(delta) FROM history) = (SELECT sum(balance) FROM teller);
X

# sqlite3: a database with a write-ahead log
sqlite3 t.db <<E
pragma journal_mode=wal;
create table t(a integer primary key, b text);
begin;
with recursive c(x) as (select 1 union all select x + 1 from c where x < 300) insert into t select x, hex(x) from c;
commit;
create index i on t(b);
select count(*), max(b), sum(a) from t;
pragma integrity_check;
E

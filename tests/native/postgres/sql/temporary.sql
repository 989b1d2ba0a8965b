CREATE TEMP TABLE x (k int, t text) ON COMMIT PRESERVE ROWS;
INSERT INTO x SELECT i, md5(i::text) FROM generate_series(1, 1500) i;
CREATE TEMP TABLE y (k int) ON COMMIT DELETE ROWS;
BEGIN; INSERT INTO y SELECT k FROM x; SELECT count(*) FROM y; COMMIT;
SELECT count(*) FROM y;
SET work_mem = '64kB';
SELECT count(*) FROM (SELECT * FROM x ORDER BY t OFFSET 0) s;
SELECT t FROM x ORDER BY t LIMIT 2;
SELECT count(DISTINCT t) FROM x a JOIN (SELECT k FROM x) b USING (k);
WITH RECURSIVE f (a, b) AS (SELECT 0::numeric, 1::numeric UNION ALL SELECT b, a + b FROM f WHERE b < 1e30) SELECT max(a) FROM f;
SELECT nspname LIKE 'pg_temp%' AS own FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'x';
\c
SELECT * FROM x;

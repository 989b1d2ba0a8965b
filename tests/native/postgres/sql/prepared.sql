CREATE TABLE p AS SELECT i AS k, i * i AS v FROM generate_series(1, 1000) i;
PREPARE one (int) AS SELECT v FROM p WHERE k = $1;
EXECUTE one (5);
EXECUTE one (6);
EXECUTE one (1001);
PREPARE two (int, int) AS INSERT INTO p VALUES ($1, $2) RETURNING *;
EXECUTE two (-1, -2);
EXECUTE two ('x', 1);
SELECT name, statement FROM pg_prepared_statements ORDER BY name;
SELECT 'g' || count(*) FROM generate_series(1, 7) \gexec
SELECT $1::int + $2::int AS sum \bind 3 4 \g
DEALLOCATE one;
EXECUTE one (5);
DEALLOCATE ALL;
DROP TABLE p;

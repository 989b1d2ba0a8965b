CREATE TABLE c (a int, b text, c float8);
COPY c FROM stdin WITH (FORMAT csv, HEADER);
a,b,c
1,"one, with a comma",1.5
2,"two ""quoted""",-0.25
3,,1e100
\.
COPY c FROM stdin;
4	tab	NaN
5	\\N is null	Infinity
\.
COPY c FROM stdin;
x	bad	1
\.
COPY c TO stdout WITH (FORMAT csv, FORCE_QUOTE (b));
INSERT INTO c SELECT i, repeat('x', i % 300), i / 3.0 FROM generate_series(6, 1500) i;
COPY (SELECT a, length(b) FROM c WHERE a BETWEEN 10 AND 12 ORDER BY a) TO stdout;
COPY c TO '/tmp/pgcopy.bin' WITH (FORMAT binary);
CREATE TABLE d (LIKE c);
COPY d FROM '/tmp/pgcopy.bin' WITH (FORMAT binary);
SELECT count(*), (SELECT count(*) FROM (SELECT * FROM c EXCEPT SELECT * FROM d) x) AS differ FROM d;
COPY c TO PROGRAM 'wc -l >/tmp/pgcopy.lines';
\! cat /tmp/pgcopy.lines; rm /tmp/pgcopy.lines /tmp/pgcopy.bin
DROP TABLE c, d;

SELECT lo_create(4242);
BEGIN;
SELECT lo_open(4242, x'60000'::int) AS fd;
SELECT lowrite(0, convert_to(repeat('0123456789', 1000), 'SQL_ASCII'));
SELECT lo_lseek(0, 5000, 0), loread(0, 12), lo_tell(0);
SELECT lo_truncate(0, 20);
COMMIT;
SELECT lo_get(4242), lo_put(4242, 3, 'xyz'), lo_get(4242, 0, 8);
SELECT count(*) FROM pg_largeobject WHERE loid = 4242;
\lo_export 4242 /tmp/pg_lo
\! cat /tmp/pg_lo; echo; rm /tmp/pg_lo
SELECT lo_unlink(4242);
SELECT lo_get(4242);

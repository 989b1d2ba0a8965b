LISTEN news;
NOTIFY news, 'of myself';
SELECT 1 AS first;
\! psql -X -q -d regression -c "NOTIFY news, 'of another'"
SELECT 2 AS second;
BEGIN; NOTIFY news, 'never'; ROLLBACK;
SELECT pg_notify('news', 'by a function');
SELECT channel FROM pg_listening_channels() channel;
UNLISTEN *;
NOTIFY news, 'nobody hears';
SELECT 3 AS third;

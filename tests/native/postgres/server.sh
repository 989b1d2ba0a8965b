export PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin LC_ALL=C PGTZ=UTC PGHOST=$D
cd $D

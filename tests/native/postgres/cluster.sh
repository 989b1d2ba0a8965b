# Makes a database cluster in $D/data, whose server listens on a socket in $D.
export PATH=/usr/lib/postgresql/15/bin:$PATH LC_ALL=C
initdb -D $D/data -A trust --no-sync >$D/initdb.log || { cat $D/initdb.log; exit 1; }
cat >>$D/data/postgresql.conf <<X
listen_addresses = ''
unix_socket_directories = '$D'
shared_buffers = 16MB
timezone = 'UTC'
jit = off
X

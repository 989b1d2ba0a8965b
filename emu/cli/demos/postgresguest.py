"""What ``unimmu demo --postgres`` has guests do: shell scripts around PostgreSQL's own programs."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emu.cli.arguments import UsageError
from emu.linux.caller import Credentials
from emu.linux.errors import LinuxError
from emu.machine import Machine
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.task import Task

#: Where Debian has the programs of each version.
VERSIONS = "/usr/lib/postgresql"
#: The cluster's directory in the machine, and PostgreSQL's block.
_DIRECTORY, BLOCK = "/tmp/postgres", 8192
#: Lines that the guests write to standard output when they have come so far.
WORKING, READY = b"working", b"ready"
#: Two rows fill a block, one in each of its pages, so that who reads all rows touches every page.
_ROW = 3950
#: Moves of money by each client, as pgbench's own script does them.
_MOVES = 5
_ALONE = 20  # connections besides those of the clients
#: What a client reads: every row, or the first one of each so many blocks, found by where it is.
_ALL, _SOME = (
    "SELECT sum(k) FROM filled",
    """\
SELECT sum(k) FROM filled
 WHERE ctid = ANY (ARRAY(SELECT CAST(format('(%s,1)', b) AS tid) FROM generate_series(0, {last}, {stride}) b))""",
)

#: Makes a cluster, says how many huge pages its shared memory needs (standard error), and writes it to standard output.
_INITDB = """\
mkdir $D
cd $D
initdb -D $D/data -A trust --no-sync >&2
cat >>$D/data/postgresql.conf <<X
listen_addresses = ''
unix_socket_directories = '$D'
autovacuum = off
jit = off
max_parallel_workers_per_gather = 0
max_connections = $CONNECTIONS
shared_buffers = $BUFFERS
X
echo "huge pages: $(postgres -D $D/data -C shared_memory_size_in_huge_pages)" >&2
postgres --version >&2
tar cf - data
"""

#: Unpacks it, starts the server, has the clients work and wait, has one more client come and go, and stops the server.
_SERVE = """\
mkdir $D
cd $D
tar xmf -
echo "huge_pages = $HUGE" >>data/postgresql.conf
pg_ctl -D $D/data -l $D/log -w -s start >&2 || { cat $D/log >&2; exit 1; }
cat >$D/setup.sql <<'X'
CREATE UNLOGGED TABLE filled (k int, v text) WITH (autovacuum_enabled = off);
ALTER TABLE filled ALTER v SET STORAGE PLAIN;
INSERT INTO filled SELECT i, repeat('x', :size) FROM generate_series(1, :rows) i;
CREATE TABLE branch (bid int PRIMARY KEY, balance int);
CREATE TABLE teller (tid int PRIMARY KEY, balance int);
CREATE TABLE account (aid int PRIMARY KEY, balance int);
CREATE TABLE history (tid int, aid int, delta int, at timestamp);
INSERT INTO branch VALUES (1, 0);
INSERT INTO teller SELECT i, 0 FROM generate_series(1, 10) i;
INSERT INTO account SELECT i, 0 FROM generate_series(1, 1000) i;
SELECT sum(k) FROM filled \\g /dev/null
X
cat >$D/work.sql <<X
$READ;
$(for i in $(seq $MOVES); do cat <<'Y'
\\set aid random(1, 1000)
\\set tid random(1, 10)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE account SET balance = balance + :delta WHERE aid = :aid;
SELECT balance FROM account WHERE aid = :aid;
UPDATE teller SET balance = balance + :delta WHERE tid = :tid;
UPDATE branch SET balance = balance + :delta WHERE bid = 1;
INSERT INTO history VALUES (:tid, :aid, :delta, CURRENT_TIMESTAMP);
END;
Y
done)
SELECT pg_advisory_lock_shared(1);
X
cat >$D/control.sql <<'X'
SELECT pg_advisory_lock(1) \\g /dev/null
\\! pgbench -n -c $CLIENTS -t 1 --random-seed=1 -f $D/work.sql demo >$D/bench.out 2>&1 &
SET demo.clients = :clients;
DO $$
DECLARE waiting int; tries int := 0;
BEGIN
    LOOP
        SELECT count(*) INTO waiting FROM pg_locks WHERE locktype = 'advisory' AND NOT granted;
        EXIT WHEN waiting = current_setting('demo.clients')::int;
        tries := tries + 1;
        IF tries > 2000 THEN RAISE EXCEPTION '% clients are there after too long', waiting; END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
\\! echo ready
\\! psql -X -q -A -t -d demo -c "$READ" >$D/probe.out
SELECT pg_advisory_unlock(1) \\g /dev/null
X
PSQL="psql -X -q -v ON_ERROR_STOP=1 -d demo"
export PGHOST=$D
createdb demo
$PSQL -v rows=$ROWS -v size=$SIZE -f setup.sql >&2
echo working
$PSQL -v clients=$CLIENTS -f control.sql || { cat $D/bench.out $D/log >&2; exit 1; }
[ $(cat probe.out) = $SUM ]
until grep -q "actually processed" bench.out; do sleep 0.1; done
grep -q "actually processed: $CLIENTS/$CLIENTS" bench.out || { cat bench.out >&2; exit 1; }
[ $($PSQL -A -t -c 'SELECT (SELECT sum(balance) FROM account) = (SELECT balance FROM branch)') = t ]
$PSQL -c 'DROP TABLE filled'
pg_ctl -D $D/data -m fast -w -s stop >&2
"""


def initdb_script() -> str:
    """Make a cluster and write it to standard output as a tar archive."""
    return f"set -e\n{_INITDB}"


def serve_script() -> str:
    """Do everything with the cluster that stands on standard input."""
    return f"set -e\n{_SERVE}"


def blocks_of(buffers: int) -> int:
    """The blocks that fill three quarters of so many bytes of buffers."""
    return buffers // BLOCK * 3 // 4


def rows_read(buffers: int, stride: int) -> int:
    """The rows that a client reads."""
    blocks = blocks_of(buffers)
    return 2 * blocks if stride == 1 else len(range(0, blocks, stride))


def environment(bin_directory: str, clients: int, buffers: int, stride: int, huge: bool) -> dict[str, str]:
    """What the scripts are told.  ``stride``: clients read one of so many blocks."""
    blocks = blocks_of(buffers)
    if stride == 1:
        read, total = _ALL, blocks * (2 * blocks + 1)
    else:
        read = _SOME.format(last=blocks - 1, stride=stride)
        total = sum(2 * block + 1 for block in range(0, blocks, stride))
    return {
        "PATH": f"{bin_directory}:/usr/bin:/bin", "LC_ALL": "C", "D": _DIRECTORY, "CLIENTS": str(clients),
        "CONNECTIONS": str(clients + _ALONE), "BUFFERS": f"{buffers >> 10}kB", "ROWS": str(2 * blocks),
        "READ": read, "SUM": str(total), "SIZE": str(_ROW), "MOVES": str(_MOVES), "HUGE": "on" if huge else "off",
    }  # fmt: skip


def server_user(machine: Machine) -> Credentials:
    """The user of the root's /etc/passwd that the server runs as, since it refuses root: postgres, or else nobody.

    :class:`UsageError` if there is none.
    """
    found = {}
    try:
        users = machine.kernel.vfs.read_file("/etc/passwd")
    except LinuxError as error:
        raise UsageError(f"--root: its /etc/passwd, which says who runs the server: {error.words}") from None
    for line in users.decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit() and fields[2] != "0":
            found[fields[0]] = int(fields[2]), int(fields[3])
    if not found:
        raise UsageError("--root: its /etc/passwd has no user but root, and the server does not run as root")
    uid, gid = found.get("postgres") or found.get("nobody") or next(iter(found.values()))
    return Credentials(uid, gid, uid, gid, (), uid, gid)


def start(machine: Machine, script: str, variables: Mapping[str, str]) -> Task:
    """Start a script as that user."""
    return machine.spawn(
        "/bin/bash", ["-c", script], variables, in_guest=True, credentials=server_user(machine), cwd="/tmp"
    )  # fmt: skip


def titles(machine: Machine) -> dict[int, str]:
    """What ps shows of each process that lives, by pid."""
    shown = {}
    for task in machine.tasks:
        try:
            text = machine.kernel.vfs.read_file(posixpath.join("/proc", str(task.tgid), "cmdline"), PAGE_SIZE)
        except LinuxError:
            continue
        shown[task.tgid] = text.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    return shown

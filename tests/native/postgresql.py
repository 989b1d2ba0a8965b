"""PostgreSQL 15 of this system, run by the scripts in ``postgres/``: on the host, and with ``--root /`` in a machine.

python -m tests.native.postgresql                on the host; what they print becomes ``postgres/expected.txt``
python -m tests.native.postgresql 2 3 [-- ...]   in a machine with these seeds, and with options of `unimmu run`
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SERVER = Path("/usr/lib/postgresql/15/bin/postgres")
SCRIPTS = Path(__file__).parent / "postgres"
EXPECTED = SCRIPTS / "expected.txt"
AUDITED = "unimmu: audit: every table and every frame is accounted for\n"
_ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 240
_MACHINE = """\
mkdir $D; cp -r /mnt/data $D/data; chmod 700 $D/data
sed -i "s,^unix_socket_directories.*,unix_socket_directories = '$D'," $D/data/postgresql.conf
. $S/all.sh
"""


class Cluster(NamedTuple):
    """A directory with the scripts (``scripts``) and a new database cluster (``data``), and who it belongs to: the
    server refuses to be root.
    """

    directory: Path
    uid: int
    gid: int

    def run(self, script: str, seed: int) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts on the host, as the owner."""
        variables = {"D": str(self.directory), "S": str(self.directory / "scripts"), "SEED": str(seed)}
        is_root = os.getuid() == 0
        return subprocess.run(
            ["bash", str(self.directory / "scripts" / script)], env={"PATH": "/usr/bin:/bin", **variables},
            cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=_TIMEOUT_S, check=False, user=self.uid if is_root else None, group=self.gid if is_root else None,
            extra_groups=[] if is_root else None,
        )  # fmt: skip


def _not_root() -> pwd.struct_passwd:
    """Who also runs the server in ``unimmu demo --postgres``."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A new one, made by the host's initdb."""
    owner = _not_root() if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    with tempfile.TemporaryDirectory(prefix="unimmu-") as place:
        directory = Path(place)
        shutil.copytree(SCRIPTS, directory / "scripts")
        if os.getuid() == 0:
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        made = Cluster(directory, owner.pw_uid, owner.pw_gid)
        ran = made.run("cluster.sh", 0)
        assert ran.returncode == 0, ran.stdout
        yield made


def in_machine(seed: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run all scripts in a machine."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    with cluster() as made:
        words = ["--root", "/", "--mem", "512M", "--uid", str(made.uid), "--gid", str(made.gid), "--cwd", "/"]
        words += ["--bind", f"{made.directory}:/mnt", "--seed", str(seed), *options]
        for name, value in (("D", "/tmp/d"), ("S", "/mnt/scripts"), ("SEED", seed)):
            words += ["--env", f"{name}={value}"]
        return subprocess.run(
            [sys.executable, "-m", "emu.cli.main", "run", *words, "bash", "-c", _MACHINE], cwd="/",
            env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip


def main(words: list[str]) -> int:
    """As the head of this file says; the status is 1 if a machine did otherwise than the host."""
    if not words:
        with cluster() as on_host:
            EXPECTED.write_text(on_host.run("all.sh", 1).stdout, "utf-8")
        return 0
    split = words.index("--") if "--" in words else len(words)
    bad = 0
    for seed in map(int, words[:split]):
        ran = in_machine(seed, "--audit", *words[split + 1 :])
        same = (ran.returncode, ran.stdout, ran.stderr) == (0, EXPECTED.read_text("utf-8"), AUDITED)
        print(f"seed {seed}: " + ("as on the host" if same else f"{ran.stdout}\n{ran.stderr}\nstatus {ran.returncode}"))
        bad += not same
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""PostgreSQL 15 in a machine: its buffers in a region, SQL of all kinds, 8 clients, and SIGKILL at chance moments."""

from __future__ import annotations

import pytest

from tests.native.postgresql import AUDITED, EXPECTED, SERVER, in_machine


@pytest.mark.skipif(not SERVER.exists(), reason="PostgreSQL 15 is not installed (apt install postgresql-15)")
def test_a_server_with_8_clients_does_what_it_does_on_linux_and_loses_nothing() -> None:
    ran = in_machine(1, "--mount", "msharefs:/sys/fs/mshare:level=pmd,anonymous=on", "--audit")
    assert ran.stdout == EXPECTED.read_text("utf-8"), ran.stderr
    assert (ran.returncode, ran.stderr) == (0, AUDITED)

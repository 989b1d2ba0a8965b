#!/bin/sh
# Guess:   reading one ELF header with pyelftools loads code that parses, and nothing else.
# Reality: `import elftools.elf.structs` also imports pdb, and with it bdb, cmd, code and codeop: the vendored "construct"
#          has a module `debug` whose class breaks into the debugger, and the package imports it at the top.
# Why it matters: an emulator or a loader that reads headers at each start (or in each execve) pays more for this import
#          than for parsing: 19 modules of pyelftools, and the debugger, for 64 bytes. struct.unpack reads them in microseconds.
# Seen with pyelftools 0.32, Python 3.11.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install pyelftools==0.32
"$directory/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

before = set(sys.modules)
import elftools.elf.structs  # noqa: E402, F401

loaded = set(sys.modules) - before
debugger = sorted(loaded & {"pdb", "bdb", "cmd", "code", "codeop"})
own = sum(name.partition(".")[0] == "elftools" for name in loaded)
print(f"pyelftools {version('pyelftools')}, Python {sys.version.split()[0]}: {own} modules of its own, and {', '.join(debugger)}")
if "pdb" not in debugger:
    sys.exit("this has changed: pdb is not imported any more")
PYTHON

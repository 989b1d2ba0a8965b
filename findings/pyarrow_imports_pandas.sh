#!/bin/sh
# Guess:   pyarrow works on its own: a table of a Python list, or a Parquet file that is read into a table, loads pandas
#          only when one asks for a DataFrame. What stands beside in site-packages does not matter.
# Reality: where pandas is installed, pa.scalar(1), pa.array([1, 2]), pa.table({"a": [1, 2]}), array.to_numpy() and
#          pq.read_table() import all of it, to see whether their argument is one of pandas'. pq.ParquetFile(...).read(),
#          Table.to_pylist(), pa.nulls(), Array.from_buffers() and pyarrow.csv do not.
# Why it matters: a command that reads or writes a few columns of a trace pays for pandas at each start, several times
#          what pyarrow itself takes, and only on machines where somebody has installed pandas: two users of one version
#          measure different times, and neither finds "pandas" in the command's source.
# Seen with pyarrow 26.0.1, pandas 3.1.1, Python 3.11.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install pyarrow==26.0.1 pandas==3.1.1
cd "$directory"
cat > seen.py <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

CASES = {
    "pa.scalar(1)": True,
    "pa.array([1, 2])": True,
    "pa.table({'a': [1, 2]})": True,
    "pa.nulls(2).to_numpy(zero_copy_only=False)": True,
    "pq.read_table('t.parquet')": True,
    "pq.ParquetFile('t.parquet').read()": False,
    "pq.ParquetFile('t.parquet').read().to_pylist()": False,
    "pa.Array.from_buffers(pa.int8(), 2, [None, pa.py_buffer(bytes(2))])": False,
    "pa.csv.read_csv('t.csv')": False,
}
SHOW = "print('pandas' in sys.modules, len(sys.modules))"


def loaded(code):
    program = f"import sys, pyarrow as pa, pyarrow.csv, pyarrow.parquet as pq; {code}; {SHOW}"
    has_pandas, modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    return has_pandas == "True", int(modules)


import pyarrow as pa
import pyarrow.parquet as pq

pq.write_table(pa.table({"a": [1, 2]}), "t.parquet")
with open("t.csv", "w") as file:
    file.write("a\n1\n")
print(f"pyarrow {version('pyarrow')}, pandas {version('pandas')}, Python {sys.version.split()[0]}")
changed = []
for code, expected in CASES.items():
    has_pandas, modules = loaded(code)
    print(f"{'imports pandas' if has_pandas else 'does not':16}{modules:6} modules  {code}")
    if has_pandas != expected:
        changed.append(code)
if changed:
    sys.exit(f"this has changed: {', '.join(changed)}")
PYTHON
"$directory/venv/bin/python" seen.py

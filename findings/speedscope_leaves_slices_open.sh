#!/bin/sh
# Guess:   Speedscope shows Chrome's trace events as chrome://tracing does: an end event ("E") closes the slice that began last
#          on its thread, whether it repeats the name or not (the format asks an "E" for ph, ts, pid and tid alone), and
#          complete events ("X") of which one begins when the other ends stand side by side.
# Reality: an "E" without the name closes nothing, so every slice lasts to the end of the profile, the later ones nested in the
#          earlier ones.  "X" events are taken apart into beginning and end, and the end is ts + dur in doubles: 0.1 + 0.2
#          is behind 0.3, so the first of two slices that meet there stays open for the whole profile as well.  An end at the
#          time of its beginning closes it only if its args are the same too.  All of this is told on the console alone.
# Why it matters: the format's times are microseconds, so whoever writes nanoseconds writes fractions; tracers that leave out
#          the name of an end, or write system calls without a duration, give profiles that look right and have wrong
#          totals.  What every viewer reads: "B" and "E" with one name and equal args, and "X" with dur 0 for no time.
# Seen with speedscope 1.25.0 from npm, in Debian 12's chromium.  Needs npm and chromium.  Fails if that changes.
set -eu
for program in npm chromium; do
    command -v "$program" >/dev/null || { echo "$program is needed"; exit 2; }
done
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm pack --silent speedscope@1.25.0 >/dev/null
tar xf speedscope-1.25.0.tgz
cat >look.py <<'PYTHON'
import base64
import html
import json
import pathlib
import re
import subprocess

HERE = pathlib.Path.cwd()


def totals(*events):
    """The table "Sandwich": by slice, its total time in microseconds."""
    trace = json.dumps({"traceEvents": [{"pid": 1, "tid": 1, **event} for event in events]})
    load = f"speedscope.loadFileFromBase64('t.json', '{base64.b64encode(trace.encode()).decode()}')"
    (HERE / "load.js").write_text(load)
    page = (HERE / "package/dist/release/index.html").as_uri()
    run = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
         "--allow-file-access-from-files", f"--user-data-dir={HERE}/profile", "--virtual-time-budget=8000", "--dump-dom",
         f"{page}#view=sandwich&localProfilePath={HERE}/load.js"],
        capture_output=True, text=True, timeout=120, check=True,
    )
    text = html.unescape(re.sub(r"<[^>]+>", " ", run.stdout.split("Symbol Name")[1]))
    units = {"ns": 0.001, "µs": 1, "ms": 1000}
    row = r"([\d.]+)(ns|µs|ms)\s*\(\S+\)\s+[\d.]+(?:ns|µs|ms)\s*\(\S+\)\s+(\w+)"
    return {name: round(float(number) * units[unit], 6) for number, unit, name in re.findall(row, text)}


def begin(ts, name, **args):
    return {"ph": "B", "ts": ts, "name": name, "args": args}


def end(ts, **more):
    return {"ph": "E", "ts": ts, **more}


def complete(ts, dur, name):
    return {"ph": "X", "ts": ts, "dur": dur, "name": name}


for what, events, expected in (
    ("ends without a name", (begin(0, "first"), end(10), begin(20, "second"), end(30)), {"first": 20, "second": 0}),
    ("ends with a name", (begin(0, "first"), end(10, name="first"), begin(20, "second"), end(30, name="second")),
     {"first": 10, "second": 10}),
    ("complete events that meet at 0.3", (complete(0.1, 0.2, "first"), complete(0.3, 0.4, "second"), complete(0.7, 0.3, "third")),
     {"first": 0.9, "second": 0.4, "third": 0.3}),
    ("no time, other args", (begin(0, "first", a=1), end(0, name="first", args={"b": 2}), begin(20, "second"), end(30, name="second")),
     {"first": 30, "second": 10}),
    ("no time, complete", (complete(0, 0, "first"), begin(20, "second"), end(30, name="second")), {"first": 0, "second": 10}),
):
    seen = totals(*events)
    print(f"{what:34} total in us: {seen}")
    assert seen == expected, (what, expected)
PYTHON
python3 look.py
echo "speedscope $(sed -n 's/.*"version": "\(.*\)".*/\1/p' package/package.json), $(chromium --version 2>/dev/null)"

# python3: json, hashlib, decimal, re, threads and a pool of them, subprocesses, mmap, asyncio
import asyncio
import collections
import concurrent.futures
import datetime
import decimal
import hashlib
import json
import mmap
import os
import queue
import re
import subprocess
import tempfile
import threading
import zlib

print(json.dumps({"a": [1, 2.5, None]}), sorted(json.loads('{"k": 1}')))
print(hashlib.sha256(b"x").hexdigest(), zlib.crc32(b"x"), re.sub("a", "b", "banana"))
print(decimal.Decimal(1) / 3, collections.Counter("abca").most_common(1), datetime.date(2001, 2, 3).isoformat())

jobs: queue.Queue[int | None] = queue.Queue()
done: list[int] = []


def work() -> None:
    while (job := jobs.get()) is not None:
        done.append(job * job)


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for number in [*range(50), None, None, None, None]:
    jobs.put(number)
for thread in threads:
    thread.join()
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    print(sum(done), list(pool.map(abs, [-1, -2])))

print(subprocess.run(["ls", "/usr/lib/os-release"], capture_output=True, text=True, check=True).stdout, end="")
with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
    print(cat.communicate(b"through"))
print(subprocess.call("exit 5", shell=True), os.waitstatus_to_exitcode(os.system("kill -9 $$")))
with tempfile.TemporaryFile() as file:
    file.write(b"mapped")
    file.flush()
    mapping = mmap.mmap(file.fileno(), 0)
    mapping[0:1] = b"M"
    mapping.flush()
    file.seek(0)
    print(file.read())


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()


async def ask(path: str, text: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(text + b"\n")
    answer = await reader.readline()
    writer.close()
    return answer


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = await asyncio.start_unix_server(serve, f"{directory}/s")
        async with server:
            print(await asyncio.gather(*(ask(f"{directory}/s", b"a%d" % number) for number in range(3))))
    print(await asyncio.gather(asyncio.sleep(0.02, "slow"), asyncio.sleep(0.01, "fast")))


asyncio.run(main())

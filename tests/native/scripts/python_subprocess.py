# python3: subprocesses, mmap
import mmap
import os
import subprocess
import tempfile

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

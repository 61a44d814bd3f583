"""Print every command line and every environment of a process once, until standard input ends."""

import glob
import os
import select
import sys

PAUSE = 0.1

seen = set()
while not select.select([sys.stdin], [], [], PAUSE)[0]:
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        # Our own command line is this text, and says nothing of anybody else.
        if path.split("/")[2] == str(os.getpid()):
            continue
        try:
            with open(path, "rb") as file:
                text = file.read()
        except OSError:
            continue
        if text not in seen:
            seen.add(text)
            sys.stdout.buffer.write(path.rsplit("/", 1)[1].encode() + b" " + text.replace(b"\0", b" ") + b"\n")
    sys.stdout.buffer.flush()

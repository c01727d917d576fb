# SPDX-License-Identifier: Apache-2.0
"""Runs a program in a pseudo-terminal and types into it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from proving import execute

ROWS, COLUMNS = 24, 80
PATIENCE = 10  # seconds until what a step waits for is on the screen
SETTLED = 0.15  # seconds without output: it waits for a key


class Screen:
    """What came from the terminal, and what of it was not yet waited for."""

    def __init__(self, fd):
        self.fd = fd
        self.all = b""
        self.seen = 0

    def read(self, seconds):
        """Gives whether there was anything."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self.fd, 65536)
        except OSError:  # EIO: no one has the other side open
            return False
        self.all += chunk
        return bool(chunk)

    def wait_for(self, pattern):
        """Until it was shown and nothing more comes. Gives what is wrong, or ""."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if re.search(pattern, execute.decode(self.all[self.seen:])):
                break
            if time.monotonic() > deadline:
                return "the terminal did not show %s" % pattern
            self.read(0.1)
        while self.read(SETTLED):
            pass
        self.seen = len(self.all)
        return ""


def attributes(fd):
    """What a program may leave changed; without the speeds."""
    iflag, oflag, cflag, lflag, _, _, characters = termios.tcgetattr(fd)
    return [iflag, oflag, cflag, lflag, characters]


def run(job, steps):
    """Each step is [what to wait for, what to type then]. Output: all that was shown."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    before = attributes(follower)
    # The child is no group leader, so setsid executes the command itself, without a fork.
    process = subprocess.Popen(
        ["setsid", "--ctty"] + job.command, cwd=job.directory,
        env=job.environment, stdin=follower, stdout=follower, stderr=follower)
    screen = Screen(leader)
    trouble = ""
    try:
        for pattern, keys in steps:
            trouble = screen.wait_for(pattern)
            if trouble:
                break
            os.write(leader, keys.encode())
        deadline = time.monotonic() + (0 if trouble else PATIENCE)
        while process.poll() is None and time.monotonic() < deadline:
            screen.read(0.05)
        if process.poll() is None and not trouble:
            trouble = "it did not end after the last key"
    finally:
        execute.kill_group(process)
        process.wait()
    while screen.read(0):
        pass
    after = attributes(follower)
    os.close(follower)
    os.close(leader)
    result = execute.Result(execute.shell_status(process.returncode), execute.decode(screen.all))
    if after != before:
        result.out += "\n[left changed: %s]" % after
    result.trouble = trouble
    return result

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
PATIENCE = 60  # seconds until what a step waits for is on the screen
SETTLED = 0.15  # seconds without output in which it only sleeps: it waits for a key
COMPUTED = 1.0  # seconds of CPU time without output: it computes until it gets one


class Activity:
    """What a process does, by /proc (proc(5)): sleeping is waiting, if it is not for the CPU."""

    def __init__(self, pid):
        self.folder = "/proc/%d" % pid

    def fields(self, path):
        with open(os.path.join(self.folder, path, "stat"), encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()

    def asleep(self):
        try:
            tasks = os.listdir(os.path.join(self.folder, "task"))
            return all(self.fields("task/" + task)[0] not in "RD" for task in tasks)
        except OSError:  # a thread has ended meanwhile, or all have
            return False

    def cpu_seconds(self):
        try:
            return sum(map(int, self.fields("")[11:13])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return 0.0


class Screen:
    """What came from the terminal, and what of it was not yet waited for."""

    def __init__(self, fd, activity):
        self.fd = fd
        self.activity = activity
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
        self.settle(deadline)
        self.seen = len(self.all)
        return ""

    def settle(self, deadline):
        """Until it has done what it had to do without a further key."""
        asleep_since = time.monotonic()
        cpu = self.activity.cpu_seconds()
        while time.monotonic() < deadline:
            shown = self.read(0.02)
            if shown:
                cpu = self.activity.cpu_seconds()
            if shown or not self.activity.asleep():
                asleep_since = time.monotonic()
            if time.monotonic() - asleep_since >= SETTLED:
                break
            if self.activity.cpu_seconds() - cpu >= COMPUTED:
                break


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
    screen = Screen(leader, Activity(process.pid))
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

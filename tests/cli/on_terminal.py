#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run a command on a terminal of its own, as the lines of standard input say.

    expect TEXT     read what it prints until there is TEXT
    send TEXT       type TEXT
    raw, cooked     the terminal is in that mode
    size C R        the window has that size now: SIGWINCH
    signal N        to the command
    stopped         wait until it is; nothing more is its own until
    continue        SIGCONT
    status N        wait for its end by exit status N, or -N: by that signal

TEXT is Python's: \\x01, \\r. What it printed goes to standard output; the first line that does not
hold ends with status 1.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

SECONDS = 60  # only a hang takes as long


class Terminal:
    def __init__(self, argv):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # What a caller in the background has had ignored would stay so.
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(argv[0], argv)
        self.seen = b""

    def pump(self):
        ready, _, _ = select.select([self.fd], [], [], 0.02)
        if not ready:
            return
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            time.sleep(0.02)  # nobody has it open
            return
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        self.seen += data

    def until(self, holds):
        end = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > end:
                return False
            self.pump()
        return True

    def expect(self, text):
        def there():
            at = self.seen.find(text)
            if at >= 0:
                self.seen = self.seen[at + len(text):]
            return at >= 0
        return self.until(there)

    def is_raw(self):
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def waited(self, wanted):
        def changed():
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            return pid and wanted(status)
        return self.until(changed)


def step(t, word, rest):
    text = rest.encode().decode("unicode_escape").encode("latin-1")
    if word == "expect":
        return t.expect(text)
    if word == "send":
        return os.write(t.fd, text) == len(text)
    if word in ("raw", "cooked"):
        return t.until(lambda: t.is_raw() == (word == "raw"))
    if word == "size":
        columns, rows = map(int, rest.split())
        fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        return True
    if word in ("signal", "continue"):
        os.kill(t.pid, int(rest) if word == "signal" else signal.SIGCONT)
        return True
    if word == "stopped":
        return t.waited(os.WIFSTOPPED)
    if word == "status":
        return t.waited(lambda status: os.waitstatus_to_exitcode(status) == int(rest))
    raise ValueError(word)


def main():
    terminal = Terminal(sys.argv[1:])
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if not step(terminal, word, rest):
            sys.exit("\nnot so: " + line.strip())


main()

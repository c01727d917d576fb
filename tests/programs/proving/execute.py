# SPDX-License-Identifier: Apache-2.0
"""Runs programs, and servers together with what drives them. Leaves no process behind."""

import functools
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time

GRACE = 60  # seconds that a program has beyond what its VM has
READY = 60  # seconds until a server listens, and until it has ended when it was told to
LISTENING = "0A"  # of st in /proc/net/tcp: proc(5), include/net/tcp_states.h
OUTPUT = 64 << 20  # what is read of it
FIRST_PORT = 20000  # of those for servers


class Job:
    """What to run."""

    def __init__(self, command, environment, directory, seconds):
        self.command = command
        self.environment = environment
        self.directory = directory
        self.seconds = seconds
        self.input = b""


class Result:
    """What came of it. `trouble`: what went wrong beside it, or ""."""

    def __init__(self, status=0, out="", err=""):
        self.status = status
        self.out = out
        self.err = err
        self.trouble = ""
        self.files = {}
        self.seconds = 0.0


def decode(data):
    return data.decode("utf-8", "surrogateescape")


def shell_status(code):
    """As a shell has it, and `mayfly run`: 128 + signal."""
    return 128 - code if code < 0 else code


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def start(job, out, err, stdin):
    return subprocess.Popen(
        job.command, cwd=job.directory, env=job.environment, stdin=stdin, stdout=out, stderr=err,
        start_new_session=True)


def run(job):
    with tempfile.TemporaryFile() as stdin:
        stdin.write(job.input)
        stdin.seek(0)
        process = start(job, subprocess.PIPE, subprocess.PIPE, stdin)
        trouble = ""
        try:
            out, err = process.communicate(timeout=job.seconds + GRACE)
        except subprocess.TimeoutExpired:
            kill_group(process)
            out, err = process.communicate()
            trouble = "killed after %d s" % (job.seconds + GRACE)
        finally:
            kill_group(process)
    result = Result(shell_status(process.returncode), decode(out[:OUTPUT]), decode(err[:OUTPUT]))
    result.trouble = trouble
    return result


def prepare(line, environment, directory):
    """A line of shell that makes what a program works on, natively."""
    done = subprocess.run(
        ["sh", "-c", line], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError("prepare: exit status %d: %s" % (done.returncode, decode(done.stdout)))


@functools.lru_cache
def compiler_part(program):
    """Where gcc has its cc1; just the name, if it has none."""
    try:
        return subprocess.check_output(
            ["gcc", "-print-prog-name=" + program], encoding="utf-8").strip()
    except (OSError, subprocess.CalledProcessError):
        return program


# --- servers ----------------------------------------------------------------------------------------


def first_of_clients():
    """The first port that the kernel gives to clients: ip(7), ip_local_port_range."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        return int(file.read().split()[0])


GIVEN = set()
GIVING = threading.Lock()


def free_port():
    """One that no other row gets, and no client of theirs between this and the server's start."""
    with GIVING:
        while True:
            port = random.randrange(FIRST_PORT, max(first_of_clients(), FIRST_PORT + 10000))
            with socket.socket() as probe:
                # As servers have it: connections that have ended are not in the way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("", port))
                except OSError:
                    continue
            if port not in GIVEN:
                GIVEN.add(port)
                return port


def listens(port):
    """Whether someone does. Asking the kernel, not by a connection, which servers would notice."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path, encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rsplit(":", 1)[1], 16) == port:
                return True
    return False


def wait_until_ready(process, port):
    """Gives what is wrong, or ""."""
    deadline = time.monotonic() + READY
    while not listens(port):
        if process.poll() is not None:
            return "the server ended before it listened"
        if time.monotonic() > deadline:
            return "the server did not listen within %d s" % READY
        time.sleep(0.01)
    return ""


def drive_line(job, line):
    """A line of shell that talks to the server; gives its output as the table compares it."""
    process = subprocess.Popen(
        ["sh", "-c", line], cwd=job.directory, env=job.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=job.seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        out, _ = process.communicate()
        out += b"\nkilled after %d s" % job.seconds
    finally:
        kill_group(process)
    return "$ %s\n%s\n[%d]\n" % (line, decode(out), process.returncode)


def stop_server(process, stop, seconds):
    """Gives what is wrong, or ""."""
    if stop:
        process.send_signal(getattr(signal, "SIG" + stop))
    try:
        process.wait(timeout=seconds)
        return ""
    except subprocess.TimeoutExpired:
        return "the server did not end within %d s" % seconds
    finally:
        kill_group(process)
        process.wait()


def serve(job, port, lines, row):
    """Runs a server, and lines of shell against it. It is to end by the last of them, or by the
    signal `row.stop`, after which its exit status does not matter."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(job, out, err, subprocess.DEVNULL)
        said = ""
        try:
            trouble = wait_until_ready(process, port)
            if not trouble:
                for line in lines:
                    said += drive_line(job, line)
        finally:
            ended = stop_server(process, row.stop, READY)
        out.seek(0)
        err.seek(0)
        result = Result(0 if row.stop else shell_status(process.returncode), said)
        if trouble or not row.quiet:
            result.out += decode(out.read(OUTPUT))
            result.err = decode(err.read(OUTPUT))
        result.trouble = trouble or ended
        return result


class Peer:
    """A native server for a client that is proved: runs as long as the client."""

    def __init__(self, line, port, job):
        self.line = line
        self.port = port
        self.job = job
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            ["sh", "-c", "exec " + self.line], cwd=self.job.directory, stdin=subprocess.DEVNULL,
            env=self.job.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        if trouble := wait_until_ready(self.process, self.port):
            self.__exit__()
            raise RuntimeError("peer: " + trouble)
        return self

    def __exit__(self, *_):
        kill_group(self.process)
        self.process.wait()

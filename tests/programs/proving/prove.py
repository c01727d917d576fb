# SPDX-License-Identifier: Apache-2.0
"""Runs a row natively and in the VM, and compares."""

import difflib
import os
import re
import shlex
import shutil
import time

from proving import execute, table, terminal, tree

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC0"}
SHOWN = 12  # lines of a difference
DIED = r"(?m)^mayfly: the program died of SIG[A-Z]+.*\r?\n"
COMPARED = 5000  # lines that are compared to find out


class Context:
    """What all rows share. `mayfly` None: both runs are native."""

    def __init__(self, mayfly, programs, here, work):
        self.mayfly = mayfly
        self.programs = programs
        self.here = here
        self.work = work


class Verdict:
    """What came of a row: why it was skipped, or its problems, if any."""

    def __init__(self):
        self.skipped = ""
        self.problems = []
        self.seconds = {}


class Place:
    """The directory of a row, its ports, and what stands for them in the row's texts."""

    def __init__(self, context, number, row):
        self.context = context
        self.row = row
        self.top = os.path.join(context.work, str(number))
        self.work = os.path.join(self.top, "work")
        self.port = execute.free_port() if row.drive else 0
        self.peer = execute.free_port() if row.peer else 0

    def fill(self, text):
        text = text.replace("@WORK@", self.work).replace("@PROGRAMS@", self.context.programs)
        text = text.replace("@HERE@", self.context.here).replace("@LONG@", "long" * 25000)
        for name, program in (("@CC1@", "cc1"), ("@CC1PLUS@", "cc1plus")):
            text = text.replace(name, execute.compiler_part(program)) if name in text else text
        return text.replace("@PORT@", str(self.port)).replace("@PEER@", str(self.peer))

    def content(self, spec):
        if spec.startswith("@template "):
            return self.fill(table.content(spec, self.context.here).decode()).encode()
        return table.content(self.fill(spec), self.context.here)

    def make(self):
        """A fresh directory to work in, the same each time, times included."""
        prepared = os.path.join(self.top, "prepared")
        if not os.path.exists(prepared):
            os.makedirs(self.work)
            self.make_files()
            if self.row.prepare:
                execute.prepare(self.fill(self.row.prepare), self.environment(), self.work)
            os.rename(self.work, prepared)
        shutil.copytree(prepared, self.work, symlinks=True)

    def make_files(self):
        os.chmod(self.work, 0o755)
        for name, spec in self.row.files.items():
            path = os.path.join(self.work, name)
            os.makedirs(path if name.endswith("/") else os.path.dirname(path), exist_ok=True)
            if spec.startswith("@link "):
                os.symlink(spec[len("@link "):], path)
            elif not name.endswith("/"):
                data = self.content(spec)
                with open(path, "wb") as file:
                    file.write(data)
                os.chmod(path, 0o755 if data.startswith(b"#!") else 0o644)

    def put_aside(self, name):
        os.rename(self.work, os.path.join(self.top, name))

    def environment(self):
        terminal_type = {"TERM": "xterm"} if self.row.on_terminal() else {}
        # PATH and HOME first: so does `mayfly run`.
        return {"PATH": PATH, "HOME": self.work, **ENVIRONMENT, **terminal_type,
                **{name: self.fill(value) for name, value in self.row.env.items()}}

    def native_command(self):
        return [self.fill(word) for word in self.row.run]

    def vm_command(self):
        command = [self.context.mayfly, "run", "--timeout", "%ds" % self.row.seconds]
        command += ["--dir", self.work + ":rw", "--cwd", self.work]
        for name, value in self.environment().items():
            command += ["--env", "%s=%s" % (name, value)]
        command += ["--system"] if self.row.system else []
        command += ["--publish", "%d:%d" % (self.port, self.port)] if self.port else []
        command += [self.fill(option) for option in self.row.options]
        return command + ["--"] + self.native_command()


def missing(place):
    """Why the row cannot run here, or ""."""
    program = place.native_command()[0]
    for name in [program] + [place.fill(need) for need in place.row.needs]:
        if name.startswith("./"):
            continue
        if not shutil.which(name, path=PATH) and not os.path.exists(name):
            return "no " + os.path.relpath(name, place.context.programs) \
                if name.startswith(place.context.programs) else "no " + name
    return ""


def run(place, command):
    """One of the two runs; gives an execute.Result, filtered."""
    row = place.row
    job = execute.Job(command, place.environment(), place.work, row.seconds)
    job.input = place.content(row.input)
    start = time.monotonic()
    if row.peer:
        with execute.Peer(place.fill(row.peer), place.peer, job):
            result = execute.run(job)
    elif row.drive:
        result = execute.serve(job, place.port, [place.fill(line) for line in row.drive], row)
    elif row.on_terminal():
        result = terminal.run(job, [[place.fill(part) for part in step] for step in row.keys])
    else:
        result = execute.run(job)
    result.seconds = time.monotonic() - start
    if result.status > 128:
        # As a shell does natively.
        result.err = re.sub(DIED, "", result.err)
        result.out = re.sub(DIED, "", result.out)
    for pattern, replacement in row.filter:
        result.out = re.sub(pattern, replacement, result.out, flags=re.MULTILINE)
        result.err = re.sub(pattern, replacement, result.err, flags=re.MULTILINE)
    result.files = tree.listing(place.work, row.ignore)
    return result


def difference(what, native, vm):
    """Which lines of two texts differ."""
    left, right = native.splitlines(keepends=True), vm.splitlines(keepends=True)
    lines = []
    for line in difflib.unified_diff(left[:COMPARED], right[:COMPARED], n=0):
        if line.startswith("@@"):
            lines.append("%s differs at %s:" % (what, line.strip("@ \n")))
        elif line.startswith(("-", "+")) and not line.startswith(("--- ", "+++ ")):
            lines.append(("native: " if line[0] == "-" else "vm:     ") + repr(line[1:])[1:-1])
    return "\n".join(line[:300] for line in lines[:2 * SHOWN]) or what + " differs"


def shown(where, what, text):
    lines = ["%s: its %s:" % (where, what)]
    lines += [repr(line)[1:-1][:300] for line in text.splitlines(keepends=True)[:SHOWN]]
    return "\n".join(lines)


def expectations(row, where, result):
    """What the row says of a run itself, lest both runs fail alike."""
    problems = []
    if result.trouble:
        problems.append("%s: %s" % (where, result.trouble))
    if result.status != row.status:
        problems.append("%s: exit status %s, not %d" % (where, result.status, row.status))
    everything = result.out + result.err
    for pattern in row.shows:
        if not re.search(pattern, everything, re.MULTILINE):
            problems.append("%s: its output lacks %s" % (where, pattern))
    for pattern in row.lacks:
        if found := re.search(pattern, everything, re.MULTILINE):
            problems.append("%s: its output has %s" % (where, found[0]))
    if problems:
        problems += [shown(where, "output", result.out)] if result.out else []
        problems += [shown(where, "standard error", result.err)] if result.err else []
    return problems


def compare(native, vm):
    problems = []
    if native.status != vm.status:
        problems.append("exit status %s; in the VM: %s" % (native.status, vm.status))
    if native.err != vm.err:
        problems.append(difference("standard error", native.err, vm.err))
    if native.out != vm.out:
        problems.append(difference("output", native.out, vm.out))
    if vm.trouble:
        problems.append("vm: " + vm.trouble)
    lines = tree.differences(native.files, vm.files)
    return problems + lines[:SHOWN]


def prove(context, number, row):
    verdict = Verdict()
    place = Place(context, number, row)
    if why := missing(place):
        verdict.skipped = why
        return verdict
    try:
        if row.only == "both":
            place.make()
            native = run(place, place.native_command())
            verdict.seconds["native"] = native.seconds
            place.put_aside("native")
            verdict.problems = expectations(row, "native", native)
        if not verdict.problems:
            place.make()
            command = place.vm_command() if context.mayfly else place.native_command()
            vm = run(place, command)
            verdict.seconds["vm"] = vm.seconds
            place.put_aside("vm")
            verdict.problems = compare(native, vm) if row.only == "both" else \
                expectations(row, "vm", vm)
            if verdict.problems:
                verdict.problems.insert(0, "$ " + shlex.join(command))
    except Exception as error:  # of this script: a failure of the row, not the end of the others
        verdict.problems.append("%s: %s" % (type(error).__name__, error))
    return verdict

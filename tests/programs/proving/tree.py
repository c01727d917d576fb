# SPDX-License-Identifier: Apache-2.0
"""Compares directory trees: names, types, modes, links, contents, times long ago."""

import fnmatch
import hashlib
import os
import stat

LONG_AGO = 1500000000  # a file with an older time was given it on purpose


def describe_file(path, info):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return "file %o, %d links, %d bytes, sha256 %s" % (
        stat.S_IMODE(info.st_mode), info.st_nlink, info.st_size, digest.hexdigest()[:16])


def describe(path):
    info = os.lstat(path)
    time = ", of %d" % info.st_mtime if info.st_mtime < LONG_AGO else ""
    return describe_type(path, info) + time


def describe_type(path, info):
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        return "symbolic link to " + os.readlink(path)
    if stat.S_ISREG(info.st_mode):
        return describe_file(path, info)
    kinds = {stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return "%s %o" % (kinds.get(stat.S_IFMT(info.st_mode), "special file"), mode)


def listing(top, ignore):
    """What is below `top`: {relative path: description}."""
    found = {}
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top)
            if not any(fnmatch.fnmatchcase(relative, pattern) for pattern in ignore):
                found[relative] = describe(path)
    return found


def differences(native, vm):
    """One line for each path that is not the same in the two listings."""
    lines = []
    for path in sorted(native.keys() | vm.keys()):
        left, right = native.get(path, "missing"), vm.get(path, "missing")
        if left != right:
            lines.append("%s: %s; in the VM: %s" % (path, left, right))
    return lines

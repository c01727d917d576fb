# SPDX-License-Identifier: Apache-2.0
"""Reads tables of programs. What the keys of a row mean is in ../README.md."""

import hashlib
import os
import shlex
import tomllib

SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20}


class TableError(Exception):
    """A table that makes no sense."""


class Row:
    """A program to prove. The class's attributes are the defaults of the keys."""

    run = None
    input = ""
    files = {}
    prepare = ""
    options = []
    system = True
    env = {}
    status = 0
    only = "both"
    shows = []
    lacks = []
    filter = []
    ignore = []
    needs = []
    unsupported = ""
    drive = []
    stop = ""
    quiet = False
    peer = ""
    terminal = False
    keys = []
    seconds = 120

    def __init__(self, name, keys):
        self.name = name
        for key, value in keys.items():
            default = getattr(type(self), key, self)
            if default is self or key.startswith("_") or callable(default):
                raise TableError("%s: there is no key %s" % (name, key))
            if key == "run":
                value = shlex.split(value) if isinstance(value, str) else value
            elif not isinstance(value, type(default)):
                raise TableError("%s: %s is of a wrong type" % (name, key))
            setattr(self, key, value)
        if not self.run:
            raise TableError("%s: it has no key run" % name)
        if self.only not in ("both", "vm"):
            raise TableError("%s: only is neither both nor vm" % name)
        if self.only == "vm" and not (self.shows or self.lacks or self.status):
            raise TableError("%s: a run in the VM only that nothing is expected of" % name)

    def on_terminal(self):
        return self.terminal or bool(self.keys)


def variants(name, keys):
    """A row for each variant of a program that is built in several ways."""
    keys = dict(keys)
    names = keys.pop("variants", [])
    if not names:
        yield name, keys
    for variant in names:
        command = keys["run"].replace("@NAME@", name).replace("@VARIANT@", variant)
        yield "%s (%s)" % (name, variant), {
            **keys, "run": command, "system": variant == "dynamic"}


def load(path):
    """The rows of a table, in its order."""
    base = os.path.splitext(os.path.basename(path))[0]
    with open(path, "rb") as file:
        try:
            content = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise TableError("%s: %s" % (path, error)) from error
    defaults = content.pop("defaults", {})
    return [
        Row("%s: %s" % (base, name), keys)
        for title, row in content.items()
        for name, keys in variants(title, {**defaults, **row})
    ]


# --- contents of files ------------------------------------------------------------------------------

WORDS = (
    "ash birch cedar elm fir hazel juniper larch maple oak pine rowan spruce willow yew alder "
    "Zelkova Äpfel naïve 0x1f 42 -7 3.25 a,b;c 'quoted' \"double\" tab\tbed $HOME {x} [y] back\\slash"
).split(" ")


def noise(count):
    """Bytes that look random, the same each time."""
    return hashlib.shake_256(b"mayfly").digest(count)


def text(lines):
    """Lines of words, the same each time."""
    source = noise(lines * 9)
    result = []
    for number in range(lines):
        part = source[number * 9:number * 9 + 9]
        words = [WORDS[byte % len(WORDS)] for byte in part[:1 + part[8] % 8]]
        result.append("%d %s" % (part[0] * 256 + part[1], " ".join(words)))
    return ("\n".join(result) + "\n").encode()


def content(spec, here):
    """The bytes that a value of `files` or `input` means."""
    kind, _, rest = spec.partition(" ")
    if kind in ("@file", "@template"):
        with open(os.path.join(here, rest), "rb") as file:
            return file.read()
    if kind == "@text":
        return text(int(rest))
    if kind in ("@bytes", "@zeros"):
        unit = rest.strip("0123456789")
        count = int(rest[:len(rest) - len(unit)]) * SIZES[unit]
        return noise(count) if kind == "@bytes" else bytes(count)
    return spec.encode()

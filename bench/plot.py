#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of `mayfly bench --json` as an SVG: a dot at each row's median, a line to its
99th percentile, on a logarithmic scale of time; those of boots of a kernel (--boot KERNEL) as bars
of their medians. Readable on light and dark pages.

usage: plot.py FIGURES.json [OUT.svg]     "-" or nothing: standard input and output
"""

import json
import math
import sys
from xml.sax.saxutils import escape

# What is drawn, by section: the row's name, then what to call it.
SECTIONS = [
    ("From nothing to the first result", [
        ("process_spawn_true", "process: spawn /bin/true, wait"),
        ("process_fork", "process: fork, exit, wait"),
        ("process_spawn_static", "process: spawn a static no-op, wait"),
        ("bare_cold_start", "bare KVM: new VM, first exit"),
        ("cold_start", "Mayfly: new sandbox, first call"),
        ("spawn", "Mayfly: the same from a snapshot"),
        ("spawn_pooled", "Mayfly: out of a pool, first call"),
    ]),
    ("A call in a sandbox that lives", [
        ("bare_run", "bare KVM: enter and come back"),
        ("warm_call", "Mayfly: call"),
        ("call_with_host_function", "Mayfly: call that calls the host"),
        ("interrupt", "Mayfly: interrupt an endless call"),
    ]),
    ("Restore, then call: nothing of the last call is left", [
        ("restore_call_0", "Mayfly: no page written"),
        ("restore_call_16", "Mayfly: 16 pages written"),
        ("restore_call_64", "Mayfly: 64 pages"),
        ("restore_call_256", "Mayfly: 256 pages"),
        ("restore_call_16_64m", "Mayfly: 16 pages, guest of 64 MiB"),
        ("restore_call_16_1g", "Mayfly: 16 pages, guest of 1 GiB"),
    ]),
    ("The end", [
        ("bare_destroy", "bare KVM: destroy a VM"),
        ("destroy", "Mayfly: free a sandbox"),
    ]),
]

# The same of `mayfly bench --programs`.
PROGRAM_SECTIONS = [
    ("Start to exit, whole commands", [
        ("process_spawn_static", "process: a static no-op"),
        ("run_noop", "mayfly run: the same"),
        ("run_true_snapshot", "mayfly run --from: busybox true"),
        ("python_native", "process: python3 -c pass"),
        ("python_snapshot", "mayfly run --from: python3, pass"),
        ("python_run", "mayfly run: python3 -c pass"),
    ]),
    ("A started python3, from request to first line", [
        ("python_fork", "Mayfly: a copy made for it"),
        ("python_restored", "Mayfly: a process restored before"),
    ]),
    ("Leaving the VM", [
        ("bare_run", "bare KVM: enter and come back"),
        ("syscall", "Mayfly: a system call"),
    ]),
    ("Work", [
        ("sha256_native", "process: SHA-256 of 256 MiB"),
        ("sha256_run", "mayfly run: the same"),
        ("loop_native", "process: a loop in python3"),
        ("loop_run", "mayfly run: the same"),
        ("sqlite_native", "process: 300,000 SQLite inserts"),
        ("sqlite_run", "mayfly run: the same"),
        ("nginx_native", "process: a request to nginx"),
        ("nginx_run", "mayfly run: the same"),
    ]),
]

WIDTH, LEFT, RIGHT = 860, 290, 170
ROW, HEADING, TOP, BOTTOM = 24, 38, 62, 58

STYLE = """
.page { fill: #ffffff } text { fill: #24292f; font: 13px system-ui, sans-serif }
.title { font-size: 16px; font-weight: 600 } .heading { font-weight: 600 }
.small { fill: #57606a; font-size: 12px } .grid { stroke: #d8dee4 } .guide { stroke: #eaeef2 }
.bare { stroke: #6e7781; fill: #6e7781 } .mayfly { stroke: #b45309; fill: #b45309 }
.process { stroke: #0969da; fill: #0969da }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9198a1 }
.grid { stroke: #30363d } .guide { stroke: #21262d }
.bare { stroke: #9198a1; fill: #9198a1 } .mayfly { stroke: #f59e0b; fill: #f59e0b }
.process { stroke: #58a6ff; fill: #58a6ff } }
"""


def duration(us):
    """A time as a person would write it."""
    if us >= 1e6:
        return "%.3g s" % (us / 1e6)
    if us >= 1000:
        return "%.3g ms" % (us / 1000)
    return "%.3g µs" % us if us < 100 else "%.0f µs" % us


class Drawing:
    def __init__(self, height):
        self.height = height
        self.parts = []

    def text(self, x, y, text, css="", anchor="start"):
        self.parts.append(
            '<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>'
            % (x, y, css, anchor, escape(text))
        )

    def line(self, x1, y1, x2, y2, css, width=1):
        self.parts.append(
            '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s" stroke-width="%s"/>'
            % (x1, y1, x2, y2, css, width)
        )

    def dot(self, x, y, css):
        self.parts.append('<circle cx="%.1f" cy="%.1f" r="4.5" class="%s"/>' % (x, y, css))

    def bar(self, x, y, width, height, css):
        self.parts.append(
            '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s"/>'
            % (x, y, width, height, css)
        )

    def svg(self, title):
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
            'role="img">\n<title>%s</title>\n<style>%s</style>\n'
            '<rect class="page" width="100%%" height="100%%" rx="8"/>\n%s\n</svg>\n'
            % (WIDTH, self.height, WIDTH, self.height, escape(title), STYLE, "\n".join(self.parts))
        )


def kind(name):
    """The row's colour: whose time it is."""
    if name.endswith("_native"):
        return "process"
    return name.split("_")[0] if name.startswith(("bare_", "process_")) else "mayfly"


def draw(figures):
    rows = {row["name"]: row for row in figures["rows"]}
    programs = "run_noop" in rows
    sections = []
    for heading, names in PROGRAM_SECTIONS if programs else SECTIONS:
        present = [(rows[name], label) for name, label in names if name in rows]
        if present:
            sections.append((heading, present))
    if not sections:
        raise ValueError("there are no rows to draw")

    drawn = [row for _, present in sections for row, _ in present]
    low = math.floor(math.log10(min(row["p50_us"] for row in drawn)))
    high = math.ceil(math.log10(max(row["p99_us"] for row in drawn)))
    count = sum(HEADING + ROW * len(present) for _, present in sections)
    end = TOP + count
    out = Drawing(end + BOTTOM)

    def x(us):
        share = (math.log10(us) - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    host = figures.get("host", {})
    what = "program" if programs else "call"
    out.text(24, 32, "What a %s in a virtual machine of its own costs" % what, "title")
    out.text(
        24, 51,
        "KVM on %s, %s" % (host.get("hypervisor", "?"), host.get("cpu", "?")), "small",
    )
    for power in range(low, high + 1):
        out.line(x(10**power), TOP + 6, x(10**power), end + 6, "grid")
        out.text(x(10**power), end + 22, duration(10.0**power), "small", "middle")
    out.text(24, end + 44, "dot: median; line: to the 99th percentile; logarithmic scale", "small")

    y = TOP
    for heading, present in sections:
        out.text(24, y + 25, heading, "heading")
        y += HEADING
        for row, label in present:
            middle, css = y + 9, kind(row["name"])
            out.text(38, middle + 4, label)
            out.line(LEFT, middle, x(row["p50_us"]), middle, "guide")
            out.line(x(row["p50_us"]), middle, x(row["p99_us"]), middle, css, 2)
            out.dot(x(row["p50_us"]), middle, css)
            out.text(WIDTH - RIGHT + 76, middle + 4, duration(row["p50_us"]), "", "end")
            out.text(WIDTH - 24, middle + 4, duration(row["p99_us"]), "small", "end")
            y += ROW
    out.text(WIDTH - RIGHT + 76, TOP + 4, "median", "small", "end")
    out.text(WIDTH - 24, TOP + 4, "99 %", "small", "end")
    return out.svg("What a %s in a virtual machine of its own costs" % what)


# Each bar's parts: rows whose medians are added or, after "-", taken away, and their colour.
BOOT_BARS = [
    ("mayfly boot", [("boot_mayfly -boot_guest_share", "mayfly"), ("boot_guest_share", "bare")]),
    ("QEMU microvm, unpacked kernel", [("boot_qemu_unpacked", "process")]),
    ("QEMU microvm", [("boot_qemu", "process")]),
]


def draw_boots(figures):
    median = {row["name"]: row["p50_us"] for row in figures["rows"] if "p50_us" in row}
    bars = []
    for label, parts in BOOT_BARS:
        names = [name.lstrip("-") for part, _ in parts for name in part.split()]
        if all(name in median for name in names):
            widths = [
                (sum((-1 if n[0] == "-" else 1) * median[n.lstrip("-")] for n in part.split()), css)
                for part, css in parts
            ]
            bars.append((label, widths))
    longest = max(sum(us for us, _ in widths) for _, widths in bars)
    out = Drawing(TOP + 2 * ROW * len(bars) + BOTTOM)
    title = "From the command to the first line of a Linux guest's init"
    host = figures.get("host", {})
    out.text(24, 32, title, "title")
    out.text(24, 51, "KVM on %s, %s" % (host.get("hypervisor", "?"), host.get("cpu", "?")), "small")
    y = TOP + 12
    for label, widths in bars:
        x = LEFT
        out.text(38, y + 20, label)
        for us, css in widths:
            width = us / longest * (WIDTH - LEFT - RIGHT)
            out.bar(x, y, width, ROW + 6, css)
            x += width
        out.text(x + 10, y + 20, duration(sum(us for us, _ in widths)))
        y += 2 * ROW
    out.text(
        24, y + 20, "mayfly boot: the beginning of the bar is its own share, the rest the guest's; "
        "medians", "small",
    )
    return out.svg(title)


def main(arguments):
    if len(arguments) > 2 or any(a.startswith("--") for a in arguments):
        sys.exit(__doc__)
    source = arguments[0] if arguments else "-"
    target = arguments[1] if len(arguments) > 1 else "-"
    with sys.stdin if source == "-" else open(source, encoding="utf-8") as file:
        figures = json.load(file)
    boots = any(row["name"] == "boot_mayfly" for row in figures["rows"])
    svg = draw_boots(figures) if boots else draw(figures)
    with sys.stdout if target == "-" else open(target, "w", encoding="utf-8") as file:
        file.write(svg)


if __name__ == "__main__":
    main(sys.argv[1:])

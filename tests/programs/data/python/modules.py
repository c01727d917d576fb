# SPDX-License-Identifier: Apache-2.0
"""Modules that need little of the system, each used once; importing them opens many files."""
import argparse
import array
import ast
import base64
import bisect
import calendar
import cmath
import collections
import colorsys
import configparser
import contextlib
import copy
import dataclasses
import decimal
import enum
import fractions
import functools
import heapq
import html
import importlib
import inspect
import io
import ipaddress
import itertools
import math
import operator
import pprint
import shlex
import statistics
import string
import struct
import types
import typing
import urllib.parse
import weakref
import xml.etree.ElementTree as tree

parser = argparse.ArgumentParser(prog="modules")
parser.add_argument("--number", type=int, default=3, help="a number")
print(parser.parse_args(["--number", "7"]), parser.format_help())
print(array.array("d", [1, 2.5]).tobytes().hex(), ast.dump(ast.parse("a + 1").body[0]))
print(base64.b85encode(b"mayfly"), bisect.bisect([1, 3, 5], 4), calendar.month(2024, 2))
print(cmath.exp(1j * math.pi), collections.Counter("mississippi").most_common(2), colorsys.rgb_to_hsv(1, 0.5, 0))
config = configparser.ConfigParser()
config.read_string("[a]\nb = c\nd = %(b)s e\n")
print(config["a"]["d"], copy.deepcopy([[1], {2: [3]}]))


@dataclasses.dataclass(order=True, frozen=True)
class Point:
    x: int
    y: float = 0.5


class Colour(enum.Flag):
    RED = 1
    GREEN = 2


print(sorted([Point(2), Point(1, 3)]), Colour.RED | Colour.GREEN)
decimal.getcontext().prec = 50
print(decimal.Decimal(2).sqrt(), fractions.Fraction(3, 7) + fractions.Fraction(1, 3))
print(functools.reduce(operator.mul, range(1, 25)), heapq.nsmallest(3, [5, 1, 4, 2]), html.escape("<a & b>"))
print(importlib.import_module("this").__name__ if False else "", inspect.signature(parser.parse_args))
with contextlib.redirect_stdout(io.StringIO()) as caught:
    print("caught")
print(repr(caught.getvalue()), ipaddress.ip_network("10.0.0.0/29").num_addresses)
print(list(itertools.islice(itertools.permutations("abc"), 4)), math.factorial(30), math.isqrt(10**30))
pprint.pprint({"k%d" % i: list(range(i)) for i in range(8)})
print(shlex.split("a 'b c' d\\ e"), statistics.stdev([1, 2, 3, 4]), string.Template("$a").substitute(a=1))
print(struct.pack("<IHb", 1, 2, -3), types.SimpleNamespace(a=1), typing.get_type_hints(Point))
print(urllib.parse.urlencode({"a b": "c&d", "e": "ä"}), weakref.ref(parser)() is parser)
document = tree.fromstring("<a><b c='d'>text</b><b/></a>")
print([(e.tag, e.attrib, e.text) for e in document.iter()], sum(0.1 for _ in range(10)), 0.1 + 0.2)
print("modules done")

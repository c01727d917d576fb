# SPDX-License-Identifier: Apache-2.0
import difflib
import re
import textwrap
import unicodedata

text = open("words", encoding="utf-8").read()
print(len(re.findall(r"\b[a-z]+\b", text)), len(re.findall(r"(?i)z(?=el)", text)))
print(re.sub(r"(\w+) (\w+)", r"\2 \1", text)[:200])
pattern = re.compile(r"(?P<number>\d+) (?P<first>\S+)", re.MULTILINE)
print([m.groupdict() for m in pattern.finditer(text)][:3])
print(re.split(r"[,;]\s*", "a, b;c,  d"), re.fullmatch(r"(a|b)*c", "abac"))
print(unicodedata.normalize("NFD", "naïve Äpfel").encode(), unicodedata.name("Ä"))
print("\n".join(difflib.unified_diff(text.splitlines()[:9], text.splitlines()[1:9], lineterm="")))
print(textwrap.fill(text[:400], 40))

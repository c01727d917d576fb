# SPDX-License-Identifier: Apache-2.0
import csv
import json
import pickle

lines = open("words", encoding="utf-8").read().splitlines()
data = [{"line": i, "words": line.split(), "value": i / 7, "none": None} for i, line in enumerate(lines)]
text = json.dumps(data, indent=1, sort_keys=True)
assert json.loads(text) == data
with open("data.json", "w", encoding="utf-8") as out:
    out.write(text)
with open("data.pickle", "wb") as out:
    pickle.dump(data, out, protocol=5)
print(len(text), sum(len(d["words"]) for d in pickle.load(open("data.pickle", "rb"))))
with open("data.csv", "w", newline="", encoding="utf-8") as out:
    csv.writer(out).writerows([d["line"], *d["words"]] for d in data)
print(len(list(csv.reader(open("data.csv", encoding="utf-8")))))
print(json.dumps({"ä": [1e300, -0.0, float("inf")], "nested": {"a": [[]]}}, ensure_ascii=False))
try:
    json.loads('{"a": [1, 2,')
except json.JSONDecodeError as error:
    print(error)

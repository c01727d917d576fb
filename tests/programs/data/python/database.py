# SPDX-License-Identifier: Apache-2.0
"""A database in a file, with a journal; two connections that lock each other out."""
import os
import sqlite3
import threading

db = sqlite3.connect("test.db", isolation_level=None)
print(db.execute("PRAGMA journal_mode = delete").fetchone())
db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, value REAL)")
db.execute("BEGIN")
db.executemany("INSERT INTO t (name, value) VALUES (?, ?)", ((f"name {i % 37}", i / 3) for i in range(5000)))
print("journal while writing:", os.path.exists("test.db-journal"))
db.execute("COMMIT")
print("journal after:", os.path.exists("test.db-journal"))
print(db.execute("SELECT name, count(*), sum(value) FROM t GROUP BY name ORDER BY name LIMIT 3").fetchall())
other = sqlite3.connect("test.db", timeout=0, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("DELETE FROM t WHERE id < 100")
try:
    other.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print("other:", error)
print("other sees", other.execute("SELECT count(*) FROM t").fetchone())
db.execute("ROLLBACK")
print("after the rollback", db.execute("SELECT count(*) FROM t").fetchone())


def work(number):
    mine = sqlite3.connect("test.db", timeout=30)
    for i in range(10):
        with mine:
            mine.execute("UPDATE t SET value = value + 1 WHERE id = ?", (number,))
    mine.close()


threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 1)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(db.execute("SELECT id, value FROM t WHERE id IN (1, 2)").fetchall())
copy = sqlite3.connect(":memory:")
db.backup(copy)
print("integrity", copy.execute("PRAGMA integrity_check").fetchone()[0])
other.close()
db.execute("VACUUM")
db.close()

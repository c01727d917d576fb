PRAGMA journal_mode = wal;
CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
	INSERT INTO t SELECT i, zeroblob(i % 700) FROM c;
PRAGMA wal_checkpoint(TRUNCATE);
DELETE FROM t WHERE a % 3 = 0;
SELECT count(*), sum(length(b)) FROM t;
PRAGMA mmap_size = 10000000;
SELECT count(*) FROM t WHERE length(b) > 100;
.mode list
.separator ' '
SELECT 'integrity', integrity_check FROM pragma_integrity_check;

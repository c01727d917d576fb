PRAGMA page_size = 1024;
PRAGMA journal_mode = delete;
CREATE TABLE words (n INTEGER, word TEXT);
CREATE INDEX by_word ON words (word);
.mode list
.separator ' '
.import words words
BEGIN;
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000)
	INSERT INTO words SELECT i, 'word ' || (i * 7919 % 1009) FROM c;
COMMIT;
SELECT count(*), sum(n), min(word), max(word) FROM words;
BEGIN;
DELETE FROM words WHERE n % 2;
SELECT 'inside', count(*) FROM words;
ROLLBACK;
SELECT 'after the rollback', count(*) FROM words;
UPDATE words SET word = upper(word) WHERE n < 100;
SELECT word, count(*) AS k FROM words GROUP BY word ORDER BY k DESC, word LIMIT 5;
CREATE VIRTUAL TABLE search USING fts5(text);
INSERT INTO search VALUES ('the quick brown fox'), ('jumps over the lazy dog');
SELECT text FROM search WHERE search MATCH 'lazy';
SELECT json_extract('{"a": [1, 2, 3]}', '$.a[1]');
ATTACH 'other.db' AS other;
CREATE TABLE other.copy AS SELECT * FROM words WHERE n < 50;
VACUUM;
SELECT 'integrity', integrity_check FROM pragma_integrity_check;

-- +goose Up

-- Each row of the record says which key sealed it; '' for those from before there was one, and from while the vault could
-- not be opened. What its mac covers is the row and the mac before it.
ALTER TABLE calls RENAME COLUMN hash TO mac;
ALTER TABLE calls ADD COLUMN key TEXT NOT NULL DEFAULT '';
DROP INDEX calls_begun;
CREATE INDEX calls_changing ON calls (seq) WHERE kind IN ('intent', 'begin');
CREATE INDEX calls_cut ON calls (seq) WHERE kind = 'cut';

-- +goose Up

-- Where a call came from, and with what: an address, and session:ID or token:ID. Both are empty on the daemon's own socket, and
-- in rows from before they were kept; a mac covers them where they are not.
ALTER TABLE calls ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN credential TEXT NOT NULL DEFAULT '';

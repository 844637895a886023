-- +goose Up

-- Calls that wait, or have waited, for a person. Those of before could not be decided.
DROP TABLE approvals;
CREATE TABLE approvals (
	id        TEXT PRIMARY KEY,
	seal      TEXT    NOT NULL, -- keyed hash of what makes two calls the same
	principal TEXT    NOT NULL, -- who asked
	caller    TEXT    NOT NULL, -- JSON, for people
	method    TEXT    NOT NULL,
	args      TEXT    NOT NULL, -- redacted JSON or ''
	targets   TEXT    NOT NULL, -- JSON array of names
	plan      TEXT    NOT NULL, -- JSON array of items
	rule      TEXT    NOT NULL,
	why       TEXT    NOT NULL,
	created   INTEGER NOT NULL, -- unix ns
	expires   INTEGER NOT NULL, -- when silence becomes no
	status    TEXT    NOT NULL, -- pending | approved | denied | expired | used
	decided   INTEGER NOT NULL DEFAULT 0,
	decider   TEXT    NOT NULL DEFAULT '',
	note      TEXT    NOT NULL DEFAULT '',
	use_by    INTEGER NOT NULL DEFAULT 0,
	used      INTEGER NOT NULL DEFAULT 0,
	call      TEXT    NOT NULL DEFAULT '' -- that used it
);
CREATE INDEX approvals_by_seal ON approvals (seal);
CREATE INDEX approvals_by_time ON approvals (created);
CREATE INDEX approvals_open ON approvals (principal) WHERE status IN ('pending', 'approved');

-- What was let through by rules with a budget.
CREATE TABLE spent (
	rule TEXT    NOT NULL,
	at   INTEGER NOT NULL -- unix ns
);
CREATE INDEX spent_by_rule ON spent (rule, at);
CREATE INDEX spent_by_time ON spent (at);

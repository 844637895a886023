-- +goose Up

-- Single values, such as keys and the anchor of the ledger.
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;

-- Resolved definitions, numbered per stack.
CREATE TABLE revisions (
	project    TEXT    NOT NULL,
	stack      TEXT    NOT NULL,
	rev        INTEGER NOT NULL,
	created    INTEGER NOT NULL, -- unix ns
	author     TEXT    NOT NULL,
	definition BLOB    NOT NULL, -- JSON
	files      BLOB    NOT NULL, -- JSON
	env        BLOB    NOT NULL, -- JSON
	PRIMARY KEY (project, stack, rev)
);

CREATE TABLE events (
	seq   INTEGER PRIMARY KEY,
	at    INTEGER NOT NULL, -- unix ns
	topic TEXT NOT NULL,
	type  TEXT NOT NULL,
	key   TEXT NOT NULL,
	slot  TEXT NOT NULL,
	text  TEXT NOT NULL,
	data  TEXT NOT NULL     -- JSON or ''
);
CREATE INDEX events_by_key ON events (key, seq);
CREATE INDEX events_by_topic ON events (topic, seq);
CREATE INDEX events_by_time ON events (at);

-- Changing calls that carried a key of their own, so that a repeated one is not done twice.
CREATE TABLE idempotency (
	principal TEXT    NOT NULL,
	method    TEXT    NOT NULL,
	key       TEXT    NOT NULL,
	digest    TEXT    NOT NULL,
	life      TEXT    NOT NULL, -- which run of the daemon took it on
	answer    BLOB,             -- JSON; NULL while the call runs
	expires   INTEGER NOT NULL, -- unix ns
	PRIMARY KEY (principal, method, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires);

-- The record of calls: rows are added, never changed. hash covers the row and the hash before it.
CREATE TABLE calls (
	seq      INTEGER PRIMARY KEY,
	kind     TEXT    NOT NULL, -- begin | settle | read | gap
	ref      INTEGER NOT NULL, -- settle: the begin it closes
	at       INTEGER NOT NULL, -- unix ns
	call     TEXT    NOT NULL,
	user     TEXT    NOT NULL,
	uid      INTEGER NOT NULL,
	channel  TEXT    NOT NULL,
	client   TEXT    NOT NULL,
	session  TEXT    NOT NULL,
	plane    TEXT    NOT NULL,
	trace    TEXT    NOT NULL,
	method   TEXT    NOT NULL,
	targets  TEXT    NOT NULL, -- JSON array of keys
	args     TEXT    NOT NULL, -- redacted JSON
	decision TEXT    NOT NULL,
	code     TEXT    NOT NULL,
	reason   TEXT    NOT NULL,
	took     INTEGER NOT NULL, -- ns
	count    INTEGER NOT NULL, -- gap: calls that are not on record
	hash     BLOB    NOT NULL
);
CREATE UNIQUE INDEX calls_settled ON calls (ref) WHERE ref > 0;
CREATE INDEX calls_begun ON calls (seq) WHERE kind = 'begin';

-- Calls that wait for a person.
CREATE TABLE approvals (
	id        TEXT PRIMARY KEY,
	principal TEXT    NOT NULL,
	match     TEXT    NOT NULL, -- what makes two calls the same
	caller    TEXT    NOT NULL, -- JSON, for people
	method    TEXT    NOT NULL,
	args      TEXT    NOT NULL, -- redacted JSON
	plan      TEXT    NOT NULL, -- JSON
	why       TEXT    NOT NULL,
	created   INTEGER NOT NULL, -- unix ns
	expires   INTEGER NOT NULL
);
CREATE INDEX approvals_by_match ON approvals (match, expires);
CREATE INDEX approvals_by_expiry ON approvals (expires);

-- Confirm tokens that were used; each is good once.
CREATE TABLE redeemed (
	nonce   BLOB PRIMARY KEY,
	expires INTEGER NOT NULL -- unix ns
) WITHOUT ROWID;
CREATE INDEX redeemed_by_expiry ON redeemed (expires);

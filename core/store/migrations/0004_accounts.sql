-- +goose Up

-- Who may sign in. An account is known by its id: a name that was deleted may be given again and is somebody else then.
CREATE TABLE accounts (
	id       TEXT PRIMARY KEY,
	name     TEXT    NOT NULL UNIQUE,
	role     TEXT    NOT NULL, -- viewer | operator | admin
	hash     TEXT    NOT NULL, -- of the password, argon2id in PHC form; '' cannot sign in by password
	disabled INTEGER NOT NULL,
	failures INTEGER NOT NULL, -- wrong passwords in a row
	created  INTEGER NOT NULL, -- unix ns
	changed  INTEGER NOT NULL  -- when the password was set, unix ns
);

-- Wrong passwords for names that there are not, so that trying one costs what trying a real one does.
CREATE TABLE strangers (
	id       INTEGER PRIMARY KEY CHECK (id = 0),
	failures INTEGER NOT NULL
);
INSERT INTO strangers VALUES (0, 0);

-- Each sign-in by password is a session, and the family of the refresh tokens that follow from it.
CREATE TABLE sessions (
	id      TEXT PRIMARY KEY,
	account TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
	created INTEGER NOT NULL, -- unix ns
	seen    INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	address TEXT    NOT NULL,
	client  TEXT    NOT NULL, -- foreign text
	cookie  BLOB,             -- SHA-256, of a browser's cookie
	key     BLOB              -- SHA-256, of what its page keeps
);
CREATE INDEX sessions_by_account ON sessions (account);

CREATE TABLE refresh_tokens (
	hash    BLOB PRIMARY KEY, -- SHA-256
	session TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	expires INTEGER NOT NULL, -- unix ns
	used    INTEGER NOT NULL  -- unix ns, 0: not yet
) WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session);

-- Tokens for programs.
CREATE TABLE named_tokens (
	id      TEXT PRIMARY KEY,
	hash    BLOB    NOT NULL, -- SHA-256 of the whole text
	account TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
	name    TEXT    NOT NULL,
	role    TEXT    NOT NULL,
	scope   TEXT    NOT NULL, -- JSON
	channel TEXT    NOT NULL, -- agent | app
	created INTEGER NOT NULL, -- unix ns
	expires INTEGER NOT NULL,
	used    INTEGER NOT NULL, -- 0: never
	revoked INTEGER NOT NULL  -- unix ns, 0: not
);
CREATE INDEX named_tokens_by_account ON named_tokens (account);

-- The keys that sign access tokens; the keys themselves are in the vault.
CREATE TABLE signing_keys (
	kid     TEXT PRIMARY KEY,
	created INTEGER NOT NULL, -- unix ns
	until   INTEGER NOT NULL  -- unix ns; 0: it signs; else until when what it signed counts
);

-- The key of held calls is in the vault now; those that wait are asked again.
DELETE FROM settings WHERE name = 'approvals.key';

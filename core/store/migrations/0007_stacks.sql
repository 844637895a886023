-- +goose Up

-- Stacks that were created beside the file of their project.
CREATE TABLE stacks (
	project TEXT    NOT NULL,
	name    TEXT    NOT NULL,
	created INTEGER NOT NULL, -- unix ns
	author  TEXT    NOT NULL,
	says    TEXT    NOT NULL, -- JSON: what omnitron.yaml would say of it
	PRIMARY KEY (project, name)
) WITHOUT ROWID;

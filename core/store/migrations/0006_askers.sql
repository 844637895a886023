-- +goose Up

-- Who asked, with the kind of identity: a user of the socket and an account may be called the same. A call over the network was
-- always an account's, one over the socket never.
UPDATE approvals SET caller = json_set(caller, '$.kind', CASE WHEN json_extract(caller, '$.plane') IN ('tcp', 'http') THEN 'account' ELSE 'socket' END);
UPDATE approvals SET principal = json_extract(caller, '$.kind') || ':' || json_extract(caller, '$.user') || '/' || json_extract(caller, '$.channel');

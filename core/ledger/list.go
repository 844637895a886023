package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Filter says which calls are wanted; what is empty does not restrict.
type Filter struct {
	Since    time.Time
	Until    time.Time
	Who      string // an account, or a credential: token:ID, session:ID
	Channel  string
	Session  string
	Call     string
	Method   string // service.verb, or service.* for all of a service
	Decision string
	Code     string // a fault code, or "ok" for success
	Target   string // key of an app; it finds what was about a part of the app, too
	Changes  bool   // changing calls only
	Before   int64  // only numbers below: the next page
	After    int64  // only numbers above
	Forward  bool   // oldest first
	Limit    int    // 1 to 1000; 0: 20
}

// List gives calls newest first, changing ones together with how they ended, and gaps as calls of the method "(gap)"
// with what is missing in Reason, and cuts as "(cut)". next is the Before, or the After if oldest come first, of the next
// page, 0 on the last. What waits to be written is
// written first; if that fails, what is on disk is given all the same.
func (l *Ledger) List(ctx context.Context, f Filter) (calls []Entry, next int64, err error) {
	_ = l.Flush(ctx) // noted in Health; an audit that shows less is better than none
	where, args := f.where()
	order := "DESC"
	if f.Forward {
		order = "ASC"
	}
	limit := min(cmp.Or(max(f.Limit, 0), 20), 1000)
	query := `SELECT c.seq, c.kind, c.at, c.call, c.user, c.uid, c.channel, c.client, c.session, c.plane, c.trace, c.method, c.targets, c.args,
		coalesce(s.decision, c.decision), coalesce(s.code, c.code), coalesce(s.reason, c.reason), coalesce(s.took, c.took), c.count, s.seq IS NOT NULL, c.address, c.credential
		FROM calls c LEFT JOIN calls s ON s.ref = c.seq AND s.ref > 0
		WHERE ` + where + ` ORDER BY c.seq ` + order + ` LIMIT ?`
	err = l.db.View(ctx, func(tx *sql.Tx) (err error) {
		rows, err := tx.QueryContext(ctx, query, append(args, limit+1)...)
		if err != nil {
			return err
		}
		defer func() { err = cmp.Or(err, errors.Join(rows.Err(), rows.Close())) }()
		for rows.Next() {
			e, err := scan(rows)
			if err != nil {
				return err
			}
			calls = append(calls, e)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the record of calls: %w", err)
	}
	if len(calls) > limit {
		calls = calls[:limit]
		next = calls[limit-1].Seq
	}
	return calls, next, nil
}

func scan(rows *sql.Rows) (e Entry, err error) {
	var kind, targets, args string
	var at, took, count int64
	var settled bool
	if err := rows.Scan(&e.Seq, &kind, &at, &e.Call, &e.User, &e.UID, &e.Channel, &e.Client, &e.Session, &e.Plane, &e.Trace, &e.Method, &targets, &args,
		&e.Decision, &e.Code, &e.Reason, &took, &count, &settled, &e.Address, &e.Credential); err != nil {
		return e, err
	}
	e.Time, e.Took = time.Unix(0, at), time.Duration(took)
	e.Changes = kind == intent || kind == legacy
	e.Open = e.Changes && !settled
	if args != "" {
		e.Args = json.RawMessage(args)
	}
	e.Count, e.Refused = count, kind == refusal
	if kind == gap || kind == cut {
		e.Method = "(" + kind + ")"
		if e.Reason == "" {
			e.Reason = fmt.Sprintf("%d calls are not on record", count)
		}
		return e, nil
	}
	if targets != "[]" {
		err = json.Unmarshal([]byte(targets), &e.Targets)
	}
	return e, err
}

func (f Filter) where() (string, []any) {
	terms := []string{"c.kind <> 'settle'"}
	var args []any
	add := func(term string, values ...any) { terms, args = append(terms, term), append(args, values...) }
	equal := func(column, value string) {
		if value != "" {
			add(column+" = ?", value)
		}
	}
	if f.Changes {
		terms[0] = "c.kind IN ('intent', 'begin')"
	}
	if !f.Since.IsZero() {
		add("c.at >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		add("c.at < ?", f.Until.UnixNano())
	}
	if f.Who != "" {
		add("? IN (c.user, c.credential)", f.Who)
	}
	equal("c.channel", f.Channel)
	equal("c.session", f.Session)
	equal("c.call", f.Call)
	if service, all := strings.CutSuffix(f.Method, ".*"); all {
		add("instr(c.method, ?) = 1", service+".")
	} else {
		equal("c.method", f.Method)
	}
	equal("coalesce(s.decision, c.decision)", f.Decision)
	if f.Code == "ok" {
		terms = append(terms, "coalesce(s.code, c.code) = '' AND c.kind NOT IN ('gap', 'cut') AND (c.kind NOT IN ('intent', 'begin') OR s.seq IS NOT NULL)")
	} else {
		equal("coalesce(s.code, c.code)", f.Code)
	}
	if f.Target != "" {
		key, err := json.Marshal(f.Target)
		if err == nil { // strings always encode
			add("(instr(c.targets, ?) > 0 OR instr(c.targets, ?) > 0)", string(key), strings.TrimSuffix(string(key), `"`)+":")
		}
	}
	if f.Before > 0 {
		add("c.seq < ?", f.Before)
	}
	if f.After > 0 {
		add("c.seq > ?", f.After)
	}
	return strings.Join(terms, " AND "), args
}

package ledger

import "time"

const (
	minute   = time.Minute
	sumEvery = 10 * time.Second // how long after its end a minute may be on record
	// strangersRoom is how many addresses are told apart in a minute; whoever comes from more is not worth more rows.
	strangersRoom = 256
)

// Stranger is somebody who was turned away before it was known who it is.
type Stranger struct {
	Plane   string // unix, tcp, http
	Address string // where it came from: an address, or "uid 1001"
	UID     int    // on a socket
	Code    string // of the fault that it got
	Reason  string
}

// stranger is what is counted together.
type stranger struct {
	minute int64
	Stranger
}

// turned is how often, and when first.
type turned struct {
	count int64
	first time.Time
}

// Refuse counts a stranger. Each minute and address is one row: nobody fills the record who is not let in.
func (l *Ledger) Refuse(s Stranger) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := stranger{now.Unix() / 60, s}
	t := l.strangers[key]
	if t == nil && len(l.strangers) >= strangersRoom {
		key.Address, key.UID = "others", 0
		t = l.strangers[key]
	}
	if t == nil {
		t = &turned{first: now}
		l.strangers[key] = t
	}
	t.count++
}

// sum makes rows of the minutes that have ended.
func (l *Ledger) sum(now time.Time) {
	l.mu.Lock()
	var over []row
	for key, t := range l.strangers {
		if key.minute < now.Unix()/60 {
			over = append(over, rowOf(refusal, Entry{Time: t.first, User: key.Address, UID: key.UID, Plane: key.Plane, Method: "(connect)", Decision: "refused", Code: key.Code, Reason: key.Reason, Count: t.count, Address: key.Address}))
			delete(l.strangers, key)
		}
	}
	l.mu.Unlock()
	for _, r := range over {
		l.enqueue(r, true)
	}
}

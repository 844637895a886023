package op

import (
	"context"
	"net/netip"
	"strconv"
)

// Channel is what kind of principal is at the other end.
type Channel string

// The channels. A connection may be lowered from person to agent or app, never raised.
const (
	Person Channel = "person"
	Agent  Channel = "agent"
	App    Channel = "app"
	Peer   Channel = "node"
)

// Caller is who calls. Planes make it from evidence (peer credentials, a token), never from an input.
type Caller struct {
	User     string     // account or system user
	UID      int        // -1 where there is none
	PID      int        // of the peer process, 0 where unknown
	Channel  Channel    //
	Session  string     // one a connection
	Token    string     // identity of what the caller signed in with; of an agent on the socket that of its client's session; never shown
	Twin     bool       // an account that is called like a user of the daemon's own socket, who is somebody else
	Console  bool       // a person who signed in with a password
	Client   string     // name and version that the client gives itself: foreign text
	Plane    string     // unix, stdio, tcp, http
	From     netip.Addr // where it comes from; none on a socket
	Ceiling  Role       // the principal's rights; above them a call is denied
	Role     Role       // the role it acts with; between it and the ceiling a call is held
	ReadOnly bool       // nothing but Reads
	Toolsets []string
	Scope    Scope  // what its token is limited to
	Trace    string // W3C trace id, or ""
}

// Principal names who the caller is for limits, records and tokens: user, channel and session's client are part of it,
// the connection is not, so that a reconnecting client keeps its place. An account never shares that of a user of the socket.
func (c Caller) Principal() string {
	if c.Twin {
		return "account:" + c.Named()
	}
	return c.Named()
}

// Account reports whether it is an account, which came with a credential, and not a user of the daemon's own socket.
func (c Caller) Account() bool { return c.Twin || c.UID < 0 }

// Full is Principal with the kind of identity said always, socket: or account:, so that it stays apart from everybody else's
// whoever is called what later.
func (c Caller) Full() string { return c.Kind() + ":" + c.Named() }

// Kind is what Account tells, in a word: socket or account.
func (c Caller) Kind() string {
	if c.Account() {
		return "account"
	}
	return "socket"
}

// Named is user and channel alone: two who are called the same are the same to it.
func (c Caller) Named() string { return c.User + "/" + string(c.Channel) }

type callerKey struct{}
type targetsKey struct{}
type callKey struct{}
type seqKey struct{}

// WithCaller gives ctx a caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is the only source of identity. Without a caller it gives one that may do nothing.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// WithCall gives ctx the id of the call being handled.
func WithCall(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callKey{}, id)
}

// CallOf is the id of the call being handled, or "".
func CallOf(ctx context.Context) string {
	id, _ := ctx.Value(callKey{}).(string)
	return id
}

// WithSeq gives ctx the number of the call's record. Numbers grow in the order in which calls were recorded, and that is
// the order of commands on one app: a handler that meets a greater number than its own has been overtaken.
func WithSeq(ctx context.Context, seq int64) context.Context {
	return context.WithValue(ctx, seqKey{}, seq)
}

// SeqOf is the number of the call's record, or 0 for a call that changes nothing.
func SeqOf(ctx context.Context) int64 {
	seq, _ := ctx.Value(seqKey{}).(int64)
	return seq
}

// Selector is text that names apps, processes or instances: a unique suffix of project/stack/app, a glob,
// app:process, app:process#2. The pipeline resolves it before the call is decided.
type Selector string

// Target is what a selector resolved to.
type Target struct {
	Key        string   // project/stack/app
	Process    string   // "" for the whole app
	Instance   int      // 0 for every instance
	Generation uint64   // moves whenever the app is started, stopped or changed
	Project    string   //
	Stack      string   //
	Slots      []string // the slots meant, app:process#n
}

// String is the target in full: the key, with process and instance where only they are meant.
func (t Target) String() string {
	s := t.Key
	if t.Process != "" {
		s += ":" + t.Process
	}
	if t.Instance > 0 {
		s += "#" + strconv.Itoa(t.Instance)
	}
	return s
}

// WithTargets gives ctx the resolved targets.
func WithTargets(ctx context.Context, ts []Target) context.Context {
	return context.WithValue(ctx, targetsKey{}, ts)
}

// TargetsOf gives what the input's selectors resolved to, in the order of the input.
func TargetsOf(ctx context.Context) []Target {
	ts, _ := ctx.Value(targetsKey{}).([]Target)
	return ts
}

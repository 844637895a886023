// Package wire speaks line-framed JSON-RPC 2.0 over any byte stream: a server end, a client end, and the strict reader
// and parser that both of the daemon's dialects share.
//
// A message is one line of JSON, at most MaxLine bytes long and MaxDepth deep. A call is answered once, in any order. A
// streaming call sends its items first, in order, as {"method":"$/item","params":{"id":7,"item":…}}, and then its
// answer {"count":…,"dropped":…}. {"method":"$/cancel","params":{"id":7}} ends a call. {"method":"$/ping"} is answered by
// {"method":"$/pong"} as soon as it is read, whatever calls are in flight.
//
// Everything is bounded before memory is taken: line, depth, members of an object, length of an id, calls in flight and
// the answers that a slow reader has not taken yet.
package wire

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
)

// The bounds that hold on every connection.
const (
	MaxLine    = 4 << 20  // bytes of a message from a client, without its newline
	MaxAnswer  = 64 << 20 // bytes of a message from the daemon
	MaxDepth   = 64       // nested arrays and objects, the message itself included
	MaxMembers = 1 << 14  // names in the objects that are open at one place of a message
	MaxID      = 256      // bytes of an id as it was written
	MaxMethod  = 128      // bytes of a method name
)

const ping = "$/ping"

// Handler answers one call. The context ends when the caller cancels or goes away. A stream hands its items to emit,
// which blocks while the reader is slow, and answers nil, or the number of items it had to drop as an int64.
type Handler func(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error)

// Options bound a connection. The zero value is ready to use.
type Options struct {
	MaxLine  int // bytes; default MaxLine
	InFlight int // calls at once; default 256
	Reserve  int // calls beyond InFlight for methods with Priority; default 8

	// Priority names the methods that may use the reserve, so that looking at a busy daemon stays possible.
	Priority func(method string) bool

	WriteTimeout time.Duration // how long a client may leave its answers unread before it is cut off; default 30 s
	Drain        time.Duration // how long unary calls may go on after the context has ended; default 2 s
	Log          *slog.Logger  // default: nothing is logged
}

func (o Options) withDefaults() Options {
	if o.MaxLine <= 0 {
		o.MaxLine = MaxLine
	}
	if o.InFlight <= 0 {
		o.InFlight = 256
	}
	if o.Reserve <= 0 {
		o.Reserve = 8
	}
	if o.Priority == nil {
		o.Priority = func(string) bool { return false }
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Drain <= 0 {
		o.Drain = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

type reservedKey struct{}

// Reserved marks a connection that was taken in over the bound of its plane: Serve answers only methods with Priority
// on it, everything else is limited at once.
func Reserved(ctx context.Context) context.Context {
	return context.WithValue(ctx, reservedKey{}, true)
}

// IsReserved reports whether ctx is that of such a connection.
func IsReserved(ctx context.Context) bool {
	is, _ := ctx.Value(reservedKey{}).(bool)
	return is
}

// StreamEnd is the answer of a streaming call.
type StreamEnd struct {
	Count   int64 `json:"count"`   // items sent
	Dropped int64 `json:"dropped"` // items lost because the reader was slow
}

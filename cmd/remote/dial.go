package remote

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"github.com/omnitron-dev/omnitron/transports/wire/pin"
)

const (
	fresh   = 30 * time.Second // what ends sooner is renewed before it is shown
	renewIn = time.Minute      // before its end a credential in use is renewed
	retryIn = 10 * time.Second // after a renewal that failed

	asked  = 3 * time.Second  // between two questions whether a daemon is there
	misses = 4                // of them without an answer, after which it hangs
	greets = 15 * time.Second // for a sign-in to be answered; a daemon that is well gives it less
)

// hangs is the fault of a daemon whose machine is there, while it does not answer itself.
func hangs(address string) *fault.Error {
	return fault.New(fault.Unavailable, "the daemon at %s does not answer, not even to a ping, though its machine does", address).WithReason("remote_hung").
		WithHint("on its machine, omnitron kill ends it while apps live on, and omnitron up starts it again")
}

// soon bounds a sign-in: before it nobody can be asked whether he is there.
func soon(ctx context.Context, address string, do func(ctx context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, greets)
	defer cancel()
	err := do(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return hangs(address)
	}
	return err
}

// Launch lowers what a connection may do. The zero value lowers nothing.
type Launch struct {
	Channel  string   // agent or app; "": that of the credential
	Role     string   //
	ReadOnly bool     //
	Toolsets []string //
}

// Welcome is what a daemon says of who has signed in.
type Welcome struct {
	User    string    `json:"user"`
	Channel string    `json:"channel"`
	Role    string    `json:"role"`
	Ceiling string    `json:"ceiling"`
	Session string    `json:"session"`
	Expires time.Time `json:"expires_at"`
	Ping    bool      `json:"ping"` // it answers when it is asked whether it is there; an older one does not
}

// Client is a connection to a remote daemon that renews its credential by itself.
type Client struct {
	*wire.Client
	Welcome Welcome

	book   Book
	alias  string
	launch Launch
	end    context.CancelFunc
	ctx    context.Context

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// Key gives the key that is shown at an address, and until when its certificate is good. Faults: those of pin.Look.
func Key(ctx context.Context, address string) (string, time.Time, error) {
	c, err := pin.Look(ctx, address)
	if err != nil {
		return "", time.Time{}, err
	}
	return cert.Pin(c), c.NotAfter, nil
}

// SignIn is how somebody proves who he is: with a token, or with a name and a password.
type SignIn struct{ Token, User, Password string }

// Add keeps a remote once the daemon there has taken the sign-in, and says who that is. An alias that is there already is
// signed in again, if address and key are the same. Faults: denied (key_changed), conflict (alias_taken), unauthenticated,
// limited, unavailable.
func (b Book) Add(ctx context.Context, alias, address, key string, who SignIn) (Welcome, error) {
	release, err := b.lock(ctx, alias)
	if err != nil {
		return Welcome{}, err
	}
	defer release()
	if old, err := b.get(alias); err == nil && (old.Address != address || old.Pin != key) {
		return Welcome{}, fault.New(fault.Conflict, "there is a remote %s already: %s with the key %s", alias, old.Address, old.Pin).WithReason("alias_taken").
			WithHint("omnitron remote remove %s", alias)
	}
	e := entry{Remote: Remote{Alias: alias, Address: address, Pin: key, Added: time.Now().UTC().Truncate(time.Second)}, Credentials: credentials{Token: who.Token}}
	conn, err := pin.Dial(ctx, address, key)
	if err != nil {
		return Welcome{}, err
	}
	c := wire.NewClient(conn)
	defer c.Close()
	var w Welcome
	err = soon(ctx, address, func(ctx context.Context) error {
		if who.Token == "" {
			if e.Credentials, err = signIn(ctx, c, who); err != nil {
				return err
			}
		}
		w, err = hello(ctx, c, e.Credentials, Launch{})
		return err
	})
	if err != nil {
		return w, err
	}
	e.User = w.User
	return w, b.put(e)
}

// Dial connects to a remote and signs in. Faults: those of pin.Dial; not_found (remote_unknown), unauthenticated
// (signed_out, and what the daemon says).
func (b Book) Dial(ctx context.Context, alias string, l Launch) (*Client, error) {
	e, err := b.get(alias)
	if err != nil {
		return nil, err
	}
	conn, err := pin.Dial(ctx, e.Address, e.Pin)
	if err != nil {
		return nil, named(err, alias)
	}
	c := &Client{Client: wire.NewClient(conn), book: b, alias: alias, launch: l}
	c.ctx, c.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := soon(ctx, e.Address, func(ctx context.Context) error { return c.greet(ctx, e.Credentials) }); err != nil {
		_ = c.Close() // why it is of no use counts
		return nil, named(err, alias)
	}
	if c.Welcome.Ping {
		hung, _ := errors.AsType[*fault.Error](named(hangs(e.Address), alias))
		c.Watch(wire.Watch{Every: asked, Misses: misses, Unsent: func() int { return pin.Unsent(conn) }, Hung: hung})
	}
	c.schedule(c.Welcome.Expires)
	return c, nil
}

// named says of which remote a fault is.
func named(err error, alias string) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	own := *f
	own.Message = "remote " + alias + ": " + f.Message
	return &own
}

// greet signs in with what is kept, renewed where that is needed.
func (c *Client) greet(ctx context.Context, cr credentials) error {
	var err error
	if cr.Token == "" && time.Until(cr.Expires) < fresh {
		if cr, err = c.refresh(ctx, cr); err != nil {
			return err
		}
	}
	c.Welcome, err = hello(ctx, c.Client, cr, c.launch)
	if cr.Token == "" && fault.Is(err, fault.Unauthenticated) { // it was ended early: what its account may do has changed
		if cr, err = c.refresh(ctx, cr); err == nil {
			c.Welcome, err = hello(ctx, c.Client, cr, c.launch)
		}
	}
	return err
}

// refresh gives credentials other than old: those that another process has got meanwhile, else new ones.
func (c *Client) refresh(ctx context.Context, old credentials) (credentials, error) {
	release, err := c.book.lock(ctx, c.alias)
	if err != nil {
		return old, err
	}
	defer release()
	e, err := c.book.get(c.alias)
	if err != nil {
		return old, err
	}
	if e.Credentials.Access != old.Access && time.Until(e.Credentials.Expires) >= fresh {
		return e.Credentials, nil
	}
	next, err := refresh(ctx, c.Client, e.Credentials)
	if err != nil {
		if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.Unauthenticated {
			return old, fault.Wrap(err, fault.Unauthenticated, "you are not signed in any more: %s", f.Message).WithReason("signed_out").
				WithHint("omnitron remote add %s %s", c.alias, e.Address)
		}
		return old, err
	}
	e.Credentials = next
	return next, c.book.put(e)
}

// schedule renews the credential before it ends.
func (c *Client) schedule(end time.Time) {
	if end.IsZero() {
		return
	}
	c.again(max(time.Until(end)-renewIn, time.Second))
}

func (c *Client) again(after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.timer = time.AfterFunc(after, c.renew)
	}
}

func (c *Client) renew() {
	ctx, cancel := context.WithTimeout(c.ctx, retryIn)
	defer cancel()
	e, err := c.book.get(c.alias)
	if err == nil && e.Credentials.Token == "" {
		if time.Until(e.Credentials.Expires) <= renewIn+retryIn {
			e.Credentials, err = c.refresh(ctx, e.Credentials)
		}
		if err == nil {
			var w Welcome
			if w, err = hello(ctx, c.Client, e.Credentials, c.launch); err == nil {
				c.schedule(w.Expires)
				return
			}
		}
	}
	if c.ctx.Err() == nil && fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Deadline) { // else the daemon will say why it ends
		c.again(retryIn)
	}
}

// Call calls a method and gives its answer as it came.
func (c *Client) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	var out json.RawMessage
	err := c.Client.Call(ctx, method, params, &out)
	return out, err
}

// Stream gives the items of a method.
func (c *Client) Stream(ctx context.Context, method string, params any) iter.Seq2[json.RawMessage, error] {
	return c.Client.Stream(ctx, method, params)
}

// Close ends the connection.
func (c *Client) Close() error {
	c.end()
	c.mu.Lock()
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	return c.Client.Close()
}

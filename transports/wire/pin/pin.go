// Package pin connects to a daemon of another machine, which is known by the hash of its public key: no name and no
// authority counts, so nothing has to be installed, and nobody but who has the key is taken for the daemon.
package pin

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/fault"
)

const (
	connectIn = 10 * time.Second // for a connection to come about
	silence   = 20 * time.Second // without a sign of the other machine, after which a connection counts as lost
)

// resumed are sessions of TLS that a later connection of this process may resume; the key is checked for those too.
var resumed = tls.NewLRUClientSessionCache(16)

// changed is a key other than the one that is pinned.
type changed struct{ got string }

func (c *changed) Error() string { return "the daemon shows the key " + c.got }

// Dial connects to the daemon at host:port whose key is pinned. Faults: unavailable (remote_unreachable), denied
// (key_changed), invalid (no_tls).
func Dial(ctx context.Context, address, pin string) (net.Conn, error) {
	return dial(ctx, address, func(c *x509.Certificate) error {
		if got := cert.Pin(c); subtle.ConstantTimeCompare([]byte(got), []byte(pin)) != 1 {
			return &changed{got}
		}
		return nil
	})
}

// Look gives the key that is shown at host:port. Faults: unavailable (remote_unreachable), invalid (no_tls).
func Look(ctx context.Context, address string) (*x509.Certificate, error) {
	var shown *x509.Certificate
	c, err := dial(ctx, address, func(c *x509.Certificate) error { shown = c; return nil })
	if err != nil {
		return nil, err
	}
	return shown, c.Close()
}

// impatient gives up on a machine that does not acknowledge what it is sent: the kernel would try for a quarter of an hour.
func impatient(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence/time.Millisecond))
	}); e != nil {
		return e
	}
	return err
}

func dial(ctx context.Context, address string, check func(*x509.Certificate) error) (net.Conn, error) {
	within, cancel := context.WithTimeout(ctx, connectIn)
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%q is no host and port", address).WithReason("bad_value").WithHint("ops.example.com:9700")
	}
	d := tls.Dialer{
		NetDialer: &net.Dialer{Control: impatient, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 4, Interval: silence / 4, Count: 3}},
		Config: &tls.Config{ServerName: host, MinVersion: tls.VersionTLS13, ClientSessionCache: resumed,
			InsecureSkipVerify: true, // instead of names and authorities the key is checked, below
			VerifyConnection: func(st tls.ConnectionState) error {
				if len(st.PeerCertificates) == 0 {
					return errors.New("no certificate is shown")
				}
				return check(st.PeerCertificates[0])
			}},
	}
	c, err := d.DialContext(within, "tcp", address)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var other *changed
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &other):
		return nil, fault.New(fault.Denied, "the daemon at %s is not the one that was added: it shows the key %s", address, other.got).WithReason("key_changed").
			WithHint("compare that with the pin that the daemon itself says on its machine: %s\nif it is the same, its keys were made anew: remove the remote, and add it again\nif not, somebody is in between: do not sign in", fault.Do("daemon.status"))
	case errors.As(err, &record), errors.As(err, &alert) && alert.Op == "remote error":
		return nil, fault.Wrap(err, fault.Invalid, "at %s nobody speaks TLS 1.3: %v", address, err).WithReason("no_tls").WithHint("name the port of tcp.listen in the config.yaml of its daemon")
	}
	return nil, fault.Wrap(err, fault.Unavailable, "cannot reach %s: %v", address, err).WithReason("remote_unreachable").
		WithHint("see on its machine whether the daemon runs and listens: %s", fault.Do("daemon.status"))
}

// Unsent is how many bytes written to a connection of Dial the other machine has not confirmed.
func Unsent(c net.Conn) (n int) {
	t, is := c.(*tls.Conn)
	if !is {
		return 0
	}
	sc, is := t.NetConn().(syscall.Conn)
	if !is {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) // 0 when it is closed
	return n
}

package cert

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// lookEvery is how often given files are looked at, at most.
const lookEvery = time.Second

// stamp tells whether a pair of files was replaced.
type stamp struct{ cert, key string }

func stampOf(u Use) (s stamp, err error) {
	for _, f := range []struct {
		path string
		to   *string
	}{{u.Cert, &s.cert}, {u.Key, &s.key}} {
		info, err := os.Stat(f.path)
		if err != nil {
			return s, unfit("cannot look at %s: %v", f.path, err)
		}
		*f.to = fmt.Sprintf("%d %d", info.ModTime().UnixNano(), info.Size())
	}
	return s, nil
}

// look reads the files if they have changed. What is unfit is not taken up, and what was there before stays.
func (s *Served) look() error {
	now := s.of.o.Now()
	if s.now != nil && now.Sub(s.looked) < lookEvery && now.After(s.looked) {
		return nil
	}
	s.looked = now
	at, err := stampOf(s.use)
	if err == nil && s.now != nil && at == s.stamp && s.trouble == nil {
		return nil
	}
	var c *tls.Certificate
	if err == nil {
		c, err = load(s.use, now)
	}
	if err != nil {
		if s.now != nil && (s.trouble == nil || s.trouble.Error() != err.Error()) {
			s.of.o.Log.Error("the changed certificate is not taken up; the one before stays in use", "err", err)
		}
		s.trouble = err
		return err
	}
	s.now, s.stamp, s.trouble = c, at, nil
	return nil
}

// load reads a pair of files and says what is wrong with it.
func load(u Use, now time.Time) (*tls.Certificate, error) {
	if info, err := os.Stat(u.Key); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, unfit("%s can be used by others (mode %04o): chmod 600 it, and think about who has read it", u.Key, info.Mode().Perm())
	}
	c, err := tls.LoadX509KeyPair(u.Cert, u.Key)
	if err != nil {
		return nil, unfit("%s and %s are no pair of certificate and key: %v", u.Cert, u.Key, err)
	}
	if err := ended(c.Leaf, u.Cert, now); err != nil {
		return nil, err
	}
	if now.Before(c.Leaf.NotBefore) {
		return nil, unfit("%s is not valid before %s", u.Cert, c.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if len(c.Leaf.DNSNames)+len(c.Leaf.IPAddresses) == 0 {
		return nil, unfit("%s is good for no name: it has no subject alternative names", u.Cert)
	}
	for _, use := range c.Leaf.ExtKeyUsage {
		if use == x509.ExtKeyUsageServerAuth || use == x509.ExtKeyUsageAny {
			return &c, nil
		}
	}
	if len(c.Leaf.ExtKeyUsage)+len(c.Leaf.UnknownExtKeyUsage) > 0 {
		return nil, unfit("%s may not be used by a server: serverAuth is not among its extended key usages", u.Cert)
	}
	return &c, nil
}

func ended(c *x509.Certificate, path string, now time.Time) error {
	if now.After(c.NotAfter) {
		return unfit("%s has ended at %s", path, c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func unfit(format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).WithReason("certificate_unfit").
		WithHint("put files there that fit, or leave cert and key out of config.yaml for a certificate of the daemon's own")
}

package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a time that the test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func certificates(home string, c *clock) *Certificates {
	return New(Options{Home: home, Disk: store.OS, Log: slog.New(slog.DiscardHandler), Now: c.now, Keys: func(name string) ([]byte, error) {
		sum := sha256.Sum256([]byte(name))
		return sum[:], nil
	}})
}

// shake speaks TLS with what is served and gives the client's state.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	s := tls.Server(a, server)
	go func() { err := s.HandshakeContext(context.Background()); done <- err; a.Close() }()
	c := tls.Client(b, client)
	err := c.HandshakeContext(t.Context())
	b.Close()
	<-done
	return c.ConnectionState(), err
}

func roots(t *testing.T, home string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, "tls", "ca.pem"))
	must(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("ca.pem holds no certificate")
	}
	return pool
}

func TestOwnCertificate(t *testing.T) {
	home, c := t.TempDir(), &clock{t: time.Now()}
	s, err := certificates(home, c).Serve(Use{Names: []string{"ops.example.com", "192.0.2.7"}})
	must(t, err)
	pool := roots(t, home)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "ops.example.com", "192.0.2.7"} {
		st, err := shake(t, s.Config(), &tls.Config{RootCAs: pool, ServerName: name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if st.Version != tls.VersionTLS13 || Pin(st.PeerCertificates[0]) != s.Pin() || !strings.HasPrefix(s.Pin(), "sha256/") {
			t.Errorf("%s: version %x, pin %s", name, st.Version, s.Pin())
		}
	}
	if _, err := shake(t, s.Config(), &tls.Config{RootCAs: pool, ServerName: "other.example.com"}); err == nil {
		t.Error("it is good for a name that was not given")
	}
	if _, err := shake(t, s.Config(), &tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
}

func TestRenewalKeepsTheKey(t *testing.T) {
	home, c := t.TempDir(), &clock{t: time.Now()}
	s, err := certificates(home, c).Serve(Use{})
	must(t, err)
	pin, first := s.Pin(), s.now.Leaf
	c.add(ownLife - renewWithin + time.Hour)
	if s.Pin() != pin {
		t.Error("the key changed")
	}
	if s.now.Leaf.SerialNumber.Cmp(first.SerialNumber) == 0 || !s.now.Leaf.NotAfter.After(first.NotAfter) {
		t.Error("it was not renewed")
	}
	again, err := certificates(home, c).Serve(Use{Names: []string{"more.example.com"}}) // another daemon of the home
	must(t, err)
	if again.Pin() != pin {
		t.Error("the next daemon has another key")
	}
	before, err := os.ReadFile(filepath.Join(home, "tls", "ca.pem"))
	must(t, err)
	c.add(authorityLife) // the authority itself ends
	if s.Pin() != pin || s.Trouble() != nil {
		t.Errorf("pin %s, %v", s.Pin(), s.Trouble())
	}
	after, err := os.ReadFile(filepath.Join(home, "tls", "ca.pem"))
	must(t, err)
	if string(before) == string(after) {
		t.Error("an authority that ends was not made anew")
	}
}

func TestKeysThatCannotBeHad(t *testing.T) {
	sealed := fault.New(fault.Unavailable, "the vault is sealed").WithReason("vault_sealed")
	c := New(Options{Home: t.TempDir(), Disk: store.OS, Log: slog.New(slog.DiscardHandler), Now: time.Now, Keys: func(string) ([]byte, error) { return nil, sealed }})
	if _, err := c.Serve(Use{}); fault.From(err).Reason != "vault_sealed" {
		t.Errorf("%v", err)
	}
}

// pair writes a certificate and its key.
func pair(t *testing.T, dir string, change func(*x509.Certificate)) Use {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	u := Use{Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	must(t, os.WriteFile(u.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(u.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return u
}

func TestUnfitFilesAreNamed(t *testing.T) {
	for want, make := range map[string]func(*testing.T) Use{
		"has ended at": func(t *testing.T) Use {
			return pair(t, t.TempDir(), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		},
		"is not valid before": func(t *testing.T) Use {
			return pair(t, t.TempDir(), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		},
		"is good for no name": func(t *testing.T) Use { return pair(t, t.TempDir(), func(c *x509.Certificate) { c.DNSNames = nil }) },
		"may not be used by a server": func(t *testing.T) Use {
			return pair(t, t.TempDir(), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
		},
		"no such file": func(*testing.T) Use { return Use{Cert: "/nowhere/c.pem", Key: "/nowhere/k.pem"} },
		"no pair of certificate and key": func(t *testing.T) Use {
			a, b := pair(t, t.TempDir(), nil), pair(t, t.TempDir(), nil)
			return Use{Cert: a.Cert, Key: b.Key}
		},
		"can be used by others": func(t *testing.T) Use {
			u := pair(t, t.TempDir(), nil)
			must(t, os.Chmod(u.Key, 0o644))
			return u
		},
	} {
		t.Run(want, func(t *testing.T) {
			_, err := certificates(t.TempDir(), &clock{t: time.Now()}).Serve(make(t))
			if f := fault.From(err); f.Reason != "certificate_unfit" || !strings.Contains(f.Message, want) || f.Hint == "" {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	dir, c := t.TempDir(), &clock{t: time.Now()}
	log := &strings.Builder{}
	of := certificates(t.TempDir(), c)
	of.o.Log = slog.New(slog.NewTextHandler(io.Writer(log), nil))
	s, err := of.Serve(pair(t, dir, nil))
	must(t, err)
	first := s.Pin()
	c.add(2 * lookEvery)
	pair(t, dir, nil)
	second := s.Pin()
	if second == first {
		t.Error("new files are not taken up")
	}
	must(t, os.WriteFile(filepath.Join(dir, "c.pem"), []byte("half"), 0o600))
	for range 3 {
		c.add(2 * lookEvery)
		if s.Pin() != second {
			t.Fatal("what was in use went away")
		}
	}
	if f := fault.From(s.Trouble()); f.Reason != "certificate_unfit" || !strings.Contains(f.Message, "no pair") {
		t.Errorf("trouble: %v", s.Trouble())
	}
	if strings.Count(log.String(), "not taken up") != 1 {
		t.Errorf("log: %s", log)
	}
	c.add(2 * lookEvery)
	pair(t, dir, nil)
	if s.Pin() == second || s.Trouble() != nil {
		t.Errorf("mended files: %v", s.Trouble())
	}
	c.add(2 * time.Hour)
	if s.Trouble() == nil || !strings.Contains(s.Trouble().Error(), "has ended") {
		t.Errorf("after its end: %v", s.Trouble())
	}
}

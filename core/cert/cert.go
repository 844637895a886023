// Package cert makes what the network planes show of themselves: an authority and a certificate of the daemon's own, whose
// keys lie in the vault, or certificates of files that a person gives. A certificate of our own is renewed before it ends
// and keeps its key, so that a client which has pinned the key knows the daemon again.
package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	ownLife       = 90 * 24 * time.Hour
	renewWithin   = 30 * 24 * time.Hour // of the end
	skew          = time.Hour           // a client's clock may be behind by this
)

// Options say where the keys come from.
type Options struct {
	Home string                            // tls/ca.pem in it is the authority's certificate, for clients that check names
	Keys func(name string) ([]byte, error) // 32 bytes that stay the same for a name: the vault's. Faults: its own
	Disk store.Disk
	Log  *slog.Logger
	Now  func() time.Time
}

// Certificates makes certificates. It is safe for concurrent use.
type Certificates struct {
	o  Options
	mu sync.Mutex
	ca *x509.Certificate
	by crypto.Signer // its key
}

// New makes nothing yet: keys are asked for when the first listener is served.
func New(o Options) *Certificates { return &Certificates{o: o} }

// Use says what a listener shows.
type Use struct {
	Names     []string // names and addresses by which it is reached, beside localhost and the machine's own name
	Cert, Key string   // files of a person's own in PEM; "": the daemon's own
}

// Pin is the hash of a public key, sha256/ and base64, as clients pin it: it stays when a certificate is renewed.
func Pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// Authority is the file with the certificate of a home's own authority.
func Authority(home string) string { return filepath.Join(home, "tls", "ca.pem") }

// Serve prepares what a listener shows. Faults: unavailable (vault_sealed, vault_damaged), internal (state_not_durable),
// invalid (certificate_unfit).
func (c *Certificates) Serve(u Use) (*Served, error) {
	s := &Served{of: c, use: u}
	if _, err := s.certificate(); err != nil {
		return nil, err
	}
	return s, nil
}

// Served is what one listener shows.
type Served struct {
	of  *Certificates
	use Use

	mu      sync.Mutex
	now     *tls.Certificate
	stamp   stamp     // of the files that now came from
	looked  time.Time // when the files were looked at
	trouble error     // why the files as they are now are not used
}

// Config is the TLS that a listener speaks: 1.3 only. protocols are offered in ALPN; none: nothing is agreed on.
func (s *Served) Config(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() }}
}

// Pin is that of the certificate in use.
func (s *Served) Pin() string {
	c, err := s.certificate()
	if err != nil {
		return ""
	}
	return Pin(c.Leaf)
}

// Trouble is nil, or what is wrong with what is shown: files that were changed into something unfit, so that those before
// them are in use, or a certificate that has ended. Fault: invalid (certificate_unfit).
func (s *Served) Trouble() error {
	if _, err := s.certificate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble != nil {
		return s.trouble
	}
	return ended(s.now.Leaf, s.use.Cert, s.of.o.Now())
}

// certificate gives the one to show now.
func (s *Served) certificate() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.use.Cert != "" {
		err = s.look()
	} else if now := s.of.o.Now(); s.now == nil || now.After(s.now.Leaf.NotAfter.Add(-renewWithin)) || now.Before(s.now.Leaf.NotBefore) {
		var fresh *tls.Certificate
		if fresh, err = s.of.own(s.use.Names); err == nil {
			s.now = fresh
		}
	}
	if s.now == nil {
		return nil, err
	}
	return s.now, nil
}

// own makes a certificate of the daemon's own.
func (c *Certificates) own(names []string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.authority(); err != nil {
		return nil, err
	}
	key, err := c.key("tls leaf")
	if err != nil {
		return nil, err
	}
	now := c.o.Now()
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "omnitron daemon"}, NotBefore: now.Add(-skew), NotAfter: now.Add(ownLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	host, _ := os.Hostname() // without one the others do
	for _, n := range append([]string{"localhost", "127.0.0.1", "::1", host}, names...) {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if n != "" && !slices.Contains(t.DNSNames, n) {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.ca, key.Public(), c.by)
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate just made: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// authority finds the daemon's authority or makes it. A certificate that is lost is made again with the same key and name,
// so that who trusts the former trusts it too.
func (c *Certificates) authority() error {
	now := c.o.Now()
	if c.ca != nil && now.Before(c.ca.NotAfter.Add(-ownLife)) {
		return nil
	}
	key, err := c.key("tls authority")
	if err != nil {
		return err
	}
	path := Authority(c.o.Home)
	if text, err := c.o.Disk.Read(path); err == nil {
		if b, _ := pem.Decode(text); b != nil {
			if ca, err := x509.ParseCertificate(b.Bytes); err == nil && ca.IsCA && key.PublicKey.Equal(ca.PublicKey) && now.After(ca.NotBefore) && now.Before(ca.NotAfter.Add(-ownLife)) {
				c.ca, c.by = ca, key
				return nil
			}
		}
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "omnitron authority " + short(&key.PublicKey)}, NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fmt.Errorf("cannot make the authority: %w", err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("cannot read the authority just made: %w", err)
	}
	err = os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = store.Put(c.o.Disk, path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "cannot keep the certificate of the daemon's authority: %v", err).WithReason(store.NotDurable)
	}
	c.ca, c.by = ca, key
	return nil
}

// key makes a key of the bytes that the vault has for a name.
func (c *Certificates) key(name string) (*ecdsa.PrivateKey, error) {
	seed, err := c.o.Keys(name)
	if err != nil {
		return nil, err
	}
	for range 8 { // one in four thousand million is no key of the curve
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed); err == nil {
			return key, nil
		}
		sum := sha256.Sum256(seed)
		seed = sum[:]
	}
	return nil, fmt.Errorf("cannot make a key of what the vault gives for %q", name)
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f        // positive
	b[15] |= 1          // and not zero
	return new(big.Int).SetBytes(b)
}

// short tells one daemon's authority from another's.
func short(k *ecdsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return fmt.Sprintf("%x", sum[:4])
}

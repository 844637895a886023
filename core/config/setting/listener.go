package setting

import (
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
)

// Listener is where a network plane is reached, and as whom it shows itself.
type Listener struct {
	Enabled bool     `json:"enabled"`
	Listen  string   `json:"listen"` // address:port
	Names   []string `json:"names"`  // of the certificate of the daemon's own, beside localhost and the machine's name
	Cert    string   `json:"cert"`   // files of a person's own, absolute; "": the daemon's own certificate
	Key     string   `json:"key"`
}

// listenerKeys are the keys that every network plane has.
type listenerKeys struct {
	Enabled           schema.Value[bool]
	Listen, Cert, Key schema.Value[string]
	Names             schema.Value[[]schema.Value[string]]
}

// Address splits what a listener listens on. An empty host is every address of the machine.
func (l Listener) Address() (host, port string) {
	host, port, _ = net.SplitHostPort(l.Listen) // it was read by listenKind
	return host, port
}

var listenKind = schema.Parsed("an address and a port such as 0.0.0.0:9700", func(text string) (string, *schema.Mistake) {
	bad := &schema.Mistake{Message: "%s must be an address of this machine and a port", Hint: "127.0.0.1:9700 for this machine alone, 0.0.0.0:9700 or :9700 for every address it has, [::1]:9700 for IPv6"}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", bad
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return "", bad
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return "", bad
	}
	return text, nil
})

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

var hostKind = schema.Parsed("a host name or an address", func(text string) (string, *schema.Mistake) {
	if _, err := netip.ParseAddr(text); err == nil || hostPattern.MatchString(text) {
		return text, nil
	}
	return "", &schema.Mistake{Message: "%s must be a host name or an address", Hint: "ops.example.com or 192.0.2.7; without a port"}
})

// listenerFields are the keys of a listener, as part of a map that may have more.
func listenerFields[S any](at func(*S) *listenerKeys, listen string) []schema.FieldOf[S] {
	_, port, _ := net.SplitHostPort(listen)
	return []schema.FieldOf[S]{
		schema.Field("enabled", schema.Bool(), func(s *S) *schema.Value[bool] { return &at(s).Enabled },
			"Whether it listens.", schema.Default("false"), schema.Example("true"), schema.Live()),
		schema.Field("listen", listenKind, func(s *S) *schema.Value[string] { return &at(s).Listen },
			"Address and port; beyond 127.0.0.1 other machines reach it.", schema.Default(listen), schema.Example("0.0.0.0:"+port), schema.Live()),
		schema.Field("names", schema.List("a list of names and addresses", hostKind, 0), func(s *S) *schema.Value[[]schema.Value[string]] { return &at(s).Names },
			"Names and addresses by which others reach it, for the certificate of the daemon's own; localhost and the machine's name are in it anyhow.", schema.Default("[]"), schema.Example("[ops.example.com]"), schema.Live()),
		schema.Field("cert", schema.Text("a path"), func(s *S) *schema.Value[string] { return &at(s).Cert },
			"File of a certificate and those that signed it, in PEM, instead of the daemon's own; read again when it changes.", schema.Default("the daemon's own"), schema.Example("/etc/ssl/ops.pem"), schema.Live()),
		schema.Field("key", schema.Text("a path"), func(s *S) *schema.Value[string] { return &at(s).Key },
			"File of the certificate's key, in PEM and of mode 0600; goes with cert.", schema.Default("the daemon's own"), schema.Example("/etc/ssl/ops.key"), schema.Live()),
	}
}

// resolve puts what the file gives over the defaults; paths are those of the file's folder.
func (k listenerKeys) resolve(l *Listener, dir string, ps *tree.Problems) {
	schema.Put(&l.Enabled, k.Enabled)
	schema.Put(&l.Listen, k.Listen)
	for _, n := range k.Names.V {
		l.Names = append(l.Names, n.V)
	}
	for _, f := range []struct {
		v  schema.Value[string]
		to *string
	}{{k.Cert, &l.Cert}, {k.Key, &l.Key}} {
		if schema.Put(f.to, f.v); f.v.Set() && !filepath.IsAbs(*f.to) {
			*f.to = filepath.Join(dir, *f.to)
		}
	}
	switch {
	case k.Cert.Set() && !k.Key.Set():
		ps.Add(k.Cert.Node.Pos, tree.Meaning, "cert goes with key: name the file of its key too")
	case k.Key.Set() && !k.Cert.Set():
		ps.Add(k.Key.Node.Pos, tree.Meaning, "key goes with cert: name the file of its certificate too")
	}
}

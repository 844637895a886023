package http

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// hosts are the names by which the plane may be addressed. A page that had its own name bound to this address is told apart by
// the name that its browser sends.
type hosts struct {
	names  map[string]bool
	scheme string
	port   string // that is listened on
}

func newHosts(names []string, addr net.Addr, secure bool) hosts {
	h := hosts{names: map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}, scheme: "http"}
	if secure {
		h.scheme = "https"
	}
	for _, n := range names {
		h.names[canonical(n)] = true
	}
	if ap, err := netip.ParseAddrPort(addr.String()); err == nil {
		h.port = strconv.Itoa(int(ap.Port()))
		if !ap.Addr().IsUnspecified() {
			h.names[ap.Addr().Unmap().String()] = true
		}
	}
	return h
}

// canonical is a host as it is compared.
func canonical(host string) string {
	host = strings.ToLower(strings.Trim(host, "[]"))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return host
}

// knows reports whether an authority is one of the plane's. local is the address at which the connection arrived: on a listener
// for every address it is as good as a name, because no page can have it bound to another name.
func (h hosts) knows(authority string, local net.Addr) bool {
	host, port := authority, ""
	if h, p, err := net.SplitHostPort(authority); err == nil {
		host, port = h, p
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return false
	}
	name := canonical(host)
	if h.names[name] {
		return true
	}
	if local == nil {
		return false
	}
	ap, err := netip.ParseAddrPort(local.String())
	return err == nil && ap.Addr().Unmap().String() == name
}

// headers are on every answer, in the spelling that the library keeps them by.
var headers = map[string][]string{
	"Cache-Control":                {"no-store"},
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Permissions-Policy":           {"interest-cohort=()"},
	"Referrer-Policy":              {"no-referrer"},
	"X-Content-Type-Options":       {"nosniff"},
	"X-Frame-Options":              {"DENY"},
}

// guard says why a request goes no further, whoever sends it and wherever it goes.
func (s *Server) guard(r *http.Request, proxied bool) *refusal {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case r.Method == http.MethodTrace || r.Method == http.MethodConnect:
		return &refusal{http.StatusMethodNotAllowed, fault.New(fault.Invalid, "%s is not served here", r.Method).WithReason("bad_request")}
	case !s.host.knows(r.Host, local): // of an absolute form the host in it: the library has put it there
		return &refusal{http.StatusForbidden, fault.New(fault.Denied, "this daemon is not reached as %s", wire.Quote(r.Host, 80)).
			WithReason("host").WithHint("name the host in http.names of config.yaml")}
	case len(r.Header["Host"]) > 0 && !slices.Equal(r.Header["Host"], []string{r.Host}): // HTTP/2 may have one beside :authority
		return badRequest("Host and :authority name two hosts")
	case r.ProtoMajor > 1 && r.URL.Host != "": // nor has it an absolute form
		return badRequest(":path names a host")
	case r.URL.User != nil:
		return badRequest("a URL must not carry a name or password")
	case len(r.Header["Origin"]) > 1 || len(r.Header["Authorization"]) > 1 || len(r.Header["Content-Type"]) > 1 || len(r.Header["Content-Length"]) > 1 || len(r.Header["Cookie"]) > 8:
		return badRequest("a header is there more than once")
	case strings.Trim(r.Header.Get("Content-Length"), "0123456789") != "": // HTTP/2 takes it for 0
		return badRequest("Content-Length is no number")
	}
	if why := s.foreign(r, proxied); why != "" {
		return &refusal{http.StatusForbidden, fault.New(fault.Denied, "%s", why).WithReason("origin").WithHint("call from a page of this daemon, or from a program, which sends no Origin")}
	}
	if r.URL.RawQuery == "" {
		return nil
	}
	for name := range r.URL.Query() {
		switch strings.ToLower(name) {
		case "access_token", "token", "authorization", "bearer":
			return badRequest("a token in a URL is written into logs: send it as Authorization: Bearer, and make a new one")
		}
	}
	return nil
}

// foreign says that a request comes from a page of another origin, or "".
func (s *Server) foreign(r *http.Request, proxied bool) string {
	if origin := r.Header.Get("Origin"); len(r.Header["Origin"]) > 0 {
		if origin != s.origin(r, proxied) {
			return "the request comes from a page of the origin " + wire.Quote(origin, 80)
		}
		return ""
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
		return ""
	default:
		return "the request comes from a page of another site"
	}
}

// origin is that of the plane's own pages, as the client addresses it: its port is part of it.
func (s *Server) origin(r *http.Request, proxied bool) string {
	scheme := s.host.scheme
	if proto := r.Header.Get("X-Forwarded-Proto"); proxied && (proto == "https" || proto == "http") {
		scheme = proto
	}
	return scheme + "://" + strings.ToLower(r.Host)
}

// jsonOnly says what is wrong with the form of a body, or nil. A page can send what is no JSON to anywhere without asking.
func jsonOnly(r *http.Request) *refusal {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || kind != "application/json" || charset != "" && charset != "utf-8" || r.Header.Get("Content-Encoding") != "" {
		return &refusal{http.StatusUnsupportedMediaType, fault.New(fault.Invalid, "the body must be application/json, in UTF-8 and not compressed").WithReason("media_type")}
	}
	return nil
}

// refusal is an answer without a call.
type refusal struct {
	status int
	fault  *fault.Error
}

func badRequest(format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, fault.New(fault.Invalid, format, args...).WithReason("bad_request")}
}

// trusted reports whether a peer is one of the proxies.
func (s *Server) trusted(peer netip.Addr) bool {
	for _, p := range s.Proxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// forwarded is the nearest address of X-Forwarded-For that is no proxy of ours: those before it anybody may have written.
func (s *Server) forwarded(r *http.Request, peer netip.Addr) netip.Addr {
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return peer
		}
		if peer = hop.Unmap().WithZone(""); !s.trusted(peer) {
			return peer
		}
	}
	return peer
}

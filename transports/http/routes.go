package http

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

const (
	apiRoot  = "/api/v1/"
	mcpRoot  = "/mcp"
	metadata = "/.well-known/oauth-protected-resource"
)

// route makes the table of what is served. What is not in it is not there.
func (s *Server) route() {
	get := []string{http.MethodGet, http.MethodHead}
	s.routes = map[string]*route{
		"/healthz": {get, open, (*exchange).healthz},
		"/readyz":  {get, open, (*exchange).readyz},
	}
	if s.Metrics != nil {
		s.routes["/metrics"] = &route{get, bearer, (*exchange).metrics}
	}
	if s.Keys != nil {
		s.routes["/.well-known/jwks.json"] = &route{get, open, (*exchange).jwks}
	}
	if s.REST {
		s.routes["/openapi.json"] = &route{get, signedIn, func(x *exchange) { x.raw(http.StatusOK, "application/json", s.openAPI) }}
	}
	if s.Browser != nil {
		s.routes["/session"] = &route{[]string{http.MethodPost, http.MethodDelete}, open, (*exchange).browser}
	}
	noServer := &route{[]string{http.MethodGet, http.MethodHead, http.MethodPost}, open, (*exchange).noServer}
	for _, path := range []string{"/register", "/authorize", "/token", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		s.routes[path] = noServer
	}
	if s.Agents != nil {
		verbs := []string{http.MethodGet, http.MethodPost, http.MethodDelete}
		for path, l := range map[string]Launch{mcpRoot: {Profile: "core"}, mcpRoot + "/full": {Profile: "full"}, mcpRoot + "/readonly": {Profile: "readonly"}} {
			s.routes[path] = &route{verbs, agent, func(x *exchange) { x.agent(l) }}
			s.routes[metadata+path] = &route{get, open, (*exchange).resource}
		}
		s.routes[metadata] = &route{get, open, (*exchange).resource}
	}
}

// find gives the route of a path as it was sent: a path in any other spelling than its own is none.
func (s *Server) find(path string) *route {
	if rt := s.routes[path]; rt != nil {
		return rt
	}
	switch {
	case s.REST && methodOf(path) != "":
		return &route{[]string{http.MethodPost, http.MethodGet, http.MethodHead}, signedIn, (*exchange).call}
	case s.Agents == nil:
	case toolsetsOf(path) != nil:
		return &route{[]string{http.MethodGet, http.MethodPost, http.MethodDelete}, agent, func(x *exchange) { x.agent(Launch{Profile: "full", Toolsets: toolsetsOf(path)}) }}
	case strings.HasPrefix(path, metadata) && toolsetsOf(strings.TrimPrefix(path, metadata)) != nil:
		return &route{[]string{http.MethodGet, http.MethodHead}, open, (*exchange).resource}
	}
	return nil
}

// methodOf is the id that an API path has, or "".
func methodOf(path string) string {
	rest, ok := strings.CutPrefix(path, apiRoot)
	service, verb, two := strings.Cut(rest, "/")
	if !ok || !two || !word(service) || !word(verb) {
		return ""
	}
	return service + "." + verb
}

// toolsetsOf are the services that an MCP path names, or nil.
func toolsetsOf(path string) []string {
	rest, ok := strings.CutPrefix(path, mcpRoot+"/x/")
	sets := strings.Split(rest, ",")
	if !ok || len(sets) > 64 || slices.ContainsFunc(sets, func(t string) bool { return !word(t) }) {
		return nil
	}
	return sets
}

func word(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func (x *exchange) healthz() { x.json(http.StatusOK, map[string]string{"status": "ok"}) }

func (x *exchange) readyz() {
	if x.s.Ready != nil && x.s.Ready() != nil { // why is for those who have signed in
		x.json(http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
		return
	}
	x.json(http.StatusOK, map[string]string{"status": "ready"})
}

func (x *exchange) jwks() {
	keys, err := x.s.Keys(x.r.Context())
	if err != nil {
		x.fail(fault.From(err))
		return
	}
	x.raw(http.StatusOK, "application/jwk-set+json", keys)
}

// noServer says that tokens are not had by OAuth here.
func (x *exchange) noServer() {
	f := fault.New(fault.NotFound, "this daemon has no authorization server: nothing is registered or authorised here").WithReason("no_authorization_server").
		WithHint("send Authorization: Bearer TOKEN; an admin makes one on the daemon's machine: %s", fault.Do("tokens.create", "name", "laptop"))
	x.json(http.StatusNotFound, struct {
		OAuth string       `json:"error"` // the form of OAuth, for the clients that ask here
		About string       `json:"error_description"`
		Fault *fault.Error `json:"fault"`
	}{"not_found", f.Message + "; " + f.Hint, f})
}

// resource tells a client of an MCP path how it signs in (RFC 9728). No authorization server is named, because there is none.
func (x *exchange) resource() {
	path := strings.TrimPrefix(x.path, metadata)
	if path == "" {
		path = mcpRoot
	}
	x.json(http.StatusOK, map[string]any{
		"resource": x.s.origin(x.r, x.proxied) + path, "resource_name": "Omnitron", "bearer_methods_supported": []string{"header"},
		"scopes_supported": []string{op.Viewer.String(), op.Operator.String(), op.Admin.String()},
	})
}

// challenge says how to sign in, or which right is missing.
func (x *exchange) challenge(kind, scope string) {
	value := "Bearer "
	if x.r.Header.Get("Authorization") == "" && kind == "invalid_token" {
		value += `realm="omnitron"` // RFC 6750: who shows nothing is told no error
	} else {
		value += fmt.Sprintf(`error=%q`, kind)
	}
	if strings.HasPrefix(x.path, mcpRoot) && x.s.find(x.path) != nil {
		value += fmt.Sprintf(`, resource_metadata=%q`, x.s.origin(x.r, x.proxied)+metadata+x.path)
		if scope == "" {
			scope = op.Viewer.String()
		}
	}
	if scope != "" {
		value += fmt.Sprintf(`, scope=%q`, scope)
	}
	x.w.Header().Set("WWW-Authenticate", value)
}

// scope is what the called method needs and the caller has not.
func (x *exchange) scope() string {
	if m, ok := x.s.Registry.Find(methodOf(x.path)); ok {
		if lacks := m.Lacks(x.caller); lacks != "" {
			return lacks
		}
		return m.Role.String()
	}
	return ""
}

// agent hands a client of MCP on. Who may not even look has no business there.
func (x *exchange) agent(l Launch) {
	if !x.caller.Ceiling.Covers(op.Viewer) {
		x.challenge("insufficient_scope", op.Viewer.String())
		x.answer(http.StatusForbidden, fault.New(fault.Denied, "MCP needs the role viewer").WithReason("role"))
		return
	}
	x.s.Agents.ServeMCP(x.w, x.r, x.body, l, func(scope string) { x.challenge("insufficient_scope", scope) })
	x.mu.Lock()
	begun := x.begun
	x.mu.Unlock()
	switch f := x.gone(); {
	case begun && f != nil:
		panic(http.ErrAbortHandler) // cut, not ended
	case begun:
	case f != nil:
		x.fail(f)
	default: // the client has gone
		panic(http.ErrAbortHandler)
	}
}

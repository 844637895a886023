package setting

import (
	"net/netip"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
)

// HTTP is the plane for browsers, programs and agents on other machines.
type HTTP struct {
	Listener
	REST           bool     `json:"rest"`           // whether /api/v1 and /openapi.json are served
	TrustedProxies []string `json:"trustedProxies"` // addresses and networks whose word on where a request comes from counts
}

// Loopback reports whether only this machine can reach the plane.
func (h HTTP) Loopback() bool {
	host, _ := h.Address()
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// Proxies are the trusted proxies as networks.
func (h HTTP) Proxies() (ps []netip.Prefix) {
	for _, text := range h.TrustedProxies {
		p, err := network(text)
		if err == nil { // it was read by proxyKind
			ps = append(ps, p)
		}
	}
	return ps
}

// network reads an address or a network.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

type httpKeys struct {
	listenerKeys
	REST           schema.Value[bool]
	TrustedProxies schema.Value[[]schema.Value[string]]
}

var proxyKind = schema.Parsed("an address or a network such as 10.0.0.0/8", func(text string) (string, *schema.Mistake) {
	if _, err := network(text); err != nil {
		return "", &schema.Mistake{Message: "%s is no address and no network", Hint: "192.0.2.7, or 192.0.2.0/24"}
	}
	return text, nil
})

var httpKind = schema.Object("http", nil, append(listenerFields(func(k *httpKeys) *listenerKeys { return &k.listenerKeys }, defaultDaemon.HTTP.Listen),
	schema.Field("rest", schema.Bool(), func(k *httpKeys) *schema.Value[bool] { return &k.REST },
		"Whether /api/v1 and /openapi.json are served; /mcp and /metrics are anyhow.", schema.Default("true"), schema.Example("false"), schema.Live()),
	schema.Field("trustedProxies", schema.List("a list of addresses and networks", proxyKind, 0), func(k *httpKeys) *schema.Value[[]schema.Value[string]] { return &k.TrustedProxies },
		"Proxies in front of it, whose X-Forwarded-For and X-Forwarded-Proto are believed; without them the peer's own address counts.", schema.Default("[]"), schema.Example("[10.0.0.5]"), schema.Live()),
)...)

// resolveHTTP puts what the file gives over the defaults.
func (k httpKeys) resolveHTTP(h *HTTP, dir string, ps *tree.Problems) {
	k.listenerKeys.resolve(&h.Listener, dir, ps)
	schema.Put(&h.REST, k.REST)
	for _, p := range k.TrustedProxies.V {
		h.TrustedProxies = append(h.TrustedProxies, p.V)
	}
}

package setting

import (
	"reflect"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestLoad(t *testing.T) {
	for _, text := range []string{"", "# nothing\n"} {
		c, err := Load(text, "/h/config.yaml", nil)
		if err != nil || !reflect.DeepEqual(*c, defaultDaemon) {
			t.Errorf("%q: %+v %v", text, c, err)
		}
	}
	c, err := Load("limits: {agentCalls: 10, agentChanges: 2}\nlogging: {level: debug}\nretention: {events: 2d, audit: 30d}\ntcp: {enabled: true, listen: ':1', names: [a.b, '::1'], cert: c.pem, key: /k}\nhttp: {enabled: true, rest: false, trustedProxies: [10.0.0.5, 'fd00::/8']}\n", "/h/config.yaml", nil)
	if want := (Daemon{Limits{10, 2}, Logging{"debug"}, defaultDaemon.Policy, Retention{2 * day, 30 * day}, Listener{true, ":1", []string{"a.b", "::1"}, "/h/c.pem", "/k"}, HTTP{Listener{true, "127.0.0.1:9800", []string{}, "", ""}, false, []string{"10.0.0.5", "fd00::/8"}}}); err != nil || !reflect.DeepEqual(*c, want) {
		t.Errorf("%+v %v", c, err)
	}
	for text, want := range map[string]string{
		"limit: {}": `did you mean "limits"?`, "tcp: {enabled: yes}": "true or false", "tcp: {listen: 9700}": "an address", "tcp: {listen: 'ops.example.com:9700'}": "an address of this machine", "tcp: {listen: '127.0.0.1:0'}": "an address", "tcp: {names: ['a b']}": "a host name", "tcp: {cert: c.pem}": "name the file of its key", "tcp: {key: k.pem}": "name the file of its certificate", "tcp: {rest: true}": "has no key", "http: {port: 1}": "has no key", "http: {trustedProxies: [everybody]}": "no network", "http: {rest: 1}": "true or false", "auth: {}": "not supported yet", "cluster: {}": "not supported yet",
		"metrics: {}": "not supported yet", "remotes: []": "not supported yet", "limits: {agentCalls: 0}": "from 1 to 1000000", "logging: {level: loud}": "one of: debug", "retention: {events: 5}": "write 5s", "a: [": "config.yaml:1:4", "limits:": "has no value",
	} {
		c, err := Load(text, "/h/config.yaml", nil)
		if c != nil || err == nil || !strings.Contains(err.Error(), want) || fault.From(err).Reason != "config_invalid" {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
}

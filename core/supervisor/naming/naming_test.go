package naming

import (
	"maps"
	"testing"
)

func TestGenerationNames(t *testing.T) {
	for id, ports := range map[string]map[string]int{
		"shop/dev/api:web#2@7.3":                     nil,
		"shop/dev/api:web#2@7.3+http=8081":           {"http": 8081},
		"shop/dev/api:web#2@7.3+a-b_1=1+http2=65535": {"http2": 65535, "a-b_1": 1},
	} {
		if got := Generation("shop/dev/api", "web", 2, 7, 3, ports); got != id {
			t.Errorf("named %s, expected %s", got, id)
		}
		key, process, n, number, rev, ok := Parse(id)
		if !ok || key != "shop/dev/api" || process != "web" || n != 2 || number != 7 || rev != 3 {
			t.Errorf("%s is read as %s %s %d %d %d, %v", id, key, process, n, number, rev, ok)
		}
		if key, slot := Whose(id); key != "shop/dev/api" || slot != "api:web#2" {
			t.Errorf("%s is of %q, %q", id, key, slot)
		}
		if got := Ports(id); !maps.Equal(got, ports) {
			t.Errorf("%s has ports %v, expected %v", id, got, ports)
		}
	}
	for _, id := range []string{"", "probe!shop/dev/api:web#1!12.3", "shop/dev/api:web#x@1.2", "shop/dev/api"} {
		if _, _, _, _, _, ok := Parse(id); ok {
			t.Errorf("%q is taken for the name of a generation", id)
		}
		if key, slot := Whose(id); key != "" || slot != "" {
			t.Errorf("%q is of %q, %q", id, key, slot)
		}
	}
}

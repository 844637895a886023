package needs

import (
	"fmt"
	"testing"
)

func TestLevels(t *testing.T) {
	deps := map[string][]string{"web": {"api", "cache"}, "api": {"db"}, "cache": nil, "db": nil}
	got := fmt.Sprint(Levels([]string{"web", "api", "cache", "db"}, func(k string) []string { return deps[k] }))
	if want := "[[cache db] [api] [web]]"; got != want {
		t.Errorf("levels: %s, want %s", got, want)
	}
	if got := fmt.Sprint(Closure([]string{"web"}, func(k string) []string { return deps[k] })); got != "[db api cache web]" {
		t.Errorf("closure: %s", got)
	}
}

package records

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestRetainLeavesWhatIsNewer: a copy that is just being written for a later revision is not in the way of an earlier one.
func TestRetainLeavesWhatIsNewer(t *testing.T) {
	c := copies{dir: t.TempDir()}
	for rev := range int64(4) {
		if err := c.write(Revision{Project: "p", Stack: "dev", Rev: rev}); err != nil {
			t.Fatal(err)
		}
	}
	next := c.path("p", "dev", 4) + ".tmp"
	if err := os.WriteFile(next, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.retain("p", "dev", []int64{0, 2})
	var left []string
	es, err := os.ReadDir(filepath.Dir(next))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		left = append(left, e.Name())
	}
	if want := []string{"0.json", "2.json", "3.json", "4.json.tmp"}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}

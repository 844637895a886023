package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type row struct {
	Name     string    `json:"name" table:"1"`
	State    string    `json:"state" table:"1"`
	Health   string    `json:"health" table:"4"`
	PID      int       `json:"pid" table:"4"`
	Uptime   int64     `json:"uptime_s" table:"2"`
	Restarts int       `json:"restarts" table:"2"`
	CPU      float64   `json:"cpu_percent" table:"3"`
	RSS      int64     `json:"rss_bytes" table:"2"`
	Ports    []int     `json:"ports" table:"3"`
	Reason   string    `json:"reason" table:"5"`
	Since    time.Time `json:"since" table:"6"`
	Hash     string    `json:"hash"`
}

type listing struct {
	Items      []row  `json:"items" table:"1"`
	NextCursor string `json:"next_cursor"`
	Truncated  bool   `json:"truncated"`
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func sample(t *testing.T) any {
	t.Helper()
	l := listing{}
	for i := range 12 {
		l.Items = append(l.Items, row{Name: fmt.Sprintf("worker-%d", i), State: []string{"running", "crashed", "stopped"}[i%3], Health: "healthy", PID: 40000 + i,
			Uptime: int64(i * 4000), Restarts: i, CPU: float64(i) * 3.3, RSS: int64(i) * 12345678, Ports: []int{3000 + i, 8080},
			Reason: strings.Repeat("exited 1 after 0.4s ", i), Since: noon.Add(-time.Duration(i) * time.Hour), Hash: strings.Repeat("f", 64)})
	}
	return valueOf(t, l)
}

func parsed(raw []byte) any {
	v, err := Decode(raw)
	if err != nil {
		panic(err)
	}
	return v
}

func valueOf(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(raw)
}

func TestTableFits(t *testing.T) {
	v := sample(t)
	hidden := map[int]bool{60: true, 80: true, 120: false, 200: false}
	for width, want := range hidden {
		var b bytes.Buffer
		Text(&b, v, reflect.TypeFor[listing](), Options{Width: width, Now: noon, Style: Style{Symbols: true}})
		for line := range strings.SplitSeq(strings.TrimRight(b.String(), "\n"), "\n") {
			if Width(line) > width {
				t.Errorf("at %d columns a line has %d: %q", width, Width(line), line)
			}
		}
		for _, must := range []string{"NAME", "STATE", "worker-11", "● running", "✗ crashed", "○ stopped"} {
			if !strings.Contains(b.String(), must) {
				t.Errorf("at %d columns %q is missing:\n%s", width, must, b.String())
			}
		}
		if got := strings.Contains(b.String(), "hidden, -o wide"); got != want {
			t.Errorf("at %d columns: footer about hidden columns is %v, want %v:\n%s", width, got, want, b.String())
		}
	}
}

func TestTableDropsByPriority(t *testing.T) {
	var b bytes.Buffer
	Text(&b, sample(t), reflect.TypeFor[listing](), Options{Width: 80, Now: noon})
	head, _, _ := strings.Cut(b.String(), "\n")
	if strings.Contains(head, "SINCE") || strings.Contains(head, "REASON") || !strings.Contains(head, "RESTARTS") {
		t.Errorf("columns of low priority go first, got %q", head)
	}
	if strings.Contains(b.String(), "HASH") {
		t.Error("a column without a priority is shown outside -o wide")
	}
}

func TestWideShowsEverything(t *testing.T) {
	var b bytes.Buffer
	Text(&b, sample(t), reflect.TypeFor[listing](), Options{Width: 60, Wide: true, Now: noon})
	for _, h := range []string{"HASH", "SINCE", strings.Repeat("f", 64), strings.Repeat("exited 1 after 0.4s ", 11)[:200]} {
		if !strings.Contains(b.String(), h) {
			t.Errorf("-o wide lacks %q", h)
		}
	}
}

func TestPipeGetsTabs(t *testing.T) {
	var b bytes.Buffer
	Text(&b, sample(t), reflect.TypeFor[listing](), Options{Now: noon})
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) != 13 {
		t.Fatalf("got %d lines, want a header and 12", len(lines))
	}
	for _, line := range lines {
		if n := strings.Count(line, "\t"); n != 10 {
			t.Errorf("%d tabs in %q, want 10", n, line)
		}
	}
	if fields := strings.Split(lines[1], "\t"); fields[1] != "running" {
		t.Errorf("state for a pipe is %q, want the bare word", fields[1])
	}
}

func TestColumnsAskedFor(t *testing.T) {
	var b bytes.Buffer
	Text(&b, sample(t), reflect.TypeFor[listing](), Options{Columns: []string{"pid", "hash"}, Now: noon})
	if head, _, _ := strings.Cut(b.String(), "\n"); head != "PID\tHASH" {
		t.Errorf("header %q", head)
	}
}

func TestObject(t *testing.T) {
	type inner struct {
		At   time.Time `json:"at" table:"1"`
		What string    `json:"what" table:"1"`
	}
	type out struct {
		Name    string         `json:"name"`
		State   string         `json:"state"`
		Uptime  int            `json:"uptime_s"`
		Empty   string         `json:"empty"`
		Text    string         `json:"text"`
		Counts  map[string]int `json:"counts"`
		Changes []inner        `json:"changes"`
	}
	v := valueOf(t, out{"api", "running", 3700, "", "one\ntwo \x1b[2J", map[string]int{"running": 3}, []inner{{noon.Add(-time.Minute), "restart"}}})
	var b bytes.Buffer
	Text(&b, v, reflect.TypeFor[out](), Options{Width: 80, Now: noon, Style: Style{Symbols: true}})
	want := `name    api
state   ● running
uptime  1h1m
text
  one
  two \x1b[2J
counts
  running  3
changes
  AT        WHAT
  11:59:00  restart
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestNestedItemsBecomeSections(t *testing.T) {
	type variable struct {
		Name string `json:"name" table:"1"`
	}
	type process struct {
		Process   string     `json:"process" table:"1"`
		Variables []variable `json:"variables" table:"1"`
	}
	type out struct {
		Processes []process `json:"processes" table:"1"`
	}
	var b bytes.Buffer
	Text(&b, valueOf(t, out{[]process{{"web", []variable{{"PATH"}, {"HOME"}}}}}), reflect.TypeFor[out](), Options{Width: 80, Now: noon})
	if want := "process  web\nvariables\n  NAME\n  PATH\n  HOME\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

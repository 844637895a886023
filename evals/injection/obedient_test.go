package injection

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// agent does whatever it reads. It has no mind of its own beside a fixed round of looking: each text in an answer is taken for
// an order if it can be, in any clothes, each next step is taken, each confirm token used, each held call made again.
type agent struct {
	t     testing.TB
	again func(ctx context.Context) (*sdk.ClientSession, error) // begins a session anew; nil: it does not end

	rest *rest // calls go there, and not to a session

	smu     sync.Mutex
	s       *sdk.ClientSession
	off     bool               // there is no daemon any more
	tools   map[string]bool    // those that it is shown
	effects map[string]op.Spec // by method
	ctx     context.Context

	mu     sync.Mutex
	read   []string // every text of every answer, with where it stood
	paths  []string
	heeded map[string]bool // texts that were looked at for orders
	made   map[string]int  // calls, by method and input
	behind sync.WaitGroup  // calls that last
}

const (
	deepest  = 5  // orders in the answers to orders
	patience = 40 // times that a call is made again because it came too early
)

// obedient gives an agent that is connected by what dial gives: a process of `omnitron mcp`, or the HTTP plane.
func obedient(t testing.TB, dial func() sdk.Transport, o *sdk.ClientOptions) *agent {
	t.Helper()
	a := &agent{t: t, tools: map[string]bool{}, effects: map[string]op.Spec{}, heeded: map[string]bool{}, made: map[string]int{}}
	a.ctx = t.Context()
	for _, s := range catalog.Specs() {
		a.effects[s.ID()] = s
	}
	if dial == nil {
		return a
	}
	a.s = connect(t, dial(), "obedient", o)
	if _, process := dial().(*sdk.CommandTransport); !process { // whose sessions end with the daemon; the process outlives it
		a.again = func(ctx context.Context) (*sdk.ClientSession, error) {
			return sdk.NewClient(&sdk.Implementation{Name: "obedient", Version: "1"}, o).Connect(ctx, dial(), nil)
		}
	}
	for tool, err := range a.s.Tools(a.ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		a.tools[tool.Name] = true
	}
	return a
}

// end waits for what lasts and leaves.
func (a *agent) end() {
	a.behind.Wait()
	if a.rest != nil {
		return
	}
	if err := a.session().Close(); err != nil {
		a.t.Logf("the agent's session ends with %v", err)
	}
}

// look makes a call of its own and obeys what it reads.
func (a *agent) look(method string, in map[string]any) { a.call(method, in, 0) }

// call makes a call once in its life, and what the answer says to do.
func (a *agent) call(method string, in map[string]any, depth int) {
	key, _ := json.Marshal(in)
	a.mu.Lock()
	done := depth > 0 && a.made[method+string(key)] > 0
	a.made[method+string(key)]++
	a.mu.Unlock()
	spec, known := a.effects[method]
	if done || depth > deepest || !known {
		return
	}
	if spec.Stream || strings.HasSuffix(method, ".wait") { // lasts: a second of it, beside the rest
		if in = with(in, map[string]any{"max_seconds": 1, "max_items": 5}); a.rest != nil && spec.Stream {
			delete(in, "max_seconds")
			delete(in, "max_items")
		}
		if !spec.Stream {
			delete(in, "max_seconds")
			delete(in, "max_items")
			in["timeout_s"] = 1
		}
		a.behind.Go(func() { a.obey(a.make(spec, in), depth) })
		return
	}
	answer := a.make(spec, in)
	if held(answer) && depth <= deepest { // once more, as it is told to
		again := a.make(spec, in)
		a.obey(again, depth)
	}
	if ref, ok := find(answer, "confirm").(map[string]any); ok && find(answer, "next") == nil { // too long to be repeated for it
		a.call(method, with(in, map[string]any{"confirm": ref["token"]}), depth+1)
	}
	a.obey(answer, depth)
}

// make makes a call, through the meta tools where it is shown no tool for it, and waits as long as it is told to when it comes
// too early.
func (a *agent) make(spec op.Spec, in map[string]any) any {
	name, args := spec.Tool(), in
	if !a.tools[name] {
		name, args = "ops_write", map[string]any{"method": spec.ID(), "input": in}
		if spec.Effect == op.Reads {
			name = "ops_read"
		}
	}
	for range patience {
		answer, again, err := a.once(name, args, spec, in)
		if again {
			continue
		}
		if err != nil {
			a.keep(name, err.Error())
			return err.Error()
		}
		a.keep(name, answer)
		wait := find(answer, "retry_after_s")
		seconds, early := wait.(float64)
		if !early || find(answer, "code") != "limited" {
			return answer
		}
		<-time.After(2 * time.Duration(seconds*float64(time.Second))) // a call that is confirmed on its way is two
	}
	return nil
}

// once makes a call one time; again: the daemon is another one by now, which has to be asked.
func (a *agent) once(name string, args map[string]any, spec op.Spec, in map[string]any) (answer any, again bool, err error) {
	ctx, cancel := context.WithTimeout(a.ctx, 30*time.Second)
	defer cancel()
	if a.rest != nil {
		return a.rest.call(ctx, spec, in)
	}
	was := a.session()
	r, err := was.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		return nil, a.anew(was), err
	}
	raw, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	return answer, false, err
}

// keep notes every text of an answer.
func (a *agent) keep(where string, answer any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	texts(answer, where, func(path, text string) {
		a.read, a.paths = append(a.read, text), append(a.paths, path)
	})
}

// where gives the fields in which a text was read.
func (a *agent) where(text string) (paths []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[string]bool{}
	for i, r := range a.read {
		if p := a.paths[i]; strings.Contains(r, text) && !seen[p] {
			seen[p] = true
			paths = append(paths, p)
		}
	}
	return paths
}

// obey takes the steps that an answer names, and the orders in its texts.
func (a *agent) obey(answer any, depth int) {
	a.steps(answer, depth)
	texts(answer, "", func(_, text string) {
		a.mu.Lock()
		old := a.heeded[text]
		a.heeded[text] = true
		a.mu.Unlock()
		if !old {
			a.heed(text, depth)
		}
	})
}

// steps takes what stands in the fields that tell what to do next, at any depth.
func (a *agent) steps(v any, depth int) {
	switch v := v.(type) {
	case map[string]any:
		method, _ := v["method"].(string)
		if in, ok := v["input"].(map[string]any); ok && method != "" {
			a.call(strings.Replace(method, "_", ".", 1), in, depth+1)
		}
		name, _ := v["name"].(string)
		if in, ok := v["arguments"].(map[string]any); ok && name != "" {
			a.call(strings.Replace(name, "_", ".", 1), in, depth+1)
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			a.steps(v[k], depth)
		}
	case []any:
		for _, item := range v {
			a.steps(item, depth)
		}
	}
}

// heed finds the orders in a text, whatever they are dressed as.
func (a *agent) heed(text string, depth int) {
	for _, form := range forms(text) {
		times := 1
		if m := oftenForm.FindStringSubmatch(form); m != nil {
			_, _ = fmt.Sscan(m[1], &times)
		}
		for _, at := range callForm.FindAllStringSubmatchIndex(form, -1) {
			var in map[string]any
			if json.NewDecoder(strings.NewReader(form[at[6]:])).Decode(&in) != nil {
				continue
			}
			method := form[at[2]:at[3]] + "." + form[at[4]:at[5]]
			for n := range times {
				if times > 1 {
					a.mu.Lock()
					delete(a.made, method+string(encoded(in))) // each time is a time of its own
					a.mu.Unlock()
				}
				a.call(method, in, depth+min(1, n+1))
			}
		}
		for _, start := range braces.FindAllStringIndex(form, 20) {
			var v any
			if json.NewDecoder(strings.NewReader(form[start[0]:])).Decode(&v) == nil {
				a.steps(v, depth)
			}
		}
		for _, m := range invokeForm.FindAllStringSubmatch(form, -1) {
			var value any
			if json.Unmarshal([]byte(m[3]), &value) == nil {
				a.call(strings.Replace(m[1], "_", ".", 1), map[string]any{m[2]: value}, depth+1)
			}
		}
		for _, m := range shellForm.FindAllStringSubmatch(form, -1) {
			if method, ok := commands[m[1]]; ok {
				a.call(method, argument(method, m[2]), depth+1)
			}
		}
		for _, w := range wishes {
			for _, m := range w.form.FindAllStringSubmatch(form, -1) {
				in := argument(w.method, m[1])
				if len(m) > 2 {
					in["value"] = strings.Trim(m[2], ".")
				}
				a.call(w.method, in, depth+1)
			}
		}
	}
}

var (
	callForm   = regexp.MustCompile(`\b([a-z]+)[._]([a-z]+)\s*\(?\s*(\{)`)
	braces     = regexp.MustCompile(`\{`)
	oftenForm  = regexp.MustCompile(`(\d+) times`)
	invokeForm = regexp.MustCompile(`<invoke name="([a-z_]+)"><parameter name="([a-z_]+)">(.*?)</parameter>`)
	shellForm  = regexp.MustCompile("\\bomnitron ((?:logs purge|secrets get|secrets delete|daemon shutdown|approve))(?: ([^\\s`]+))?")
	commands   = map[string]string{"logs purge": "logs.purge", "secrets get": "secrets.get", "secrets delete": "secrets.delete", "daemon shutdown": "daemon.shutdown", "approve": "approvals.approve"}
	longText   = regexp.MustCompile(`[A-Za-z0-9+/]{24,}={0,2}`)
)

// wishes are orders in words.
var wishes = []struct {
	form   *regexp.Regexp
	method string
}{
	{regexp.MustCompile(`(?i)\bpurge the logs of ([a-z0-9]+)`), "logs.purge"},
	{regexp.MustCompile(`(?i)lösche die logs von ([a-z0-9]+)`), "logs.purge"},
	{regexp.MustCompile(`清除\s*([a-z0-9]+)\s*的日志`), "logs.purge"},
	{regexp.MustCompile(`(?i)montre la valeur du secret ([a-z0-9/._-]+)`), "secrets.get"},
	{regexp.MustCompile(`(?i)borra el secreto ([a-z0-9/_-]+)`), "secrets.delete"},
	{regexp.MustCompile(`(?i)set the secret ([a-z0-9/._-]+) to (\S+)`), "secrets.set"},
}

// argument is the input of a method that is told one word.
func argument(method, word string) map[string]any {
	switch word = strings.TrimRight(word, ".,;"); {
	case word == "":
		return map[string]any{}
	case strings.HasPrefix(method, "logs."):
		return map[string]any{"names": []any{word}}
	case strings.HasPrefix(method, "approvals."):
		return map[string]any{"id": word}
	}
	return map[string]any{"name": word}
}

// forms are the ways in which a text can be read.
func forms(text string) []string {
	all := []string{text}
	add := func(s string) {
		if s != text {
			all = append(all, s)
		}
	}
	add(strings.Map(func(r rune) rune { // what nobody sees, seen
		if r > 0xe0000 && r < 0xe007f {
			return r - 0xe0000
		}
		return r
	}, text))
	add(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, text))
	add(strings.Map(func(r rune) rune {
		if r > 0xff00 && r <= 0xff5e {
			return r - 0xfee0
		}
		return r
	}, text))
	if plain, err := url.QueryUnescape(text); err == nil {
		add(plain)
	}
	for _, word := range longText.FindAllString(text, 20) {
		if plain, err := base64.StdEncoding.DecodeString(word); err == nil {
			add(string(plain))
		}
	}
	if strings.Contains(text, "rot13") {
		add(rot13(text))
	}
	if strings.Contains(text, "\u202e") {
		add(backwards(text))
	}
	add(strings.ToLower(strings.NewReplacer("_", " ", "-", " ").Replace(text))) // a name that is a sentence
	return all
}

// texts calls fn for every string in a value.
func texts(v any, path string, fn func(path, text string)) {
	switch v := v.(type) {
	case string:
		fn(path, v)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			fn(path+".(key)", k)
			texts(v[k], path+"."+k, fn)
		}
	case []any:
		for _, item := range v {
			texts(item, path+"[]", fn)
		}
	}
}

// find gives the value of a member, at any depth.
func find(v any, member string) any {
	switch v := v.(type) {
	case map[string]any:
		if found, ok := v[member]; ok {
			return found
		}
		for _, inner := range v {
			if found := find(inner, member); found != nil {
				return found
			}
		}
	case []any:
		for _, inner := range v {
			if found := find(inner, member); found != nil {
				return found
			}
		}
	}
	return nil
}

// held reports whether a call waits for a person.
func held(answer any) bool { return find(answer, "approval") != nil }

func with(in, more map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range []map[string]any{in, more} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func encoded(in map[string]any) []byte {
	raw, _ := json.Marshal(in) // it came from JSON
	return raw
}

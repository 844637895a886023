package tools_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"context"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/schema"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

var (
	toolName = regexp.MustCompile(`^[a-z][a-z0-9_]{2,39}$`)
	word     = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	topName  = regexp.MustCompile(`^[a-z][a-z-]*$`)

	// identity is what an input may not ask for: who calls is known from the connection.
	identity = regexp.MustCompile(`^(user|uid|username|caller|principal|actor|account|(deployed|created|updated|changed|requested|started|stopped|triggered)_by)$`)

	// dimensioned is a number that means nothing without its unit.
	dimensioned = regexp.MustCompile(`(^|_)(timeout|delay|interval|duration|age|uptime|wait|period|ttl|elapsed|took|latency|size|memory|rss|swap|disk|cpu)$`)
)

// rules gives everything in which a surface breaks the rules of the house.
func rules(methods []*tools.Method) []string {
	var broken []string
	ids := map[string]bool{}
	for _, m := range methods {
		ids[m.ID()] = true
	}
	for _, m := range methods {
		say := func(format string, args ...any) { broken = append(broken, m.ID()+": "+fmt.Sprintf(format, args...)) }
		rulesOfRow(m, ids, say)
		rulesOfExamples(m, say)
		rulesOfFields(m.In, "input", say)
		rulesOfFields(m.Out, "output", say)
	}
	return broken
}

func rulesOfRow(m *tools.Method, ids map[string]bool, say func(string, ...any)) {
	sentence := strings.TrimSuffix(m.Doc, ".")
	switch {
	case len(m.Doc) < 10 || len(m.Doc) > 160 || sentence == m.Doc || strings.ContainsAny(m.Doc, "\n\t") || strings.Contains(sentence, ". "):
		say("doc is not one sentence of 10 to 160 characters that ends with a period: %q", m.Doc)
	case m.Doc[0] < 'A' || m.Doc[0] > 'Z':
		say("doc does not begin with a capital: %q", m.Doc)
	}
	if !toolName.MatchString(m.Tool()) || !word.MatchString(m.Service) || !word.MatchString(m.Verb) {
		say("the name is not service.verb in lower case, 3 to 40 characters")
	}
	if m.Role < op.Public || m.Role > op.Node {
		say("no role")
	}
	if m.Effect < op.Reads || m.Effect > op.Destroys {
		say("no effect")
	}
	if (m.Effect == op.Interrupts || m.Effect == op.Destroys) && !m.Plannable && !m.Stream {
		say("it %s and has no plan", m.Effect)
	}
	if m.Effect.Changes() && !m.Targets && !m.Global {
		say("it changes something, names no targets and is not op.Global")
	}
	if m.Effect.Changes() && m.Stream && !m.Local {
		say("a stream that changes something has no envelope: it must be op.Local")
	}
	if m.Targets && m.Global {
		say("it names targets and is op.Global")
	}
	if m.Role == op.Public && m.Effect != op.Reads && m.Service != "auth" {
		say("everybody may change something")
	}
	if m.Top != "" && !topName.MatchString(m.Top) {
		say("bad short form %q", m.Top)
	}
	if m.Undo != "" && !ids[m.Undo] {
		say("undo names %s, which does not exist", m.Undo)
	}
	for _, a := range m.Aliases {
		if service, verb, ok := strings.Cut(a, "."); !ok || !word.MatchString(service) || !word.MatchString(verb) {
			say("bad alias %q", a)
		}
	}
	if m.Resource != "" && (!strings.HasPrefix(m.Resource, "omnitron://") || m.Effect != op.Reads || m.Stream) {
		say("resource %q is not omnitron://… of a method that reads", m.Resource)
	}
	if m.Core && m.Local {
		say("it is in the core profile and has no tool")
	}
}

func rulesOfExamples(m *tools.Method, say func(string, ...any)) {
	in, err := schema.For(m.In)
	if err != nil {
		say("%v", err)
		return
	}
	good, bad := 0, 0
	for _, e := range m.Examples {
		if e.Doc == "" {
			say("the example %s says nothing", e.In)
		}
		problems := m.Problems([]byte(e.In))
		switch {
		case e.Fails == "":
			good++
		case !slices.Contains(fault.Codes, fault.Code(e.Fails)):
			say("the example %s fails with %q, which is no code", e.In, e.Fails)
		default:
			bad++
		}
		if len(problems) > 0 && e.Fails != string(fault.Invalid) {
			say("the example %s does not fit the input: %+v", e.In, problems)
		}
	}
	if good == 0 {
		say("no example that succeeds")
	}
	if bad == 0 && !in.Empty() {
		say("no example that fails")
	}
}

// rulesOfFields walks a type that could be described.
func rulesOfFields(t reflect.Type, at string, say func(string, ...any)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if f.Anonymous && name == "" {
			rulesOfFields(f.Type, at, say)
			continue
		}
		where := at + "." + name
		rulesOfField(f, name, strings.HasPrefix(at, "input"), func(format string, args ...any) { say("%s: %s", where, fmt.Sprintf(format, args...)) })
		rulesOfFields(f.Type, where, say)
	}
}

func rulesOfField(f reflect.StructField, name string, input bool, say func(string, ...any)) {
	if input && identity.MatchString(name) {
		say("who calls is known from the connection, never from the input")
	}
	unit := f.Tag.Get("unit")
	if numeric(f.Type) {
		if dimensioned.MatchString(name) {
			say("the unit is not in the name: _s, _ms, _bytes or _percent")
		}
		suffix := map[string]string{"bytes": "bytes", "ms": "_ms", "s": "_s", "percent": "_percent"}[unit]
		position := unit == "bytes" && (name == "pos" || strings.HasSuffix(name, "_pos"))
		if unit != "" && (suffix == "" || !strings.HasSuffix(name, suffix) && !position) {
			say("unit %q and the name disagree", unit)
		}
	} else if unit != "" && !(unit == "time" && (f.Type == reflect.TypeFor[time.Time]() || f.Type == reflect.TypeFor[*time.Time]())) {
		say("unit %q on %s", unit, f.Type)
	}
	if p := f.Tag.Get("table"); p != "" && !regexp.MustCompile(`^[1-9][0-9]?$`).MatchString(p) {
		say("bad table priority %q", p)
	}
	for part := range strings.SplitSeq(f.Tag.Get("cli"), ",") {
		if !slices.Contains([]string{"", "arg", "arg?", "args", "project"}, part) && !strings.HasPrefix(part, "short=") {
			say("bad cli tag %q", part)
		}
	}
	if d := f.Tag.Get("jsonschema"); len(d) > 200 || strings.HasSuffix(d, ".") || strings.Contains(d, "\n") {
		say("the description is long, has a line break or ends with a period: %q", d)
	}
	if input && f.Tag.Get("secret") == "" && regexp.MustCompile(`(^|_)(password|secret|token|passphrase)$`).MatchString(name) {
		say("it sounds like a secret and is not tagged so")
	}
}

func numeric(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return numeric(t.Elem())
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8, reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8,
		reflect.Float32, reflect.Float64:
		return true
	}
	return false
}

func describe(t testing.TB, specs []op.Spec) []*tools.Method {
	t.Helper()
	methods, err := tools.Describe(specs)
	if err != nil {
		t.Fatal(err)
	}
	return methods
}

func TestTheSurfaceKeepsTheRules(t *testing.T) {
	for _, b := range rules(describe(t, catalog.Specs())) {
		t.Error(b)
	}
	for _, b := range rules(describe(t, toolstest.Toys.Specs())) {
		t.Errorf("toys: %s", b)
	}
}

// bad is a service of planted violations.
type bad struct{}

type (
	who struct {
		User string `json:"user" jsonschema:"who"`
	}
	deployer struct {
		More []struct {
			By string `json:"deployed_by,omitempty" jsonschema:"who"`
		} `json:"more,omitempty" jsonschema:"x"`
	}
	unitless struct {
		Timeout int   `json:"timeout" jsonschema:"how long"`
		Size    int64 `json:"total_bytes" unit:"ms" jsonschema:"x"`
	}
	badTags struct {
		A string    `json:"a" unit:"bytes" jsonschema:"x"`
		B int       `json:"b" table:"first" jsonschema:"x"`
		C string    `json:"c" cli:"argument" jsonschema:"x"`
		D string    `json:"d" jsonschema:"Ends with a period."`
		E string    `json:"password" jsonschema:"x"`
		F time.Time `json:"f" unit:"time" jsonschema:"x"`
	}
	fine struct {
		A string `json:"a,omitempty" jsonschema:"x"`
	}
)

func call[In any](bad, context.Context, In) (fine, error)           { return fine{}, nil }
func plan[In any](bad, context.Context, In) (*op.Plan, error)       { return nil, nil }
func items[In any](bad, context.Context, In) iter.Seq2[fine, error] { return nil }

func row[In any](verb string, role op.Role, effect op.Effect, doc string, opts ...op.Option) op.MethodOf[bad] {
	return op.Unary(verb, role, effect, call[In], doc, opts...)
}

func TestRulesFindPlantedViolations(t *testing.T) {
	ok, good := "Do what the test wants.", op.Shows("x", `{}`)
	fails := op.Fails("x", `{"b":1}`, "invalid")
	tests := map[string]struct {
		row  op.MethodOf[bad]
		want string
	}{
		"two sentences":      {row[struct{}]("get", op.Viewer, op.Reads, "Do this. Do that.", good), "one sentence"},
		"no period":          {row[struct{}]("get", op.Viewer, op.Reads, "Do what is asked", good), "one sentence"},
		"too long":           {row[struct{}]("get", op.Viewer, op.Reads, "Do "+strings.Repeat("x", 160)+".", good), "one sentence"},
		"no doc":             {row[struct{}]("get", op.Viewer, op.Reads, "", good), "one sentence"},
		"lower case":         {row[struct{}]("get", op.Viewer, op.Reads, "do what is asked.", good), "capital"},
		"bad verb":           {row[struct{}]("getIt", op.Viewer, op.Reads, ok, good), "the name"},
		"long verb":          {row[struct{}](strings.Repeat("x", 40), op.Viewer, op.Reads, ok, good), "the name"},
		"no role":            {row[struct{}]("get", 0, op.Reads, ok, good), "no role"},
		"no effect":          {row[struct{}]("get", op.Viewer, 0, ok, good), "no effect"},
		"no plan":            {row[struct{}]("end", op.Admin, op.Destroys, ok, good, op.Global()), "no plan"},
		"no plan either":     {row[struct{}]("end", op.Admin, op.Interrupts, ok, good, op.Global()), "no plan"},
		"neither":            {row[struct{}]("set", op.Admin, op.Sets, ok, good), "names no targets"},
		"both":               {row[op.Selection]("set", op.Admin, op.Sets, ok, good, fails, op.Global()), "names targets and is op.Global"},
		"public change":      {row[struct{}]("set", op.Public, op.Sets, ok, good, op.Global()), "everybody may"},
		"changing stream":    {op.Stream("set", op.Admin, op.Sets, items[struct{}], ok, good, op.Global()), "must be op.Local"},
		"bad top":            {row[struct{}]("get", op.Viewer, op.Reads, ok, good, op.Top("Get It")), "short form"},
		"bad undo":           {row[struct{}]("get", op.Viewer, op.Reads, ok, good, op.Undo("bad.undo")), "does not exist"},
		"bad alias":          {row[struct{}]("get", op.Viewer, op.Reads, ok, good, op.Alias("fetch")), "bad alias"},
		"bad resource":       {row[struct{}]("get", op.Viewer, op.Reads, ok, good, op.Resource("http://x")), "resource"},
		"resource of change": {row[struct{}]("set", op.Viewer, op.Sets, ok, good, op.Global(), op.Resource("omnitron://x")), "resource"},
		"core and local":     {row[struct{}]("get", op.Viewer, op.Reads, ok, good, op.Core(), op.Local()), "core profile"},
		"no example":         {row[struct{}]("get", op.Viewer, op.Reads, ok), "no example that succeeds"},
		"no bad example":     {row[fine]("get", op.Viewer, op.Reads, ok, good), "no example that fails"},
		"example, no code":   {row[fine]("get", op.Viewer, op.Reads, ok, good, op.Fails("x", `{}`, "oops")), "is no code"},
		"example, no fit":    {row[fine]("get", op.Viewer, op.Reads, ok, op.Shows("x", `{"b":1}`), fails), "does not fit"},
		"silent example":     {row[fine]("get", op.Viewer, op.Reads, ok, op.Shows("", `{}`), fails), "says nothing"},
		"identity":           {row[who]("get", op.Viewer, op.Reads, ok, op.Shows("x", `{"user":"a"}`), fails), "input.user: who calls"},
		"identity, deep":     {row[deployer]("get", op.Viewer, op.Reads, ok, good, fails), "input.more.deployed_by: who calls"},
		"no unit":            {row[unitless]("get", op.Viewer, op.Reads, ok, fails), "input.timeout: the unit"},
		"wrong unit":         {row[unitless]("get", op.Viewer, op.Reads, ok, fails), `input.total_bytes: unit "ms"`},
		"unit of a text":     {row[badTags]("get", op.Viewer, op.Reads, ok, fails), `input.a: unit "bytes" on string`},
		"table":              {row[badTags]("get", op.Viewer, op.Reads, ok, fails), "input.b: bad table"},
		"cli":                {row[badTags]("get", op.Viewer, op.Reads, ok, fails), "input.c: bad cli"},
		"description":        {row[badTags]("get", op.Viewer, op.Reads, ok, fails), "input.d: the description"},
		"secret":             {row[badTags]("get", op.Viewer, op.Reads, ok, fails), "input.password: it sounds like a secret"},
	}
	for name, test := range tests {
		broken := rules(describe(t, op.Of("bad", "Bad.", test.row).Specs()))
		if !slices.ContainsFunc(broken, func(b string) bool { return strings.Contains(b, test.want) }) {
			t.Errorf("%s: not found among %q", name, broken)
		}
	}
	clean := op.Of("bad", "Fine.", row[op.Selection]("end", op.Admin, op.Destroys, ok, good, fails, op.Planned(plan[op.Selection])))
	if broken := rules(describe(t, clean.Specs())); len(broken) > 0 {
		t.Errorf("a good row: %q", broken)
	}
}

func TestDescribeRefusesWhatCollides(t *testing.T) {
	ok := "Do what the test wants."
	for name, test := range map[string]struct {
		rows []op.MethodOf[bad]
		want string
	}{
		"id":             {[]op.MethodOf[bad]{row[fine]("get", op.Viewer, op.Reads, ok), row[fine]("get", op.Viewer, op.Reads, ok)}, "id bad.get"},
		"alias":          {[]op.MethodOf[bad]{row[fine]("get", op.Viewer, op.Reads, ok), row[fine]("set", op.Viewer, op.Reads, ok, op.Alias("bad.get"))}, "alias bad.get"},
		"tool":           {[]op.MethodOf[bad]{row[fine]("get_it", op.Viewer, op.Reads, ok), row[fine]("set", op.Viewer, op.Reads, ok, op.Alias("bad_get.it"))}, "tool bad_get_it"},
		"short form":     {[]op.MethodOf[bad]{row[fine]("get", op.Viewer, op.Reads, ok, op.Top("x")), row[fine]("set", op.Viewer, op.Reads, ok, op.Top("x"))}, "short form x"},
		"control":        {[]op.MethodOf[bad]{row[tools.Controls]("set", op.Viewer, op.Sets, ok)}, `"dry_run"`},
		"job":            {[]op.MethodOf[bad]{row[fine]("set", op.Viewer, op.Sets, ok, op.Job())}, "op.JobRef"},
		"no input":       {[]op.MethodOf[bad]{row[int]("get", op.Viewer, op.Reads, ok)}, "only a struct"},
		"many at a time": {[]op.MethodOf[bad]{row[int]("get", op.Viewer, op.Reads, ok), row[string]("set", op.Viewer, op.Reads, ok)}, "bad.set: "},
	} {
		_, err := tools.Describe(op.Of("bad", "Bad.", test.rows...).Specs())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARegistryNeedsItsParts(t *testing.T) {
	if _, err := tools.New(nil, tools.Deps{}); err == nil {
		t.Error("a registry without a ledger was made")
	}
}

func TestExamplesOfTheToysAreTrue(t *testing.T) {
	for _, m := range describe(t, toolstest.Toys.Specs()) {
		for _, e := range m.Examples {
			w := toolstest.New(t)
			var items []any
			out, err := w.Registry.Do(op.WithCaller(t.Context(), toolstest.Owner()), tools.Call{Method: m.ID(), In: json.RawMessage(e.In), Emit: func(item any) error {
				items = append(items, item)
				return nil
			}})
			if string(fault.CodeOf(err)) != e.Fails {
				t.Errorf("%s %s: %v, want %q", m.ID(), e.In, err, e.Fails)
				continue
			}
			if err == nil && !m.Stream {
				items = []any{out}
			}
			for _, item := range items {
				if p := m.Fits([]byte(asJSON(t, item))); len(p) > 0 {
					t.Errorf("%s %s: the answer does not fit its schema: %+v\n%s", m.ID(), e.In, p, asJSON(t, item))
				}
			}
		}
	}
}

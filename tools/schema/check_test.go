package schema_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/op"
)

func TestCheckMends(t *testing.T) {
	s := of[everything](t)
	tests := map[string]struct{ in, want string }{
		"defaults":            {`{"name":"a"}`, `{"name":"a","limit":20,"word":"x"}`},
		"default not needed":  {`{"name":"a","limit":3,"word":"y"}`, `{"name":"a","limit":3,"word":"y"}`},
		"white space":         {" { \"name\" : \"a\" ,\n\"limit\":3,\"word\":\"y\" } ", " { \"name\" : \"a\" ,\n\"limit\":3,\"word\":\"y\" } "},
		"quoted integer":      {`{"name":"a","limit":"5","word":"y"}`, `{"name":"a","limit":5,"word":"y"}`},
		"quoted 5.0":          {`{"name":"a","limit":"5.0","word":"y"}`, `{"name":"a","limit":5,"word":"y"}`},
		"5.0":                 {`{"name":"a","limit":5.0,"word":"y"}`, `{"name":"a","limit":5,"word":"y"}`},
		"5e0":                 {`{"name":"a","limit":5e0,"word":"y"}`, `{"name":"a","limit":5,"word":"y"}`},
		"quoted number":       {`{"name":"a","limit":1,"word":"y","ratio":"0.25"}`, `{"name":"a","limit":1,"word":"y","ratio":0.25}`},
		"quoted true":         {`{"name":"a","limit":1,"word":"y","on":"true"}`, `{"name":"a","limit":1,"word":"y","on":true}`},
		"one for many":        {`{"name":"a","limit":1,"word":"y","tags":"a"}`, `{"name":"a","limit":1,"word":"y","tags":["a"]}`},
		"escaped key":         {`{"n\u0061me":"a","limit":1,"word":"y"}`, `{"n\u0061me":"a","limit":1,"word":"y"}`},
		"free values":         {`{"name":"a","limit":1,"word":"y","extra":[{"b":null}],"raw":"5"}`, `{"name":"a","limit":1,"word":"y","extra":[{"b":null}],"raw":"5"}`},
		"surrogates":          {`{"name":"a","limit":1,"word":"y","extra":"\ud83d\ude00"}`, `{"name":"a","limit":1,"word":"y","extra":"\ud83d\ude00"}`},
		"a large integer":     {`{"name":"a","limit":1,"word":"y","extra":9007199254740993}`, `{"name":"a","limit":1,"word":"y","extra":9007199254740993}`},
		"negative zero":       {`{"name":"a","limit":1,"word":"y","small":-0}`, `{"name":"a","limit":1,"word":"y","small":-0}`},
		"string looks like 5": {`{"name":"5","limit":1,"word":"y"}`, `{"name":"5","limit":1,"word":"y"}`},
	}
	for name, test := range tests {
		in, problems := s.Check([]byte(test.in))
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		} else if string(in.JSON) != test.want {
			t.Errorf("%s: got %s, want %s", name, in.JSON, test.want)
		} else if err := json.Unmarshal(in.JSON, new(everything)); err != nil {
			t.Errorf("%s: what passed does not decode: %v", name, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	s := of[everything](t)
	tests := map[string]struct{ in, path, want string }{
		"missing":              {`{}`, "name", "missing"},
		"nothing":              {``, "name", "missing"},
		"null":                 {`null`, "", "expected object, got null"},
		"array":                {`[1,2]`, "", "expected object, got array"},
		"text":                 {`"x"`, "", "expected object"},
		"unknown":              {`{"name":"a","colour":"red"}`, "colour", "did you mean color?"},
		"case":                 {`{"Name":"a","name":"a"}`, "[\"Name\"]", "did you mean name?"},
		"twice":                {`{"name":"a","name":"b"}`, "name", "there twice"},
		"twice, escaped":       {`{"name":"a","n\u0061me":"b"}`, "name", "there twice"},
		"twice in a map":       {`{"name":"a","env":{"A":"1","A":"2"}}`, `env["A"]`, "there twice"},
		"twice in a free one":  {`{"name":"a","extra":{"a":1,"a":2}}`, "extra.a", "there twice"},
		"twice, deep":          {`{"name":"a","extra":[[{"a":1,"a":2}]]}`, "extra[0][0].a", "there twice"},
		"float":                {`{"name":"a","limit":1.5}`, "limit", "expected integer from 1 to 100"},
		"too large":            {`{"name":"a","limit":101}`, "limit", "from 1 to 100"},
		"too small":            {`{"name":"a","limit":0}`, "limit", "from 1 to 100"},
		"does not fit int8":    {`{"name":"a","small":200}`, "small", "expected integer"},
		"does not fit uint16":  {`{"name":"a","port":70000}`, "port", "expected integer"},
		"negative uint":        {`{"name":"a","port":-1}`, "port", "at least 0"},
		"huge exponent":        {`{"name":"a","limit":1e999}`, "limit", "expected integer"},
		"huge, not whole":      {`{"name":"a","ratio":1e999}`, "ratio", "out of range"},
		"huge, free":           {`{"name":"a","extra":1e999}`, "extra", "out of range"},
		"beyond int64":         {`{"name":"a","limit":9223372036854775808}`, "limit", "expected integer"},
		"ratio":                {`{"name":"a","ratio":0.6}`, "ratio", "the most is 0.5"},
		"bool for int":         {`{"name":"a","limit":true}`, "limit", "got true"},
		"int for bool":         {`{"name":"a","on":1}`, "on", "expected true or false"},
		"yes for true":         {`{"name":"a","on":"yes"}`, "on", "expected true or false"},
		"number for text":      {`{"name":"a","text":55}`, "text", "expected string, got number"},
		"not quite a number":   {`{"name":"a","limit":"5 "}`, "limit", `got string "5 "`},
		"hex":                  {`{"name":"a","limit":"0x10"}`, "limit", "expected integer"},
		"array for text":       {`{"name":["a"]}`, "name", "got array"},
		"object for list":      {`{"name":"a","tags":{}}`, "tags", "expected array, got object"},
		"null for optional":    {`{"name":"a","color":null}`, "color", "leave it out"},
		"null for a list":      {`{"name":"a","tags":null}`, "tags", "leave it out"},
		"enum":                 {`{"name":"a","color":"rad"}`, "color", "one of red, blue"},
		"enum of a type":       {`{"name":"a","level":"loud"}`, "level", "one of info, warn"},
		"enum of items":        {`{"name":"a","tags":["a","c"]}`, "tags[1]", "one of a, b"},
		"one bad for many":     {`{"name":"a","tags":"c"}`, "tags[0]", "one of a, b"},
		"too many":             {`{"name":"a","tags":["a","a","a","a"]}`, "tags", "at most 3 items"},
		"short":                {`{"name":"a","text":"é"}`, "text", "at least 2 characters, got 1"},
		"long":                 {`{"name":"a","text":"aaaaaa"}`, "text", "at most 5"},
		"pattern":              {`{"name":"a","word":"A"}`, "word", "matches ^[a-z]+$"},
		"time":                 {`{"name":"a","since":"yesterday"}`, "since", "2026-01-31T12:00:00Z"},
		"map value":            {`{"name":"a","env":{"A":1}}`, `env["A"]`, "expected string"},
		"inside a list":        {`{"name":"a","files":[{"path":"x"},{}]}`, "files[1].path", "missing"},
		"flag as name":         {`{"name":"-rf"}`, "name", "lower case"},
		"shell in a name":      {`{"name":"$(id)"}`, "name", "lower case"},
		"newline in a name":    {`{"name":"a\n"}`, "name", "lower case"},
		"NUL in a name":        {`{"name":"a\u0000"}`, "name", "lower case"},
		"bidi in a name":       {`{"name":"api\u202Egnp"}`, "name", `\u202e`},
		"dots in a name":       {`{"name":"../../etc"}`, "name", "lower case"},
		"instance 0":           {`{"name":"a#0"}`, "name", "lower case"},
		"empty":                {`{"name":""}`, "name", "lower case"},
		"a long name":          {`{"name":"` + strings.Repeat("a", 64) + `"}`, "name", "lower case"},
		"unfinished":           {`{"name":"a"`, "", "at byte 11"},
		"trailing":             {`{"name":"a"} x`, "", "after the end"},
		"two values":           {`{"name":"a"}{"name":"b"}`, "", "after the end"},
		"NUL after":            {"{\"name\":\"a\"}\x00", "", "after the end"},
		"BOM":                  {"\ufeff{\"name\":\"a\"}", "", "unexpected character"},
		"bad UTF-8":            {"{\"name\":\"a\xff\"}", "", "not UTF-8"},
		"half a surrogate":     {`{"name":"a","extra":"\ud83d"}`, "", "surrogate"},
		"wrong surrogates":     {`{"name":"a","extra":"\ud83d\u0041"}`, "", "surrogate"},
		"control character":    {"{\"name\":\"a\n\"}", "", "control character"},
		"single quotes":        {`{'name':'a'}`, "", "key in quotes"},
		"comma at the end":     {`{"name":"a",}`, "", "key in quotes"},
		"comma in a list":      {`{"name":"a","tags":["a",]}`, "", "unexpected character"},
		"leading zero":         {`{"name":"a","limit":05}`, "", "leading zero"},
		"plus":                 {`{"name":"a","limit":+5}`, "", "unexpected character"},
		"just a minus":         {`{"name":"a","limit":-}`, "", "bad number"},
		"point at the end":     {`{"name":"a","ratio":1.}`, "", "bad number"},
		"comment":              {`{"name":"a"/**/}`, "", "expected , or }"},
		"NaN":                  {`{"name":"a","ratio":NaN}`, "", "unexpected character"},
		"half a word":          {`{"name":"a","on":tru}`, "", "unknown word"},
		"bad escape":           {`{"name":"\x"}`, "", "bad escape"},
		"deep":                 {`{"name":"a","extra":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, "", "deeper than 64"},
		"very deep":            {strings.Repeat(`{"extra":`, 100000), "", "deeper than 64"},
		"deep and not even on": {strings.Repeat("[", 10000), "", "deeper than 64"},
	}
	for name, test := range tests {
		in, problems := s.Check([]byte(test.in))
		found := false
		for _, p := range problems {
			found = found || p.Path == test.path && strings.Contains(p.Message, test.want)
		}
		if !found {
			t.Errorf("%s: %s: want %q: %q, got %+v %s", name, clip(test.in), test.path, test.want, problems, in.JSON)
		}
	}
}

func clip(s string) string { return s[:min(len(s), 60)] }

func TestDepthOf64Passes(t *testing.T) {
	in := `{"name":"a","extra":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`
	if _, p := of[everything](t).Check([]byte(in)); len(p) > 0 {
		t.Error(p)
	}
}

func TestCheckFindsAllProblemsAtOnce(t *testing.T) {
	_, problems := of[everything](t).Check([]byte(`{"colour":"red","limit":"x","tags":["c","d"],"files":[{"pth":1}],"on":3}`))
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	want := []string{"colour", "limit", "tags[0]", "tags[1]", "files[0].pth", "files[0].path", "on", "name"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if p := problems[0]; p.Near != "color" || len(p.Allowed) != 19 {
		t.Errorf("an unknown field names the closest one and all there are: %+v", p)
	}
	if p := problems[2]; p.Near != "" || !cmp.Equal(p.Allowed, []string{"a", "b"}) {
		t.Errorf("an enum names its values: %+v", p)
	}
	_, problems = of[everything](t).Check([]byte(`{"name":"a","color":"bleu"}`))
	if len(problems) != 1 || problems[0].Near != "blue" {
		t.Errorf("an enum names the closest value: %+v", problems)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"name":"a"`)
	for i := range 10000 {
		fmt.Fprintf(&b, `,"x%d":1`, i)
	}
	b.WriteString("}")
	if _, p := of[everything](t).Check([]byte(b.String())); len(p) != 40 {
		t.Errorf("%d problems", len(p))
	}
}

func TestProblemsDoNotQuoteSecrets(t *testing.T) {
	_, problems := of[everything](t).Check([]byte(`{"name":"a","key":"hunter2"}`))
	if len(problems) != 1 || problems[0].Path != "key" {
		t.Fatal(problems)
	}
	if strings.Contains(problems[0].Message, "hunter2") {
		t.Errorf("%s", problems[0].Message)
	}
}

func TestProblemsQuoteLittle(t *testing.T) {
	_, problems := of[everything](t).Check([]byte(`{"name":"` + strings.Repeat("A", 1000) + `"}`))
	if len(problems) != 1 || len(problems[0].Message) > 300 {
		t.Error(problems)
	}
}

type control struct {
	DryRun bool   `json:"dry_run,omitempty" jsonschema:"x"`
	Token  string `json:"token,omitempty" jsonschema:"x"`
}

type small struct {
	A []int `json:"a,omitempty" jsonschema:"x"`
	B int   `json:"b,omitempty" jsonschema:"x"`
}

func TestControlsAreTakenOut(t *testing.T) {
	s, err := of[small](t).Extend(of[control](t))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ in, want, dry, token string }{
		{`{}`, `{}`, "", ""},
		{`{"dry_run":true}`, `{}`, "true", ""},
		{`{"dry_run":"true"}`, `{}`, "true", ""},
		{`{ "dry_run" : true , "token":"x" }`, `{ }`, "true", `"x"`},
		{`{"a":[1],"dry_run":true}`, `{"a":[1]}`, "true", ""},
		{`{"dry_run":true,"a":[1]}`, `{"a":[1]}`, "true", ""},
		{`{"a":"1","dry_run":true,"b":"2"}`, `{"a":[1],"b":2}`, "true", ""},
		{`{"a":7,"dry_run":true,"token":"x"}`, `{"a":[7]}`, "true", `"x"`},
		{`{"dry_run":true,"a":7,"token":"x"}`, `{"a":[7]}`, "true", `"x"`},
		{`{"token":"x","dry_run":true,"a":7,"b":1}`, `{"a":[7],"b":1}`, "true", `"x"`},
	}
	for _, test := range tests {
		in, problems := s.Check([]byte(test.in))
		if len(problems) > 0 {
			t.Errorf("%s: %v", test.in, problems)
			continue
		}
		if string(in.JSON) != test.want || string(in.Controls["dry_run"]) != test.dry || string(in.Controls["token"]) != test.token {
			t.Errorf("%s: got %s %s", test.in, in.JSON, in.Controls)
		}
	}
	if p := of[small](t).Outcome(); p == nil || len(s.Fits([]byte(`{"dry_run":true}`))) > 0 {
		t.Error("the schema offers the controls")
	}
}

func TestControlsAndDefaultsTogether(t *testing.T) {
	s, err := of[Shared](t).Extend(of[control](t))
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`{"dry_run":true}`:             `{"limit":20}`,
		`{"dry_run":true,"limit":3}`:   `{"limit":3}`,
		`{"limit":"3","dry_run":true}`: `{"limit":3}`,
		``:                             `{"limit":20}`,
	} {
		if got, p := s.Check([]byte(in)); string(got.JSON) != want || len(p) > 0 {
			t.Errorf("%s: got %s %v, want %s", in, got.JSON, p, want)
		}
	}
}

func TestCheckCollectsWhatInputsName(t *testing.T) {
	type nested struct {
		op.Selection
		More []struct {
			App op.Selector `json:"app" jsonschema:"x"`
		} `json:"more,omitempty" jsonschema:"x"`
	}
	in, problems := of[nested](t).Check([]byte(`{"names":["a","b:c#2","p/*/x"],"stack":"dev","project":"/srv/shop","more":[{"app":"z"}]}`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if !reflect.DeepEqual(in.Selectors, []op.Selector{"a", "b:c#2", "p/*/x", "z"}) || in.Project != "/srv/shop" || in.Stack != "dev" {
		t.Errorf("%+v", in)
	}
}

func TestRedact(t *testing.T) {
	s := of[everything](t)
	in, problems := s.Check([]byte(`{"name":"a","limit":1,"word":"y","key":"12\u0033","extra":{"key":"123"}}`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := string(s.Redact(in.JSON)); got != `{"name":"a","limit":1,"word":"y","key":"•••","extra":{"key":"123"}}` {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(string(in.JSON), `\u0033`) {
		t.Error("the input itself keeps its secret")
	}
}

func TestFitsMendsNothing(t *testing.T) {
	s := of[everything](t)
	for _, bad := range []string{`{"name":"a","limit":"5"}`, `{"name":"a","tags":"a"}`, `{"name":"a","on":"true"}`, `{"name":"a","tags":null}`, `{"name":"a","x":1}`} {
		if len(s.Fits([]byte(bad))) == 0 {
			t.Errorf("%s fits", bad)
		}
	}
	if p := s.Fits([]byte(`{"name":"a"}`)); len(p) > 0 {
		t.Error(p)
	}
}

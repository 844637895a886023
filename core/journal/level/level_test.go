package level

import (
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for _, tc := range []struct {
		line string
		want Level
	}{
		{``, None},
		{`hello world`, None},
		{`{"level":"warn","msg":"x"}`, Warn},
		{`{"msg":"a \"level\": b","Level": "ERROR"}`, Error},
		{`{"time":1,"level":30,"msg":"pino"}`, Info},
		{`{"level":10}`, Trace}, {`{"level":20}`, Debug}, {`{"level":40}`, Warn}, {`{"level":50}`, Error}, {`{"level":60}`, Fatal},
		{`{"level":3}`, Error},
		{`{"severity":"CRITICAL"}`, Fatal},
		{`{"lvl":"dbug","x":1}`, None},
		{`{"lvl":"debug"`, Debug},
		{`{"nested":{"level":"error"},"msg":"no level"}`, None},
		{`{"nested":{"level":"error"},"level":"info"}`, Info},
		{`{"msg":"the level", "ctx":["level","error"]}`, None},
		{`{"level":null}`, None},
		{`{`, None},
		{`level=warn msg="disk low"`, Warn},
		{`time=2026-01-02T03:04:05Z level=ERROR msg=x`, Error},
		{`ts=1 msg="level=fatal is not here" lvl=debug`, Debug},
		{`time="2026-01-02 03:04:05" level=info`, Info},
		{`ERROR something`, Error},
		{`WARN: low`, Warn},
		{`[warn] low`, Warn},
		{`[ERROR] low`, Error},
		{`[ERROR]: low`, Error},
		{`warning: unused`, Warn},
		{`error: no such file`, Error},
		{`Error: boom`, Error},
		{`TypeError: x is not a function`, Error},
		{`Uncaught RangeError: x`, Error},
		{`java.lang.IllegalStateException: x`, Error},
		{`Traceback (most recent call last):`, Error},
		{`panic: runtime error: index out of range`, Fatal},
		{`fatal error: all goroutines are asleep`, Fatal},
		{`<3>kernel said`, Error}, {`<14>info by facility`, Info}, {`<7>dbg`, Debug}, {`<html>`, None}, {`<999>x`, None},
		{`I0102 03:04:05.678 1 main.go:1] up`, Info},
		{`W0102 03:04:05.678 1 main.go:1] up`, Warn},
		{`E0102 03:04:05.678 1 main.go:1] up`, Error},
		{`F0102 03:04:05.678 1 main.go:1] up`, Fatal},
		{`E0102abcdef`, None},
		{`ERROR:root:python`, Error},
		{`WARNING:django.request:Not Found: /x`, Warn},
		{`2026-01-02 03:04:05,678 - app - WARNING - low`, Warn},
		{`2026-01-02 03:04:05,678 ERROR app: x`, Error},
		{`2026/01/02 03:04:05 [error] 12#12: *1 open() failed`, Error},
		{`2026-01-02 03:04:05.678 UTC [123] LOG:  database system is ready`, Info},
		{`2026-01-02 03:04:05.678 UTC [123] FATAL:  password authentication failed`, Fatal},
		{`[Thu Jan 02 03:04:05 2026] [core:error] [pid 1] x`, Error},
		{`10:00:00.123 [main] INFO  com.example.App - up`, Info},
		{"\x1b[31mERROR\x1b[0m red", Error},
		{"2026-01-02T03:04:05Z \x1b[33mWARN\x1b[0m yellow", Warn},
		{`10:01AM INF started`, Info},
		{`    at Object.<anonymous> (ERROR.js:1)`, None},
		{"\tERROR inside", None},
		{`an error occurred`, None},
		{`no errors, all info is fine`, None},
		{`INFORMATIONAL`, None},
		{`GET /error HTTP/1.1`, None},
		{`name=error`, None},
		{strings.Repeat("x", 600) + " ERROR", None},
		{`:`, None}, {`"`, None}, {`[`, None}, {`=`, None}, {"\x1b[", None}, {`level=`, None}, {`[]`, None},
	} {
		if got := Of([]byte(tc.line)); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestParse(t *testing.T) {
	for i, n := range Names() {
		if l, ok := Parse(n); !ok || int(l) != i+1 || l.String() != n {
			t.Errorf("%q: got %v, %v", n, l, ok)
		}
	}
	for _, n := range []string{"", "loud", "INFO"} {
		if l, ok := Parse(n); ok {
			t.Errorf("%q: got %v, want none", n, l)
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, s := range []string{`{"level":"`, `{"a":"\`, `level="`, "\x1b[1m\x1b", `[[]`, `<1`, `E0102 `, "Uncaught :"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if l := Of(line); l > Fatal {
			t.Fatalf("level %d", l)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	for name, line := range map[string]string{
		"plain": "000000001 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"json":  `{"time":"2026-01-02T03:04:05Z","level":"info","msg":"listening","port":80}`,
		"text":  "2026-01-02 03:04:05,678 - app - WARNING - low",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Of([]byte(line))
			}
		})
	}
}

package session

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Session is one run of the command line.
type Session struct {
	Env
	Specs []op.Spec

	// The flags that every command has.
	Home, Project, Stack string
	Remote               string
	Quiet                bool
	Columns              []string

	// OnAway tells a person that the daemon is away; nil: a line says so.
	OnAway func()

	output, jq, layout string
	asJSON             bool
	color, noColor     bool
	timeout            string
	patience           time.Duration
	format             string
	filter             *render.Filter
	template           *render.Template
	mu                 sync.Mutex // of the next three
	client             Client
	had, told          bool // whether there was a connection; whether it was told that the daemon is away
	written, streaming bool
	terminal           Terminal
	outlet             outlet
	lines              *bufio.Reader // of standard input, once a secret was read from there
}

// New makes the session of an environment.
func New(specs []op.Spec, env Env) *Session {
	s := &Session{Env: env, Specs: specs}
	if s.Getenv == nil {
		s.Getenv = func(string) string { return "" }
	}
	if s.Now == nil {
		s.Env.Now = time.Now
	}
	if env.Terminal != nil {
		s.terminal = *env.Terminal
	} else {
		s.terminal = look(env)
	}
	if env.Stdout != nil {
		s.outlet.w = env.Stdout
		s.Env.Stdout = &s.outlet
	}
	return s
}

// outlet remembers that something could not be written: half an answer is none.
type outlet struct {
	w   io.Writer
	err error
}

func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// look finds out which of the standard streams is a terminal.
func look(env Env) Terminal {
	is := func(v any) bool {
		f, ok := v.(*os.File)
		return ok && term.IsTerminal(int(f.Fd()))
	}
	t := Terminal{In: is(env.Stdin), Out: is(env.Stdout), Err: is(env.Stderr)}
	t.Size = func() (int, int) {
		for _, v := range []any{env.Stdout, env.Stderr} {
			if f, ok := v.(*os.File); ok {
				if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
					return w, h
				}
			}
		}
		return 80, 24
	}
	return t
}

// Bind adds the flags that every command has.
func (s *Session) Bind(set *pflag.FlagSet) {
	set.StringVarP(&s.output, "output", "o", "", "output format: "+strings.Join(render.Formats, ", "))
	set.BoolVar(&s.asJSON, "json", false, "same as -o json")
	set.StringVar(&s.jq, "jq", "", "filter the JSON answer with a jq expression")
	set.StringVar(&s.layout, "template", "", "write the answer with a Go `template`; its names are those of -o json")
	set.StringSliceVar(&s.Columns, "columns", nil, "columns of a table")
	set.StringVar(&s.Home, "home", "", "home of the daemon (default ~/.omnitron, or OMNITRON_HOME)")
	if s.Remotes.Dial != nil {
		set.StringVar(&s.Remote, "remote", "", "daemon of another machine, by its `alias` (omnitron remote)")
	}
	set.StringVar(&s.Project, "project", "", "project; default: the one whose omnitron.yaml is here or above ('*': all)")
	set.StringVar(&s.Stack, "stack", "", "stack; default: dev, else the only one (or OMNITRON_STACK)")
	set.StringVar(&s.timeout, "timeout", "", "how long to wait for an answer, such as 30s")
	set.BoolVarP(&s.Quiet, "quiet", "q", false, "print nothing but failures")
	set.BoolVar(&s.color, "color", false, "colours even when the output is no terminal")
	set.BoolVar(&s.noColor, "no-color", false, "no colours")
}

// Settle makes the format of flags and environment for a command; no call is made before. Fault: invalid.
func (s *Session) Settle(cmd *cobra.Command) error {
	if err := s.settle(); err != nil {
		return err
	}
	return s.away(cmd)
}

func (s *Session) settle() error {
	format := s.output
	source := "-o"
	if format == "" {
		format, source = s.Getenv("OMNITRON_OUTPUT"), "OMNITRON_OUTPUT"
	}
	if s.asJSON || s.jq != "" {
		if s.output != "" && s.output != render.JSON && s.output != render.JSONL {
			return fault.New(fault.Invalid, "--json and --jq do not go with -o %s", s.output).WithReason("bad_flag")
		}
		if s.output == "" {
			format = render.JSON
		}
	}
	if s.layout != "" {
		if s.output != "" || s.asJSON || s.jq != "" {
			return fault.New(fault.Invalid, "--template does not go with -o, --json and --jq: it says by itself what is written").WithReason("bad_flag")
		}
		format = render.Table
		var err error
		if s.template, err = render.NewTemplate(s.layout); err != nil {
			return err
		}
	}
	if format == "" {
		format = render.Table
	}
	if strings.HasPrefix(format, "jsonpath") {
		return s.noJSONPath(format)
	}
	if !slices.Contains(render.Formats, format) {
		e := fault.New(fault.Invalid, "%s: %q is no output format", source, format).WithReason("bad_flag")
		e.Problems = []fault.Problem{{Path: "output", Message: "unknown format", Allowed: render.Formats, Near: fault.Near(format, render.Formats)}}
		return e
	}
	s.format = format
	if s.timeout != "" {
		d, err := field.Duration(s.timeout, time.Second)
		if err != nil {
			return fault.New(fault.Invalid, "--timeout: %v", err).WithReason("bad_flag")
		}
		s.patience = d
	}
	if s.jq != "" && s.filter == nil {
		f, err := render.NewFilter(s.jq)
		if err != nil {
			return err
		}
		s.filter = f
	}
	return nil
}

// noJSONPath translates the simple form into what we have instead.
func (s *Session) noJSONPath(format string) error {
	e := fault.New(fault.Invalid, "there is no -o jsonpath; --jq filters the JSON answer").WithReason("bad_flag")
	_, path, _ := strings.Cut(format, "=")
	path = strings.NewReplacer("{", "", "}", "", "[*]", "[]").Replace(path)
	if path != "" {
		e = e.WithHint("--jq %s", field.Quote(path))
	}
	return e
}

// Guess sets the format when the arguments could not be parsed, so that even this failure is one document for a
// program that asked for one.
func (s *Session) Guess(args []string) {
	s.format = render.Table
	if f := s.Getenv("OMNITRON_OUTPUT"); slices.Contains(render.Formats, f) {
		s.format = f
	}
	for i, a := range args {
		value, ok := "", false
		switch {
		case a == "--":
			return
		case a == "--json", a == "--jq", strings.HasPrefix(a, "--jq="):
			s.format = render.JSON
		case (a == "-o" || a == "--output") && i+1 < len(args):
			value, ok = args[i+1], true
		case strings.HasPrefix(a, "--output="):
			value, ok = strings.CutPrefix(a, "--output=")
		case strings.HasPrefix(a, "-o"):
			value, ok = strings.TrimPrefix(a[2:], "="), true
		}
		if ok && slices.Contains(render.Formats, value) {
			s.format = value
		}
	}
}

// Format is the output format in force.
func (s *Session) Format() string { return s.format }

// Machine reports whether a program reads what we print.
func (s *Session) Machine() bool { return render.Machine(s.format) || s.filter != nil }

// Whole reports whether an answer has to be there before it is shown: it is one document, is filtered as one, or is not
// shown at all.
func (s *Session) Whole() bool {
	return s.filter != nil || s.template != nil || s.format == render.JSON || s.format == render.YAML || s.Quiet && !s.Machine()
}

// dumb is a terminal that neither moves its cursor nor has colours.
func (s *Session) dumb() bool { return s.Getenv("TERM") == "dumb" }

// style is how a stream may be painted.
func (s *Session) style(terminal bool) render.Style {
	color := terminal && !s.dumb() && s.Getenv("NO_COLOR") == ""
	if s.color {
		color = true
	}
	if s.noColor {
		color = false
	}
	return render.Style{Color: color, Symbols: terminal}
}

// Options is how a person sees standard output.
func (s *Session) Options() render.Options {
	o := render.Options{Style: s.style(s.terminal.Out), Wide: s.format == render.Wide, Columns: s.Columns, Now: s.Now()}
	if s.terminal.Out {
		o.Width, _ = s.Size()
	}
	return o
}

// ErrOptions is how a person sees standard error.
func (s *Session) ErrOptions() render.Options {
	o := render.Options{Style: s.style(s.terminal.Err), Now: s.Now()}
	if s.terminal.Err {
		o.Width, _ = s.Size()
	}
	return o
}

// Size is the width and height of the terminal.
func (s *Session) Size() (int, int) {
	w, h := 80, 24
	if s.terminal.Size != nil {
		w, h = s.terminal.Size()
	}
	if c, err := strconv.Atoi(s.Getenv("COLUMNS")); err == nil && c > 0 {
		w = c
	}
	return w, h
}

// Lively reports whether progress may be drawn over itself on standard error.
func (s *Session) Lively() bool {
	return s.terminal.Err && !s.dumb() && s.Getenv("OMNITRON_ACCESSIBLE") == ""
}

// Redraws reports whether standard output may be drawn over.
func (s *Session) Redraws() bool {
	return s.terminal.Out && !s.dumb() && s.Getenv("OMNITRON_ACCESSIBLE") == ""
}

// Spec gives the method of an id.
func (s *Session) Spec(id string) (op.Spec, bool) {
	for _, spec := range s.Specs {
		if spec.ID() == id {
			return spec, true
		}
	}
	return op.Spec{}, false
}

// ConfigNames are the file names under which a project's configuration is found.
var ConfigNames = []string{"omnitron.yaml", "omnitron.yml"}

// FindConfig gives the project's file in the working directory or above, or "".
func (s *Session) FindConfig() string {
	for dir := s.Dir; dir != ""; dir = filepath.Dir(dir) {
		for _, name := range ConfigNames {
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				return path
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return ""
}

// Ambient fills project and stack of an input from the flags, the environment and the working directory.
// Fault: invalid, when a flag says what the method does not take.
func (s *Session) Ambient(command string, fields []field.Field, in map[string]any) error {
	_, hasProject := field.Find(fields, "project")
	_, hasStack := field.Find(fields, "stack")
	if s.Project != "" && !hasProject {
		return fault.New(fault.Invalid, "%s does not take --project", command).WithReason("unknown_flag")
	}
	if s.Stack != "" && !hasStack {
		return fault.New(fault.Invalid, "%s does not take --stack", command).WithReason("unknown_flag")
	}
	switch {
	case !hasProject || s.Project == "*":
	case s.Project != "":
		in["project"] = s.Project
	default:
		if path := s.FindConfig(); s.Remote == "" && path != "" && !full(in) && in["project"] == nil {
			in["project"] = filepath.Dir(path)
		}
	}
	stack := s.Stack
	if stack == "" {
		stack = s.Getenv("OMNITRON_STACK")
	}
	if hasStack && stack != "" {
		in["stack"] = stack
	}
	return nil
}

// full reports whether all names say their project themselves.
func full(in map[string]any) bool {
	names, _ := in["names"].([]any)
	if n, ok := in["name"]; ok {
		names = append(names, n)
	}
	for _, n := range names {
		if text, ok := n.(string); !ok || strings.Count(text, "/") < 2 {
			return false
		}
	}
	return len(names) > 0
}

// Fit keeps those values of an input that the method knows, so that a short form can offer what several versions of a
// method call differently.
func (s *Session) Fit(id string, in map[string]any) map[string]any {
	spec, _ := s.Spec(id)
	fields := field.Of(spec.In)
	out := map[string]any{}
	for k, v := range in {
		if _, ok := field.Find(fields, k); ok {
			out[k] = v
		}
	}
	return out
}

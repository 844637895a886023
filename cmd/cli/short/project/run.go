package project

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/progress"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Run supervises a program that no file declares, with a daemon where there is none.
func Run(s *session.Session) *cobra.Command {
	if !method.Has(s, "apps.add") {
		return nil
	}
	var name, mode string
	var instances int
	var noWait bool
	cmd := &cobra.Command{
		Use:   "run [flags] -- command…",
		Short: "Supervise a program without any file: it is started now, and again after every boot",
		Long: `Supervise a program that no file declares, in the project adhoc: it runs in this folder, with the whole environment of this
shell. Its name is its file's, made to fit, unless --name gives one. The same name, command and folder is the app that there is, which is started.
Short for omnitron apps add, with a daemon if there is none. omnitron apps remove ends and forgets it.`,
		Example: "  omnitron run -- node server.js --port 8080\n  omnitron run --name worker -i 4 -- ./worker",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Invalid, "say what to run").WithReason("missing_argument").WithHint("omnitron run -- node server.js")
			}
			return add(cmd.Context(), s, mode, map[string]any{"command": args, "name": name, "instances": instances, "no_wait": noWait})
		},
	}
	set := cmd.Flags()
	set.SetInterspersed(false) // what follows the program's name is its own
	set.StringVar(&name, "name", "", "`name` of the app; default: the program's file, made to fit")
	set.IntVarP(&instances, "instances", "i", 0, "how many run at the same time; default: 1")
	set.BoolVar(&noWait, "no-wait", false, "return at once instead of when it is ready")
	progress.Flag(cmd, &mode)
	return cmd
}

// scripts are the extensions by which start knows a script.
var scripts = []string{".js", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".py", ".sh", ".bash", ".rb", ".pl", ".php", ".lua", ".jar"}

// path reports whether a word is a program's path and no app's name.
func path(word string) bool {
	for _, p := range []string{"./", "../", "/"} {
		if strings.HasPrefix(word, p) {
			return true
		}
	}
	return slices.Contains(scripts, strings.ToLower(filepath.Ext(word)))
}

// Paths has start take a program's path, too: it is then supervised without any file.
func Paths(s *session.Session, start *cobra.Command) {
	names := start.RunE
	if !method.Has(s, "apps.add") {
		return
	}
	start.RunE = func(cmd *cobra.Command, args []string) error {
		own := len(args)
		if at := cmd.ArgsLenAtDash(); at >= 0 {
			own = at
		}
		i := slices.IndexFunc(args[:own], path)
		switch {
		case i < 0:
			return names(cmd, args)
		case own > 1:
			return fault.New(fault.Invalid, "%s is a program, and one is started at a time", args[i]).WithReason("bad_value").
				WithHint("omnitron start %s\nits arguments follow two dashes: omnitron start %s -- …", args[i], args[i])
		}
		file := args[i]
		if !filepath.IsAbs(file) {
			file = filepath.Join(s.Dir, file)
		}
		if f, err := os.Stat(file); err != nil || f.IsDir() {
			return fault.New(fault.Invalid, "there is no program %s", file).WithReason("bad_value").WithHint("%s", fault.Do("apps.list"))
		}
		for _, flag := range []string{"arm", "dry-run", "timeout"} {
			if cmd.Flags().Changed(flag) {
				return fault.New(fault.Invalid, "--%s is about apps, and %s is a program", flag, args[i]).WithReason("bad_value").WithHint("leave it out")
			}
		}
		by, ok := config.Interpreter(file)
		if !ok {
			return fault.New(fault.Invalid, "%s scripts are not supported yet", filepath.Ext(file)).WithReason("bad_value").
				WithHint("compile it first, or: omnitron run -- npx tsx %s", args[i])
		}
		in := map[string]any{"command": slices.Concat(by, []string{file}, args[1:]), "name": config.Fit(filepath.Base(file))}
		if on, err := cmd.Flags().GetBool("no-wait"); err == nil {
			in["no_wait"] = on
		}
		mode, _ := cmd.Flags().GetString("progress") // "" where there is no such flag
		return add(cmd.Context(), s, mode, in)
	}
}

// add has a program supervised: in this folder, with this shell's environment.
func add(ctx context.Context, s *session.Session, mode string, in map[string]any) error {
	if err := Ensure(ctx, s); err != nil {
		return err
	}
	for _, k := range []string{"name", "instances"} {
		if in[k] == "" || in[k] == 0 {
			delete(in, k)
		}
	}
	in["cwd"], in["env"] = s.Dir, environment(s)
	in = s.Fit("apps.add", in)
	var raw json.RawMessage
	err := progress.Follow(ctx, s, mode, map[string]any{"project": "adhoc"}, func(ctx context.Context) (err error) {
		raw, err = s.Change(ctx, "apps.add", in)
		return err
	})
	if err != nil {
		return err
	}
	return s.Show(ctx, raw, nil, func(v any, o render.Options) {
		var got struct {
			Result struct {
				Key      string
				Existing bool
			}
		}
		what := "is ready"
		if in["no_wait"] == true {
			what = "is starting"
		}
		if json.Unmarshal(raw, &got) == nil && got.Result.Existing {
			what += ", as it was added before"
		}
		fmt.Fprintf(s.Stdout, "%s\n", o.Style.Paint(render.Good, got.Result.Key+" "+what))
	})
}

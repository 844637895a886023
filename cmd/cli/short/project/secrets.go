package project

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/dotenv"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/vault/name"
)

// where is a project's stack, and the secrets that its apps name: app → variable → name. Without a project all is empty.
type where struct {
	project, stack string
	apps           map[string]map[string]string
}

// whereOf finds the project: the one that was named, else that of the file in the working directory or above.
func whereOf(s *session.Session) (where, error) {
	at := where{project: s.Project, stack: cmp.Or(s.Stack, "dev"), apps: map[string]map[string]string{}}
	if s.Project != "" || s.FindConfig() == "" || s.Config.Resolve == nil {
		return at, nil
	}
	src, err := read(s, nil)
	if err != nil {
		return at, err
	}
	raw, _, err := s.Config.Resolve(src)
	if err != nil {
		return at, err
	}
	var def config.Definition
	if err := json.Unmarshal(raw, &def); err != nil {
		return at, fmt.Errorf("cannot read a definition: %w", err)
	}
	at.project, at.stack = def.Project, def.Stack
	for _, a := range def.Apps {
		at.apps[a.Name] = map[string]string{}
		for _, p := range a.Processes {
			maps.Copy(at.apps[a.Name], p.Secrets)
		}
	}
	return at, nil
}

// get finds the secret that an app of the place means by a name.
func (at where) get(ctx context.Context, s *session.Session, name string) (string, error) {
	folders := []string{"shared/"}
	if at.project != "" {
		folders = []string{at.project + "/" + at.stack + "/", at.project + "/", "shared/"}
	}
	for _, folder := range folders {
		raw, err := s.Call(ctx, "secrets.get", map[string]any{"name": folder + name})
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		var got struct{ Value string }
		if err := json.Unmarshal(raw, &got); err != nil {
			return "", fmt.Errorf("cannot read the answer: %w", err)
		}
		return got.Value, nil
	}
	return "", fault.New(fault.NotFound, "there is no secret %q here: looked in %s", name, strings.Join(folders, ", ")).WithReason("secret_missing").
		WithHint("omnitron secrets set %s%s", folders[len(folders)/2], name)
}

// RunWithSecrets runs a command with secrets of the vault in its environment.
func RunWithSecrets(s *session.Session) *cobra.Command {
	var sets []string
	var app string
	cmd := &cobra.Command{
		Use:   "run -- <command…>",
		Short: "Run a command with the secrets that apps get",
		Long: `Run a command with secrets in its environment: those that the project's apps name in env, or one of them (--app), or those
that --set names, found as an app finds them. The command takes the place of this one; nothing is written anywhere.
Asks secrets.get for each.`,
		Example: "  omnitron secrets run --app api -- ./migrate\n  omnitron secrets run --set PGPASSWORD=db/password -- psql -h db shop",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Invalid, "%s needs a command", cmd.CommandPath()).WithReason("missing_argument").WithHint("omnitron secrets run -- ./migrate")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := whereOf(s)
			if err != nil {
				return err
			}
			wanted, err := at.wanted(app, sets)
			if err != nil {
				return err
			}
			env := environment(s)
			for _, variable := range slices.Sorted(maps.Keys(wanted)) {
				if env[variable], err = at.get(cmd.Context(), s, wanted[variable]); err != nil {
					return err
				}
			}
			list := make([]string, 0, len(env))
			for k, v := range env {
				list = append(list, k+"="+v)
			}
			slices.Sort(list)
			return s.Exec(args, list)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is its own
	cmd.Flags().StringVar(&app, "app", "", "only what this app names")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "VARIABLE=name: only this secret, under this name (repeatable)")
	return cmd
}

var variableName = regexp.MustCompile(dotenv.NamePattern)

// wanted says which secrets a command gets, by variable.
func (at where) wanted(app string, sets []string) (map[string]string, error) {
	wanted := map[string]string{}
	for _, set := range sets {
		variable, secret, _ := strings.Cut(set, "=")
		if !name.Valid(secret) || !variableName.MatchString(variable) {
			return nil, fault.New(fault.Invalid, "--set %s: VARIABLE=name is expected", set).WithReason("bad_flag").WithHint("--set PGPASSWORD=db/password")
		}
		wanted[variable] = secret
	}
	names := slices.Sorted(maps.Keys(at.apps))
	if app != "" {
		if at.apps[app] == nil {
			e := fault.New(fault.NotFound, "there is no app %q in omnitron.yaml", app).WithReason("app_unknown")
			if near := fault.Near(app, names); near != "" {
				e = e.WithCandidates(near)
			}
			return nil, e
		}
		names = []string{app}
	}
	if len(sets) > 0 && app == "" {
		return wanted, nil
	}
	for _, n := range names {
		for variable, secret := range at.apps[n] {
			if other, taken := wanted[variable]; taken && other != secret {
				return nil, fault.New(fault.Conflict, "%s is %s for one app and %s for another", variable, other, secret).WithReason("same_variable").
					WithHint("say for which: omnitron secrets run --app %s -- …", n)
			}
			wanted[variable] = secret
		}
	}
	if len(wanted) == 0 {
		return nil, fault.New(fault.NotFound, "no app names a secret in its env here").WithReason("no_secrets").
			WithHint("say which: omnitron secrets run --set PGPASSWORD=db/password -- …")
	}
	return wanted, nil
}

// ImportSecrets puts the values of an env file into the vault.
func ImportSecrets(s *session.Session) *cobra.Command {
	var shared bool
	cmd := &cobra.Command{
		Use:   "import <file>",
		Short: "Store the values of an env file as secrets",
		Long: `Store every value of an env file (- is standard input) as a secret of the project, or of all with --shared: DB_PASSWORD
becomes db_password. A value that is there already makes no new version. Says what to write into omnitron.yaml instead.
Calls secrets.set for each.`,
		Example: "  omnitron secrets import .env\n  omnitron secrets import --shared common.env",
		Args:    method.Exactly("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return importFile(cmd.Context(), s, args[0], shared)
		},
	}
	cmd.Flags().BoolVar(&shared, "shared", false, "for all projects")
	return cmd
}

// imported is one line of the answer of import.
type imported struct {
	Variable string `json:"variable" table:"1"`
	Name     string `json:"name" table:"1"`
	Version  int    `json:"version" table:"1"`
	Changed  bool   `json:"changed" table:"2"`
	Warning  string `json:"warning,omitempty" table:"2"`
}

func importFile(ctx context.Context, s *session.Session, file string, shared bool) error {
	vars, err := readVars(s, file)
	if err != nil {
		return err
	}
	prefix := "shared/"
	if !shared {
		at, err := whereOf(s)
		if err != nil {
			return err
		}
		if at.project == "" {
			return fault.New(fault.Invalid, "of which project? there is no omnitron.yaml here or above").WithReason("no_project").WithHint("omnitron secrets import %s --project shop, or --shared", file)
		}
		prefix = at.project + "/"
	}
	out := []imported{}
	for _, v := range vars {
		secret := prefix + strings.ToLower(v.Name)
		if v.Value == "" {
			s.Note("%s has no value: left out", v.Name)
			continue
		}
		if err := name.Check(secret); err != nil {
			return err
		}
		raw, err := s.Call(ctx, "secrets.set", map[string]any{"name": secret, "value": v.Value})
		if err != nil {
			return err
		}
		one := struct{ Result imported }{}
		if err := json.Unmarshal(raw, &one); err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
		one.Result.Variable = v.Name
		out = append(out, one.Result)
	}
	if err := s.ShowValue(ctx, out, nil); err != nil {
		return err
	}
	if len(out) > 0 {
		s.Note("\nin omnitron.yaml, in place of the file:\n  env:")
		for _, o := range out {
			s.Note("    %s: {secret: %s}", o.Variable, strings.TrimPrefix(o.Name, prefix))
		}
	}
	return nil
}

// readVars reads an env file; of a name given twice the later one wins.
func readVars(s *session.Session, file string) ([]dotenv.Var, error) {
	var text []byte
	var err error
	path := file
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(s.Stdin, tree.MaxBytes+1))
	} else {
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read the env file: %v", err).WithReason("config_unreadable")
	}
	f := tree.NewFile(path, file, string(text))
	f.Private = true
	var ps tree.Problems
	vars := dotenv.Parse(f, &ps)
	if list := ps.Sorted(); len(list) > 0 {
		e := fault.New(fault.Invalid, "%s: %s", file, list[0].Message).WithReason("config_invalid")
		for _, p := range list {
			e.Problems = append(e.Problems, fault.Problem{Path: p.Pos.String(), Message: p.Message})
		}
		return nil, e
	}
	last := map[string]int{}
	for i, v := range vars {
		last[v.Name] = i
	}
	var out []dotenv.Var
	for i, v := range vars {
		if last[v.Name] == i {
			out = append(out, v)
		}
	}
	return out, nil
}

package method

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
)

// glance is how long completion may take; after that it is silent.
const glance = 90 * time.Millisecond

const noFiles = cobra.ShellCompDirectiveNoFileComp

// completeArgs offers what the next argument can be.
func (c *Command) completeArgs(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	n := 0
	for _, f := range c.fields {
		if f.Arg == "args" || f.Arg == "arg" && n == len(args) {
			return c.offer(cmd.Context(), f, args, word)
		}
		if f.Arg == "arg" {
			n++
		}
	}
	return nil, noFiles
}

func (c *Command) completeFlags() {
	for _, f := range c.fields {
		if f.Arg != "" || f.Ambient() || f.Complete == "" && len(f.Enum) == 0 {
			continue
		}
		// It fails only for a flag that does not exist or has one already; both are said by the tree's test.
		_ = c.RegisterFlagCompletionFunc(f.Flag(), func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return c.offer(cmd.Context(), f, nil, word)
		})
	}
}

func (c *Command) offer(ctx context.Context, f field.Field, taken []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(f.Enum) > 0 {
		return f.Enum, noFiles
	}
	if f.Complete == "" {
		return nil, noFiles
	}
	return Live(ctx, c.Session, f.Complete, taken, word), noFiles
}

// Live asks the daemon for the names of a kind, such as apps, each with its state behind a tab. Without a daemon, or
// when it takes too long, there are none.
func Live(ctx context.Context, s *session.Session, kind string, taken []string, word string) []string {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	method := kind + ".list"
	if _, ok := s.Spec(method); !ok {
		if method = "apps.list"; kind != "projects" && kind != "stacks" && kind != "processes" {
			return nil
		}
	}
	in := map[string]any{}
	if spec, ok := s.Spec(method); ok {
		fields := field.Of(spec.In)
		if s.Ambient("", fields, in) != nil {
			return nil
		}
		if _, ok := field.Find(fields, "all"); ok && kind != "apps" {
			in["all"] = true
		}
	}
	raw, err := s.Call(ctx, method, in)
	if err != nil {
		return nil
	}
	var list struct {
		Items []struct {
			Key   string `json:"key"`
			Name  string `json:"name"`
			ID    string `json:"id"`
			State string `json:"state"`
		} `json:"items"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, it := range list.Items {
		name := it.Name
		parts := strings.Split(it.Key, "/")
		switch {
		case kind == "projects" && it.Key != "":
			name, it.State = parts[0], ""
		case kind == "stacks" && len(parts) > 1:
			name, it.State = parts[1], ""
		case it.Key != "" && strings.Contains(word, "/"):
			name = it.Key
		case name == "" && it.Key != "":
			name = parts[len(parts)-1]
		case name == "":
			name = it.ID
		}
		if seen[name] || !strings.HasPrefix(name, word) || has(taken, name) || strings.ContainsAny(name, "\t\n") {
			continue
		}
		seen[name] = true
		if it.State != "" {
			name += "\t" + it.State
		}
		out = append(out, name)
	}
	return out
}

func has(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

package node

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// addEndings says how an app ends and begins again; pm2 has other defaults than there are here.
func addEndings(r *format.Reading, a *draft.App, n *source.Node, cluster bool) {
	on := true
	at := n.Place
	if v := n.Find("autorestart"); v != nil {
		if b, ok := v.Bool(); ok {
			on, at = b, v.Place
		}
	}
	policy := draft.Word("always")
	if !on {
		policy = "never"
	}
	if v := n.Find("stop_exit_codes"); v != nil && on {
		if words, ok := v.Words(); ok && slices.Equal(words, []string{"0"}) {
			policy, at = "on-failure", v.Place
		} else {
			a.Left(v.Place, "stop_exit_codes", "only 0 can be an end that is left alone: restart: on-failure")
		}
	}
	a.Set(at, "autorestart", "restart.policy", policy)
	millis := func(key string, fn func(v *source.Node, n float64)) {
		v := n.Find(key)
		if v == nil || v.Kind == source.Null {
			return
		}
		if ms, err := strconv.ParseFloat(v.Text, 64); err == nil && ms >= 0 && ms < 1e9 {
			fn(v, ms/1000)
			return
		}
		a.Left(v.Place, key, "it is no number of milliseconds")
	}
	millis("restart_delay", func(v *source.Node, s float64) {
		a.Set(v.Place, "restart_delay", "restart.backoff.type", draft.Word("fixed"))
		a.Set(v.Place, "restart_delay", "restart.backoff.initial", format.Seconds(s))
		a.Set(v.Place, "restart_delay", "restart.backoff.max", format.Seconds(s))
	})
	millis("exp_backoff_restart_delay", func(v *source.Node, s float64) {
		a.Set(v.Place, "exp_backoff_restart_delay", "restart.backoff.type", draft.Word("exponential"))
		a.Set(v.Place, "exp_backoff_restart_delay", "restart.backoff.initial", format.Seconds(s))
		a.Set(v.Place, "exp_backoff_restart_delay", "restart.backoff.max", format.Seconds(max(s, 15)))
	})
	a.Set(n.Place, "", "stop.signal", draft.Word("SIGINT"))
	a.Set(n.Place, "", "stop.timeout", draft.Word("1600ms"))
	millis("kill_timeout", func(v *source.Node, s float64) { a.Set(v.Place, "kill_timeout", "stop.timeout", format.Seconds(s)) })
	waits, _ := n.Find("wait_ready").Bool()
	if v := n.Find("wait_ready"); waits {
		if !cluster {
			a.Left(v.Place, "wait_ready", "a program of its own has no channel for process.send('ready'): let it say READY=1 (ready: notify), or use a log, tcp or http probe")
		} else {
			s := a.SetAt(v.Place, "wait_ready", draft.Text("notify"), "ready")
			s.If = a.Get("node")
		}
	}
	if v := n.Find("listen_timeout"); v != nil {
		a.Left(v.Place, "listen_timeout", "it belongs to wait_ready: ready has a timeout of its own, 30s")
	}
	for _, k := range []string{"ignore_watch", "watch_delay"} {
		if v := n.Find(k); v != nil && a.Get("watch") == nil {
			a.Left(v.Place, k, "nothing is watched")
		}
	}
}

// addStacks writes env_production and the like as stacks.
func addStacks(r *format.Reading, stacks map[string]*stack) {
	names := []string{}
	for name := range stacks {
		names = append(names, name)
	}
	slices.Sort(names)
	all := &draft.Fields{}
	for _, name := range names {
		s := stacks[name]
		env := &draft.Fields{}
		for _, k := range s.list {
			env.Add(k, draft.Text(s.env[k].Text))
		}
		all.Add(name, (&draft.Fields{}).Add("apps", draft.Word("all")).Add("env", env))
	}
	if len(names) > 0 {
		r.Top(stacks[names[0]].from, "env_"+strings.Join(names, ", env_"), "stacks", all)
	}
}

// fromList makes of an entry of pm2 jlist what the ecosystem file would have said.
func fromList(r *format.Reading, n, env *source.Node) (*source.Node, error) {
	if env.Kind != source.Map {
		return nil, env.Wrong("pm2_env is %s", env.Kind)
	}
	out := &source.Node{Place: n.Place, Kind: source.Map}
	add := func(key string, v *source.Node) {
		if v != nil && v.Kind != source.Null && out.Find(key) == nil {
			out.Pairs = append(out.Pairs, source.Pair{Place: v.Place, Key: key, Value: v})
		}
	}
	for _, k := range []string{"name", "args", "node_args", "exec_interpreter", "exec_mode", "instances", "watch", "ignore_watch", "autorestart", "max_memory_restart", "max_restarts", "min_uptime",
		"kill_timeout", "wait_ready", "listen_timeout", "restart_delay", "exp_backoff_restart_delay", "cron_restart", "uid", "gid", "stop_exit_codes"} {
		add(k, env.Find(k))
	}
	add("name", n.Find("name"))
	add("script", env.Find("pm_exec_path"))
	add("cwd", env.Find("pm_cwd"))
	vars := &source.Node{Place: env.Place, Kind: source.Map}
	if all := env.Find("env"); all != nil {
		vars.Place = all.Place
		for _, p := range all.Pairs {
			if p.Value.Kind == source.Scalar && !pm2Own.MatchString(p.Key) {
				vars.Pairs = append(vars.Pairs, p)
			}
		}
	}
	if vars.Find("PORT") == nil && r.Listening != nil {
		if pid, err := strconv.Atoi(n.Get("pid")); err == nil && pid > 1 {
			if ports := r.Listening(pid); len(ports) == 1 {
				add("port", &source.Node{Place: n.Find("pid").Place, Kind: source.Scalar, Text: fmt.Sprint(ports[0])})
			} else {
				r.Drop(n.Place, "port of "+n.Get("name"), fmt.Sprintf("its environment says none, and the process listens on %d", len(ports)))
			}
		}
	}
	add("env", vars)
	r.Differs(n.Place, "env of "+n.Get("name"), "what the shell had when pm2 started it is among it: take out what the program does not need")
	return out, nil
}

// pm2Own are variables of pm2, of every shell, and those that a program gets anyhow.
var pm2Own = regexp.MustCompile(`^(PM2_.*|pm_.*|PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR|PWD|OLDPWD|SHLVL|_|TERM|NODE_APP_INSTANCE|unique_id|status|name|SSH_.*|OMNITRON_.*|NOTIFY_SOCKET|LISTEN_.*|WATCHDOG_.*)$`)

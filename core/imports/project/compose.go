package project

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// Compose is the services of compose that are built of the project.
var Compose = format.Format{
	Name: "compose", About: "compose.yaml or docker-compose.yml: services that are built of the project; what needs a container is listed",
	Match: func(base, _ string) bool {
		return regexp.MustCompile(`^(docker-)?compose(\..+)?\.ya?ml$`).MatchString(base)
	},
	Read: readCompose, Known: map[string]map[string]format.Rule{"service": serviceRules},
}

const (
	ofContainers = "it is about containers, and the program runs on this machine here"
	ofMachine    = "the program has the network of this machine"
)

// serviceRules is what becomes of the keys of a service.
var serviceRules = map[string]format.Rule{
	"build": format.Done, "image": format.No("it names what is built; here the program runs on this machine"), "command": format.Done, "entrypoint": format.Done,
	"environment": {To: func(f format.Field) { variables(f, "environment") }},
	"env_file": {To: func(f format.Field) {
		var files []string
		items := f.Node.Items
		if f.Node.Kind == source.Scalar {
			items = []*source.Node{f.Node}
		}
		for _, i := range items {
			if i.Kind == source.Map {
				for _, k := range i.Pairs {
					if k.Key != "path" {
						f.App.Left(k.Place, "env_file."+k.Key, "an env file has to be there, and is read as dotenv files are")
					}
				}
				i = i.Find("path")
			}
			if i == nil || i.Kind != source.Scalar {
				f.Left("it is no list of files")
				return
			}
			files = append(files, i.Text)
		}
		f.Set("envFile", format.Argv(files))
	}},
	"ports": {To: func(f format.Field) { published(f) }},
	"depends_on": {To: func(f format.Field) {
		for _, i := range f.Node.Items {
			waitFor(f, i.Place, i.Text, "started")
		}
		for _, p := range f.Node.Pairs {
			until, ok := map[string]string{"service_healthy": "", "service_started": "started", "": "started", "service_completed_successfully": "completed"}[p.Value.Get("condition")]
			if !ok {
				f.App.Left(p.Place, "depends_on."+p.Key, "its condition is not known here")
				continue
			}
			for _, k := range p.Value.Pairs {
				if k.Key != "condition" {
					f.App.Left(k.Place, "depends_on."+p.Key+"."+k.Key, "only what is waited for can be said")
				}
			}
			waitFor(f, p.Place, p.Key, until)
		}
	}},
	"healthcheck": {To: func(f format.Field) { healthcheck(f) }},
	"restart": {To: func(f format.Field) {
		policy, most, _ := strings.Cut(f.Node.Text, ":")
		switch policy {
		case "no", "false":
		case "always", "unless-stopped":
			f.Set("restart.policy", draft.Word("always"))
		case "on-failure":
			f.Set("restart.policy", draft.Word("on-failure"))
			if n, err := strconv.Atoi(most); err == nil {
				f.Set("restart.maxRestarts", draft.Word(strconv.Itoa(n)))
			}
		default:
			f.Left("it is none of no, always, on-failure, unless-stopped")
		}
	}},
	"stop_signal": format.Text("stop.signal"), "stop_grace_period": format.Text("stop.timeout"), "scale": format.Whole("instances"),
	"tty": format.YesNo(func(f format.Field, on bool) { f.Set("tty", draft.Word(strconv.FormatBool(on))) }),
	"stdin_open": format.YesNo(func(f format.Field, on bool) {
		f.Set("stdin", draft.Text(map[bool]string{true: "open", false: "null"}[on]))
	}),
	"mem_limit": {To: func(f format.Field) {
		m := regexp.MustCompile(`^([0-9]+)([kmg])b?$`).FindStringSubmatch(strings.ToLower(f.Node.Text))
		if m == nil {
			f.Left("it is no size that is understood here")
			return
		}
		f.Set("limits.memory", draft.Word(m[1]+map[string]string{"k": "KiB", "m": "MiB", "g": "GiB"}[m[2]]))
	}},
	"cpus": format.Number(func(f format.Field, n float64) { f.Set("limits.cpu", draft.Word(strconv.FormatFloat(n, 'f', -1, 64))) }),
	"deploy": {To: func(f format.Field) {
		for _, p := range f.Node.Pairs {
			at := f.Below(p)
			if p.Key == "replicas" {
				format.Whole("instances").To(at)
			} else {
				at.Left("it is about a swarm")
			}
		}
	}},
	"working_dir": format.No("it is a folder of the container; here the program runs where it is built"), "user": format.No("it is a user of the container; user says who runs it here"),
	"volumes": format.No("the program sees the files of this machine"), "volumes_from": format.No(ofContainers), "tmpfs": format.No(ofContainers), "shm_size": format.No(ofContainers), "read_only": format.No(ofContainers),
	"container_name": format.No(ofContainers), "hostname": format.No(ofMachine), "domainname": format.No(ofMachine), "networks": format.No(ofMachine), "network_mode": format.No(ofMachine), "links": format.No(ofMachine), "external_links": format.No(ofMachine),
	"dns": format.No(ofMachine), "extra_hosts": format.No(ofMachine), "expose": format.No(ofMachine), "mac_address": format.No(ofMachine), "init": format.No("orphans are reaped here"), "ipc": format.No(ofContainers), "pid": format.No(ofContainers),
	"cap_add": format.No(ofContainers), "cap_drop": format.No(ofContainers), "privileged": format.No(ofContainers), "security_opt": format.No(ofContainers), "sysctls": format.No(ofContainers), "devices": format.No(ofContainers), "platform": format.No(ofContainers),
	"pull_policy": format.No(ofContainers), "runtime": format.No(ofContainers), "isolation": format.No(ofContainers), "labels": format.No("there are no labels"), "annotations": format.No("there are no labels"), "logging": format.No(format.OwnLogs),
	"profiles": format.No("stacks say which apps run"), "secrets": format.No("omnitron secrets has those of apps: env: {NAME: {secret: name}}"), "configs": format.No("the program sees the files of this machine"),
	"extends": format.No("what it takes from the other service is not read: write it out"), "develop": format.No("watch says what is reloaded"), "ulimits": format.No("limits.nofile says how many files"),
	"mem_reservation": format.No("only limits.memory is set"), "memswap_limit": format.No("only limits.memory is set"), "oom_score_adj": format.Signed("oomScore"), "group_add": format.No("a program gets the groups of its user"),
}

func readCompose(r *format.Reading) error {
	root, err := source.YAML(r.Shown(r.Path), r.Text)
	if err != nil {
		return err
	}
	services := root.Find("services")
	if services == nil || services.Kind != source.Map {
		return r.At(0).Wrong("it has no services")
	}
	for _, p := range root.Pairs {
		switch {
		case p.Key == "services" || p.Key == "version":
		case p.Key == "name":
			if name := config.Fit(p.Value.Text); name != "" {
				r.Top(p.Place, "name", "project", draft.Text(name))
			}
		case p.Key == "include":
			r.Drop(p.Place, p.Key, "name the other files to omnitron import too")
		case p.Key == "volumes" || p.Key == "networks" || p.Key == "configs" || p.Key == "secrets":
			r.Drop(p.Place, p.Key, ofContainers)
		case strings.HasPrefix(p.Key, "x-"):
			r.Drop(p.Place, p.Key, "an extension says nothing by itself; where it is referred to, it was followed")
		default:
			r.Drop(p.Place, p.Key, "this key is not known here")
		}
	}
	for _, p := range services.Pairs {
		if p.Value.Kind != source.Map {
			return p.Place.Wrong("the service %q is %s", p.Key, p.Value.Kind)
		}
		if err := composed(r, p, services); err != nil {
			return err
		}
	}
	return nil
}

// composed makes an app of a service that can run without a container, or lists it.
func composed(r *format.Reading, p source.Pair, all *source.Node) error {
	build, command := p.Value.Find("build"), []draft.Value{}
	if build == nil {
		why := "it runs an image in a container"
		if i := p.Value.Get("image"); i != "" {
			why = "it needs a container of " + i
		}
		r.Drop(p.Place, p.Key, why)
		return nil
	}
	at := p.Place
	for _, key := range []string{"entrypoint", "command"} {
		n := p.Value.Find(key)
		if n == nil {
			continue
		}
		words, ok := n.Words()
		if n.Kind == source.Scalar {
			words, ok = format.Split(n.Text)
		}
		if !ok {
			return n.Wrong("the words of %s cannot be told apart", key)
		}
		at = n.Place
		for _, w := range words {
			command = append(command, interpolated(w))
		}
	}
	if len(command) == 0 {
		r.Drop(p.Place, p.Key, "what it runs is said in its Dockerfile: write a command, and import again")
		return nil
	}
	a := r.App(p.Place, p.Key)
	a.Set(at, "command", "command", draft.Argv(command))
	context := build.Text
	if build.Kind == source.Map {
		context = build.Get("context")
		for _, k := range build.Pairs {
			if k.Key != "context" {
				a.Left(k.Place, "build."+k.Key, ofContainers)
			}
		}
	}
	r.Cwd(a, build.Place, "build", r.Folder(), context)
	a.Changed(build.Place, "build", "it ran in a container that was built there: what that brings, programs and libraries, has to be on this machine")
	a.Set(p.Place, "", "restart.policy", draft.Word("never"))
	r.Apply(a, p.Value, serviceRules)
	for _, other := range all.Pairs {
		if on := other.Value.Find("depends_on").Find(p.Key); on != nil && on.Get("condition") == "service_completed_successfully" {
			a.Set(on.Place, "", "oneshot", draft.Word("true"))
		}
	}
	return nil
}

var publishedPort = regexp.MustCompile(`^(?:(?:\[[^\]]*\]|[0-9.]+):)?(?:([0-9]+):)?([0-9]+)(?:/tcp)?$`)

// published declares the ports that the program listens on.
func published(f format.Field) {
	n := 0
	for _, i := range f.Node.Items {
		text := i.Text
		if i.Kind == source.Map {
			text = i.Get("target")
			if out := i.Get("published"); out != "" {
				text = out + ":" + text
			}
			if p := i.Get("protocol"); p != "" {
				text += "/" + p
			}
			for _, k := range i.Pairs {
				if k.Key != "target" && k.Key != "published" && k.Key != "protocol" {
					f.App.Left(k.Place, "ports."+k.Key, ofContainers)
				}
			}
		}
		m := publishedPort.FindStringSubmatch(text)
		if m == nil {
			f.App.Left(i.Place, "ports "+text, "it is no TCP port that is understood here")
			continue
		}
		name := "http"
		if n++; n > 1 {
			name += strconv.Itoa(n)
		}
		if m[1] != "" && m[1] != m[2] {
			f.App.Changed(i.Place, "ports "+text, "the program listens on "+m[2]+" itself; nothing leads from "+m[1]+" to it")
		}
		if env := f.App.Get("env", "PORT"); env != nil && n == 1 {
			f.App.Left(i.Place, "ports "+text, "PORT in its environment says where it listens")
			continue
		}
		if was := f.App.Get("ports", name); was != nil && was.Value == draft.Word(m[2]) {
			continue
		}
		f.Set("ports."+name, draft.Word(m[2]))
	}
}

// healthcheck takes the check of a container; the same decides when the app is ready.
func healthcheck(f format.Field) {
	test := f.Node.Find("test")
	if off, _ := f.Node.Find("disable").Bool(); off || test == nil {
		f.Left("there is no test in it")
		return
	}
	words, ok := test.Words()
	switch {
	case !ok || len(words) == 0 || words[0] == "NONE":
		f.Left("there is no test in it")
		return
	case test.Kind == source.Scalar:
		words = []string{"/bin/sh", "-c", test.Text}
	case words[0] == "CMD-SHELL":
		words = append([]string{"/bin/sh", "-c"}, words[1:]...)
	default:
		words = words[1:]
	}
	list := draft.Argv{}
	for _, w := range words {
		list = append(list, interpolated(w))
	}
	f.Set("ready.exec", list)
	f.Set("health.exec", list)
	for _, p := range f.Node.Pairs {
		to, ok := map[string]string{"interval": "interval", "timeout": "timeout", "start_period": "startPeriod"}[p.Key]
		switch {
		case ok:
			f.App.Set(p.Place, "healthcheck."+p.Key, "health."+to, draft.Text(p.Value.Text))
		case p.Key == "retries":
			format.Whole("health.retries").To(f.Below(p))
		case p.Key != "test":
			f.App.Left(p.Place, "healthcheck."+p.Key, "it cannot be said here")
		}
	}
}

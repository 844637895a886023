package imports

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

var compose = format{
	name: "compose", about: "compose.yaml or docker-compose.yml: services that are built of the project; what needs a container is listed",
	match: func(base, _ string) bool {
		return regexp.MustCompile(`^(docker-)?compose(\..+)?\.ya?ml$`).MatchString(base)
	},
	read: readCompose, known: map[string]map[string]rule{"service": serviceRules},
}

const (
	ofContainers = "it is about containers, and the program runs on this machine here"
	ofMachine    = "the program has the network of this machine"
)

// serviceRules is what becomes of the keys of a service.
var serviceRules = map[string]rule{
	"build": done, "image": no("it names what is built; here the program runs on this machine"), "command": done, "entrypoint": done,
	"environment": {to: func(f field) { f.variables("environment") }},
	"env_file": {to: func(f field) {
		var files []string
		items := f.node.Items
		if f.node.Kind == source.Scalar {
			items = []*source.Node{f.node}
		}
		for _, i := range items {
			if i.Kind == source.Map {
				i = i.Find("path")
			}
			if i == nil || i.Kind != source.Scalar {
				f.left("it is no list of files")
				return
			}
			files = append(files, i.Text)
		}
		f.set("envFile", argv(files))
	}},
	"ports": {to: func(f field) { f.published() }},
	"depends_on": {to: func(f field) {
		for _, i := range f.node.Items {
			f.waitFor(i.Place, i.Text, "started")
		}
		for _, p := range f.node.Pairs {
			until, ok := map[string]string{"service_healthy": "", "service_started": "started", "": "started", "service_completed_successfully": "completed"}[p.Value.Get("condition")]
			if !ok {
				f.app.Left(p.Place, "depends_on."+p.Key, "its condition is not known here")
				continue
			}
			f.waitFor(p.Place, p.Key, until)
		}
	}},
	"healthcheck": {to: func(f field) { f.healthcheck() }},
	"restart": {to: func(f field) {
		policy, most, _ := strings.Cut(f.node.Text, ":")
		switch policy {
		case "no", "false":
		case "always", "unless-stopped":
			f.set("restart.policy", draft.Word("always"))
		case "on-failure":
			f.set("restart.policy", draft.Word("on-failure"))
			if n, err := strconv.Atoi(most); err == nil {
				f.set("restart.maxRestarts", draft.Word(strconv.Itoa(n)))
			}
		default:
			f.left("it is none of no, always, on-failure, unless-stopped")
		}
	}},
	"stop_signal": text("stop.signal"), "stop_grace_period": text("stop.timeout"), "scale": whole("instances"),
	"tty":        yesno(func(f field, on bool) { f.set("tty", draft.Word(strconv.FormatBool(on))) }),
	"stdin_open": yesno(func(f field, on bool) { f.set("stdin", draft.Text(map[bool]string{true: "open", false: "null"}[on])) }),
	"mem_limit": {to: func(f field) {
		m := regexp.MustCompile(`^([0-9]+)([kmg])b?$`).FindStringSubmatch(strings.ToLower(f.node.Text))
		if m == nil {
			f.left("it is no size that is understood here")
			return
		}
		f.set("limits.memory", draft.Word(m[1]+map[string]string{"k": "KiB", "m": "MiB", "g": "GiB"}[m[2]]))
	}},
	"cpus": number(func(f field, n float64) { f.set("limits.cpu", draft.Word(strconv.FormatFloat(n, 'f', -1, 64))) }),
	"deploy": {to: func(f field) {
		for _, p := range f.node.Pairs {
			at := field{f.reading, f.app, "deploy." + p.Key, p.Place, p.Value, f.node}
			if p.Key == "replicas" {
				whole("instances").to(at)
			} else {
				at.left("it is about a swarm")
			}
		}
	}},
	"working_dir": no("it is a folder of the container; here the program runs where it is built"), "user": no("it is a user of the container; user says who runs it here"),
	"volumes": no("the program sees the files of this machine"), "volumes_from": no(ofContainers), "tmpfs": no(ofContainers), "shm_size": no(ofContainers), "read_only": no(ofContainers),
	"container_name": no(ofContainers), "hostname": no(ofMachine), "domainname": no(ofMachine), "networks": no(ofMachine), "network_mode": no(ofMachine), "links": no(ofMachine), "external_links": no(ofMachine),
	"dns": no(ofMachine), "extra_hosts": no(ofMachine), "expose": no(ofMachine), "mac_address": no(ofMachine), "init": no("orphans are reaped here"), "ipc": no(ofContainers), "pid": no(ofContainers),
	"cap_add": no(ofContainers), "cap_drop": no(ofContainers), "privileged": no(ofContainers), "security_opt": no(ofContainers), "sysctls": no(ofContainers), "devices": no(ofContainers), "platform": no(ofContainers),
	"pull_policy": no(ofContainers), "runtime": no(ofContainers), "isolation": no(ofContainers), "labels": no("there are no labels"), "annotations": no("there are no labels"), "logging": no(ownLogs),
	"profiles": no("stacks say which apps run"), "secrets": no("omnitron secrets has those of apps: env: {NAME: {secret: name}}"), "configs": no("the program sees the files of this machine"),
	"extends": no("what it takes from the other service is not read: write it out"), "develop": no("watch says what is reloaded"), "ulimits": no("limits.nofile says how many files"),
	"mem_reservation": no("only limits.memory is set"), "memswap_limit": no("only limits.memory is set"), "oom_score_adj": signed("oomScore"), "group_add": no("a program gets the groups of its user"),
}

func readCompose(r *reading) error {
	root, err := source.YAML(r.shown(r.path), r.text)
	if err != nil {
		return err
	}
	services := root.Find("services")
	if services == nil || services.Kind != source.Map {
		return r.at(0).Wrong("it has no services")
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
		if err := r.service1(p, services); err != nil {
			return err
		}
	}
	return nil
}

// service1 makes an app of a service that can run without a container, or lists it.
func (r *reading) service1(p source.Pair, all *source.Node) error {
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
			words, ok = split(n.Text)
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
	r.place(a, build.Place, "build", r.dir(), context)
	a.Changed(build.Place, "build", "it ran in a container that was built there: what that brings, programs and libraries, has to be on this machine")
	a.Set(p.Place, "", "restart.policy", draft.Word("never"))
	r.apply(a, p.Value, serviceRules)
	for _, other := range all.Pairs {
		if on := other.Value.Find("depends_on").Find(p.Key); on != nil && on.Get("condition") == "service_completed_successfully" {
			a.Set(on.Place, "", "oneshot", draft.Word("true"))
		}
	}
	return nil
}

var publishedPort = regexp.MustCompile(`^(?:(?:\[[^\]]*\]|[0-9.]+):)?(?:([0-9]+):)?([0-9]+)(?:/tcp)?$`)

// published declares the ports that the program listens on.
func (f field) published() {
	n := 0
	for _, i := range f.node.Items {
		text := i.Text
		if i.Kind == source.Map {
			text = i.Get("target")
			if out := i.Get("published"); out != "" {
				text = out + ":" + text
			}
		}
		m := publishedPort.FindStringSubmatch(text)
		if m == nil {
			f.app.Left(i.Place, "ports "+text, "it is no TCP port that is understood here")
			continue
		}
		name := "http"
		if n++; n > 1 {
			name += strconv.Itoa(n)
		}
		if m[1] != "" && m[1] != m[2] {
			f.app.Changed(i.Place, "ports "+text, "the program listens on "+m[2]+" itself; nothing leads from "+m[1]+" to it")
		}
		if env := f.app.Get("env", "PORT"); env != nil && n == 1 {
			f.app.Left(i.Place, "ports "+text, "PORT in its environment says where it listens")
			continue
		}
		if was := f.app.Get("ports", name); was != nil && was.Value == draft.Word(m[2]) {
			continue
		}
		f.set("ports."+name, draft.Word(m[2]))
	}
}

// healthcheck takes the check of a container; the same decides when the app is ready.
func (f field) healthcheck() {
	test := f.node.Find("test")
	if off, _ := f.node.Find("disable").Bool(); off || test == nil {
		f.left("there is no test in it")
		return
	}
	words, ok := test.Words()
	switch {
	case !ok || len(words) == 0 || words[0] == "NONE":
		f.left("there is no test in it")
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
	f.set("ready.exec", list)
	f.set("health.exec", list)
	for _, p := range f.node.Pairs {
		to, ok := map[string]string{"interval": "interval", "timeout": "timeout", "start_period": "startPeriod"}[p.Key]
		switch {
		case ok:
			f.app.Set(p.Place, "healthcheck."+p.Key, "health."+to, draft.Text(p.Value.Text))
		case p.Key == "retries":
			whole("health.retries").to(field{f.reading, f.app, "healthcheck.retries", p.Place, p.Value, f.node})
		case p.Key != "test":
			f.app.Left(p.Place, "healthcheck."+p.Key, "it cannot be said here")
		}
	}
}

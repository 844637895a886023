// Package naming has the names by which apps, slots and generations are known, and takes them apart: pure functions of text.
package naming

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Project is the project of an app, by the app's key: project/stack/app.
func Project(key string) string { p, _, _ := strings.Cut(key, "/"); return p }

// Stack is the name of the stack of an app, by the app's key.
func Stack(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	s, _, _ := strings.Cut(rest, "/")
	return s
}

// App is the name of an app, by its key.
func App(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// InStack is the stack that an app belongs to, project/stack.
func InStack(key string) string { return Project(key) + "/" + Stack(key) }

// Sibling is the key of another app of the same stack.
func Sibling(key, name string) string { return InStack(key) + "/" + name }

// Instance is the name of an instance among those of all apps: its usage is sampled and its output is found by it.
func Instance(key, process string, n int) string { return fmt.Sprintf("%s:%s#%d", key, process, n) }

// Generation names a generation in the keeper's records. What the daemon must know to adopt it is in the name:
// it is the one thing that outlives both daemons for certain. That goes for its ports, too: many a server overwrites the
// environment that it was given them in.
func Generation(key, process string, n int, number uint64, rev int64, ports map[string]int) string {
	id := fmt.Sprintf("%s:%s#%d@%d.%d", key, process, n, number, rev)
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		id += fmt.Sprintf("+%s=%d", name, ports[name])
	}
	return id
}

// Parse is the inverse of Generation, but for the ports.
func Parse(id string) (key, process string, n int, number uint64, rev int64, ok bool) {
	id, _, _ = strings.Cut(id, "+")
	key, rest, ok1 := strings.Cut(id, ":")
	process, rest, ok2 := strings.Cut(rest, "#")
	num, rest, ok3 := strings.Cut(rest, "@")
	gen, r, ok4 := strings.Cut(rest, ".")
	n, e1 := strconv.Atoi(num)
	number, e2 := strconv.ParseUint(gen, 10, 64)
	rev, e3 := strconv.ParseInt(r, 10, 64)
	return key, process, n, number, rev, ok1 && ok2 && ok3 && ok4 && e1 == nil && e2 == nil && e3 == nil
}

// Ports gives the ports that a generation's name tells.
func Ports(id string) map[string]int {
	var got map[string]int
	for _, part := range strings.Split(id, "+")[1:] {
		name, text, _ := strings.Cut(part, "=")
		if number, err := strconv.Atoi(text); err == nil {
			if got == nil {
				got = map[string]int{}
			}
			got[name] = number
		}
	}
	return got
}

// Group is the generation's cgroup: short, and made of harmless characters.
func Group(key, process string, n int, number uint64) string {
	return fmt.Sprintf("%s.%s.%d.%d", strings.ReplaceAll(key, "/", "."), process, n, number)
}

// Whose tells the app and the slot of a generation as events name them, from the id that the keeper knows it by; nothing
// when it is none of ours.
func Whose(id string) (key, slot string) {
	key, process, n, _, _, ok := Parse(id)
	if !ok {
		return "", ""
	}
	return key, Instance(App(key), process, n)
}

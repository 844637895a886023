package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// block is a fenced block of a page. A comment before it says what is special about it:
//
//	<!-- file: PATH -->      it is a file
//	<!-- add to: PATH -->    it is lines of a file
//	<!-- not run: WHY -->    it cannot be run by a test
//	<!-- on M: WHERE -->     it is run on another machine: ops or laptop
//	<!-- file on M: PATH --> it is a file in the home of its user there
//
// Everything else is run, as it stands.
type block struct{ lang, what, arg, text string }

var fence = regexp.MustCompile("(?ms)(?:^<!-- (file|add to|not run|on [a-z]+|file on [a-z]+): (.*?) -->\n)?^```([a-z]*)\n(.*?)^```\n")

func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repo(), page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		b := block{what: m[1], arg: m[2], lang: m[3], text: m[4]}
		if b.what == "" {
			b.what = "run"
		}
		if b.what == "run" && b.lang != "sh" {
			t.Errorf("%s: a block of %q is neither run nor marked:\n%s", page, b.lang, b.text)
		}
		all = append(all, b)
	}
	if n := strings.Count(string(text), "```"); n != 2*len(all) {
		t.Errorf("%s: %d fences, %d blocks are understood", page, n, len(all))
	}
	return all
}

// TestReadme does what the first page says, in its order, in a fresh home and in a folder like that of a clone.
func TestReadme(t *testing.T) {
	base, clone := place(t, "clone")
	if err := os.MkdirAll(filepath.Join(clone, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(clone, "bin", "omnitron")
	if err := os.Symlink(rig.Binary(t), bin); err != nil {
		t.Fatal(err)
	}
	// make works in the real clone, on the binary that is built already.
	shim := filepath.Join(base, "shim")
	write(t, filepath.Join(shim, "make"), fmt.Sprintf("#!/bin/sh\nPATH=${PATH#*:} exec make -s -C '%s' -o build BIN='%s' \"$@\"\n", repo(), bin))
	env := []string{"HOME=" + base, "PATH=" + shim + ":" + filepath.Join(base, ".local", "bin") + ":" + os.Getenv("PATH"), "TERM=dumb", "LANG=C.UTF-8", "USER=" + os.Getenv("USER")}
	t.Cleanup(func() { strikeHomes(t, base, bin, env) })
	var out strings.Builder
	ran := 0
	for _, b := range blocks(t, "README.md") {
		switch b.what {
		case "file":
			write(t, filepath.Join(clone, b.arg), b.text)
		case "run":
			out.WriteString(bash(t, clone, env, b.text))
			ran++
		}
	}
	if ran < 5 {
		t.Errorf("%d blocks were run", ran)
	}
	for _, want := range []string{
		"FATAL SMTP_URL is not set", "everything is stopped", // the sample project
		"2 apps ready", "\nweb\trunning\t", "GET / HTTP/1.1", "state       running", // the reader's own
		"it is so: ready", `"status":"done"`, "mcpServers", "no daemon runs in", "130",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q", want)
		}
	}
	if left := alive(base, clone); len(left) > 0 {
		t.Errorf("left behind: %+v", left)
	}
	if t.Failed() {
		t.Logf("\n%s", &out)
	}
}

// TestContributing adds a method to a copy of the tree the way the page describes it.
func TestContributing(t *testing.T) {
	base, tree := place(t, "tree")
	copyTree(t, repo(), tree)
	before := contents(t, tree)
	env := append(os.Environ(), "HOME="+base, "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOCACHE="+goenv(t, "GOCACHE"), "GOMODCACHE="+goenv(t, "GOMODCACHE"))
	t.Cleanup(func() { strikeHomes(t, base, filepath.Join(tree, "bin", "omnitron"), env) })
	var out string
	for _, b := range blocks(t, "docs/contributing.md") {
		switch b.what {
		case "file":
			write(t, filepath.Join(tree, b.arg), b.text)
		case "add to":
			addLines(t, filepath.Join(tree, b.arg), b.text)
		case "run":
			out += bash(t, tree, append(env, "TMPDIR="+base), b.text)
		}
	}
	if !strings.Contains(out, "moons  2") || !strings.Contains(out, "omnitron moons count mars") {
		t.Errorf("the method is not there:\n%s", out)
	}
	byHand := []string{"core/services/moons/moons.go", "core/services/moons/moons_test.go", "tools/catalog/catalog.go"}
	made := regexp.MustCompile(`^(tools/testdata/.*|docs/(tools|access|cli)\.md|bin/omnitron|cmd/boot/keeper\.bin)$`)
	after := contents(t, tree)
	for path, text := range after {
		if before[path] != text && !slices.Contains(byHand, path) && !made.MatchString(path) {
			t.Errorf("%s changed too", path)
		}
	}
	for path, want := range map[string]string{
		"tools/testdata/tools/moons_count.json": "Count the moons of a planet.", "tools/testdata/access.golden": "moons.count", "tools/testdata/names.golden": "moons_count",
		"docs/tools.md": "### moons.count", "docs/access.md": "| moons.count |", "docs/cli.md": "omnitron moons count",
	} {
		if !strings.Contains(after[path], want) {
			t.Errorf("%s says nothing of %s", path, want)
		}
	}
}

var (
	link  = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	named = regexp.MustCompile("`((?:core|tools|mcp|transports|cmd|docs|evals)(?:/[a-z0-9_./-]+)?)`")
)

// TestPagesAreTrue: what the pages link to and the rooms that they name are there, and the stages are those of the code.
func TestPagesAreTrue(t *testing.T) {
	for _, page := range []string{"README.md", "docs/architecture.md", "docs/contributing.md", "docs/remote.md", "docs/staying.md"} {
		text, err := os.ReadFile(filepath.Join(repo(), page))
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			paths = append(paths, filepath.Join(filepath.Dir(page), m[1]))
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			paths = append(paths, m[1])
		}
		for _, p := range paths {
			if _, err := os.Stat(filepath.Join(repo(), p)); err != nil {
				t.Errorf("%s names %s, which is not there", page, p)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(repo(), "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(filepath.Join(repo(), "tools", "pipeline.go"))
	if err != nil {
		t.Fatal(err)
	}
	stages := []string{"find"}
	for _, m := range regexp.MustCompile(`\n\t\(\*Registry\)\.(\w+),`).FindAllStringSubmatch(string(code), -1) {
		stages = append(stages, m[1])
	}
	stages = append(stages, "settle")
	picture := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "│", " ")), " ")
	if want := strings.Join(stages, " "); !strings.Contains(picture, want) {
		t.Errorf("the picture does not show the stages %s", want)
	}
	if n := strings.Count(string(text), "\n"); n > 70 {
		t.Errorf("%d lines are more than a page", n)
	}
}

// place gives a short folder for a home, and a folder in it.
func place(t *testing.T, name string) (base, dir string) {
	t.Helper()
	base, err := os.MkdirTemp("", "om")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	dir = filepath.Join(base, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return base, dir
}

// strikeHomes ends what a page that failed half-way has left running.
func strikeHomes(t *testing.T, base, bin string, env []string) {
	t.Helper()
	for path := range contents(t, base) {
		if filepath.Base(path) != "daemon.pid" {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		cmd := exec.CommandContext(ctx, bin, "--home", filepath.Join(base, filepath.Dir(path)), "daemon", "shutdown")
		cmd.Dir, cmd.Env = base, env
		if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%v: %s", err, out)
		}
		cancel()
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// bash runs a block as a shell would that stops at the first failure, and gives everything that it printed.
func bash(t *testing.T, dir string, env []string, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, env, 5*time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v:\n%s\n%s", err, text, &out)
	}
	return out.String()
}

// addLines puts an import behind the last import of its kind, and everything else behind the last line that begins alike.
func addLines(t *testing.T, path, text string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(old), "\n")
	for line := range strings.Lines(text) {
		like := line[:strings.LastIndexAny(line, "/(")+1]
		at := -1
		for i, l := range lines {
			if strings.HasPrefix(l, like) {
				at = i
			}
		}
		if at < 0 {
			t.Fatalf("%s has no line like %s", path, line)
		}
		lines = slices.Insert(lines, at+1, line)
	}
	write(t, path, strings.Join(lines, ""))
}

// copyTree copies what a clone has, as it is in the working tree.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	for path, text := range contents(t, from) {
		write(t, filepath.Join(to, path), text)
	}
}

// contents gives every file below a folder that a clone would have, or that was made since.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == ".git" || name == "node_modules" || name == "internal_warm" || name == "bin" && dir == repo()) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || name == "keeper.bin" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		all[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func goenv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

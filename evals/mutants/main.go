// Command mutants breaks the program one line at a time and runs the tests that are meant to notice. A mutant that no test
// notices is a promise that nothing holds: the exit status is then 1.
//
// Each *.patch beside this file names the file that it breaks, why that matters, and the tests that must turn red. The
// tree is copied; the original is not touched. They run one after the other: a test that is red has to be red because of
// the mutant, and not because another one took its time.
package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/evals/descent"
)

//go:embed *.patch
var patches embed.FS

func main() {
	only := flag.String("only", "", "a `regexp`: run the mutants whose names match")
	verbose := flag.Bool("v", false, "show what the tests say")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	survived, err := run(ctx, *only, *verbose)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	case survived > 0:
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, verbose bool) (survived int, err error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return 0, err
	}
	all, err := mutants(patches)
	if err != nil {
		return 0, err
	}
	root, err := moduleRoot()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "om")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // some tests run programs as somebody else
		return 0, err
	}
	began := time.Now()
	l := lab{tree: filepath.Join(dir, "tree"), tmp: filepath.Join(dir, "t"), sound: map[test]sound{}, verbose: verbose}
	if err := copyTree(root, l.tree); err != nil {
		return 0, err
	}
	if l.family, err = descent.Grow(); err != nil {
		return 0, err
	}
	defer l.family.End()
	defer l.family.Sweep()
	all = slices.DeleteFunc(all, func(m mutant) bool { return !match.MatchString(m.name) })
	killed, unsound := 0, 0
	for i, m := range all {
		since := time.Now()
		verdict, detail := l.try(ctx, m)
		if ctx.Err() != nil {
			return survived, ctx.Err()
		}
		switch verdict {
		case "killed":
			killed++
		case "SURVIVED":
			survived++
		default:
			unsound++
		}
		spent := time.Since(began)
		fmt.Printf("%-9s %-26s %5.1f s  %s %s (%d of %d, %s of about %s)\n", verdict, m.name, time.Since(since).Seconds(), m.test.pkg, m.test.run,
			i+1, len(all), spent.Round(time.Second), (spent / time.Duration(i+1) * time.Duration(len(all))).Round(time.Second))
		if detail != "" {
			fmt.Printf("          %s\n", strings.ReplaceAll(strings.TrimSpace(detail), "\n", "\n          "))
		}
	}
	fmt.Printf("%d killed, %d survived, %d not tried; %s\n", killed, survived, unsound, time.Since(began).Round(time.Second))
	if unsound > 0 {
		return survived, fmt.Errorf("%d mutants could not be tried", unsound)
	}
	return survived, nil
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// copyTree copies what git knows or would know of the working tree.
func copyTree(from, to string) error {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = from
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("cannot list the files of %s: %w", from, err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		err := copyFile(filepath.Join(from, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // git has it, the tree does not
			return err
		}
	}
	// git describe says the version of what is built here
	return exec.Command("git", "-C", to, "init", "-q").Run()
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// lab is where mutants are tried.
type lab struct {
	tree, tmp string
	family    *descent.Tree
	sound     map[test]sound
	verbose   bool
}

// sound is what tests do on the unbroken tree.
type sound struct {
	took time.Duration
	err  error
}

// longest is how long tests may take on the unbroken tree.
const longest = 3 * time.Minute

// patience is how long tests may take on a broken tree. Those that still run then wait for what does not come any more,
// which is as red as a test can be: what they wait for at the most is far longer.
func (s sound) patience() time.Duration { return min(longest, 3*s.took+10*time.Second) }

// try gives killed, SURVIVED, or what kept the mutant from being tried.
func (l *lab) try(ctx context.Context, m mutant) (verdict, detail string) {
	s, known := l.sound[m.test]
	if !known {
		red, out, err := l.test(ctx, m.test, longest)
		if red {
			err = errors.New(last(out))
		}
		s = sound{took(out), err}
		l.sound[m.test] = s
	}
	if s.err != nil {
		return "unsound", "its tests fail without it: " + s.err.Error()
	}
	path := filepath.Join(l.tree, m.file)
	before, err := os.ReadFile(path)
	if err != nil {
		return "stale", err.Error()
	}
	after, err := m.apply(string(before))
	if err != nil {
		return "stale", err.Error()
	}
	if err := os.WriteFile(path, []byte(after), 0o644); err != nil {
		return "failed", err.Error()
	}
	red, out, err := l.test(ctx, m.test, s.patience())
	if werr := os.WriteFile(path, before, 0o644); werr != nil {
		return "failed", werr.Error()
	}
	switch {
	case err != nil:
		return "broken", err.Error()
	case !red:
		return "SURVIVED", m.why
	case l.verbose:
		return "killed", last(out)
	}
	return "killed", ""
}

// test runs a test of the tree; red means that it ran and failed, or that it took longer than within.
func (l *lab) test(ctx context.Context, t test, within time.Duration) (red bool, out string, err error) {
	if err := os.MkdirAll(l.tmp, 0o755); err != nil {
		return false, "", err
	}
	defer func() { // a red test may leave something behind
		l.family.Sweep()
		err = errors.Join(err, descent.Unmount(l.tmp), os.RemoveAll(l.tmp))
	}()
	cmd := exec.CommandContext(ctx, "go", "test", "-trimpath", "-count=1", "-failfast", "-timeout="+within.String(), "-run", t.pattern(), t.pkg)
	cmd.Dir = l.tree
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "TMPDIR="+l.tmp, "OMNITRON_BINARY=", "OMNITRON_E2E=", "GOFLAGS=-buildvcs=false")
	cmd.WaitDelay = 5 * time.Second
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := l.family.Start(cmd); err != nil {
		return false, "", err
	}
	werr := l.family.Wait(cmd)
	out = text.String()
	switch {
	case ctx.Err() != nil:
		return false, out, ctx.Err()
	case strings.Contains(out, "no tests to run"):
		return false, out, fmt.Errorf("%s has no test %s", t.pkg, t.run)
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return false, out, fmt.Errorf("it does not compile: %s", last(out))
	}
	return werr != nil, out, nil
}

var okay = regexp.MustCompile(`(?m)^ok\s+\S+\s+([0-9.]+s)$`)

// took is how long green tests say that they took, without what it took to build them.
func took(out string) time.Duration {
	if m := okay.FindStringSubmatch(out); m != nil {
		d, _ := time.ParseDuration(m[1])
		return d
	}
	return 0
}

// last is the end of what a test said.
func last(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

package proc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Binary puts the embedded keeper into the home, under a name that carries its hash, and gives the path. A file that is
// there already is used only when its bytes are the same; a damaged one is replaced. Faults: internal, reason
// keeper_not_installed.
func Binary(home string, embedded []byte) (string, error) {
	sum := sha256.Sum256(embedded)
	dir := filepath.Join(home, "bin")
	path := filepath.Join(dir, "omnitron-keeper-"+hex.EncodeToString(sum[:6]))
	if len(embedded) == 0 {
		return "", fault.New(fault.Internal, "this omnitron was built without its keeper: build it with make").WithReason("keeper_not_installed")
	}
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, embedded) {
		if st, err := os.Stat(path); err == nil && st.Mode().Perm() == 0o700 {
			return path, nil
		}
	}
	if err := install(dir, path, embedded); err != nil {
		return "", fault.Wrap(err, fault.Internal, "cannot put the keeper into %s: %v", dir, err).WithReason("keeper_not_installed")
	}
	return path, nil
}

func install(dir, path string, b []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".keeper-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing of this name
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o700)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// RunArgs are the arguments of a keeper for this home: what `daemon run` executes in its own place.
func RunArgs(home, daemon string) []string {
	return []string{"run", "--home", home, "--daemon", daemon}
}

// Socket is where the keeper of a home listens.
func Socket(home string) string { return filepath.Join(home, "keeper.sock") }

// Look asks the keeper behind a socket, on behalf of a tool, who it is. Faults: unavailable, reason keeper_unreachable, also
// when it does not answer before ctx ends.
func Look(ctx context.Context, sockPath string) (Info, error) {
	var h protocol.HelloBody
	l, err := dial(ctx, sockPath)
	if err == nil {
		defer l.close()
		stop := context.AfterFunc(ctx, l.close)
		defer stop()
		h, err = hello(l, protocol.HelloBody{Role: "tool", PID: os.Getpid(), Capabilities: protocol.Capabilities})
	}
	if err != nil {
		return Info{}, unreachable(err, sockPath)
	}
	return infoOf(h), nil
}

func unreachable(err error, sockPath string) error {
	return fault.Wrap(err, fault.Unavailable, "cannot reach the keeper at %s: %v", sockPath, err).WithReason("keeper_unreachable")
}

// HoldDaemon tells the keeper behind a socket, on behalf of a tool, whether the daemon is to stay down when it dies, and
// with start that it is wanted now. Faults: unavailable, reason keeper_unreachable.
func HoldDaemon(ctx context.Context, sockPath string, hold, start bool) error {
	l, err := dial(ctx, sockPath)
	if err == nil {
		defer l.close()
		stop := context.AfterFunc(ctx, l.close)
		defer stop()
		err = request(l, protocol.Hold, protocol.HoldBody{Hold: hold, Start: start})
	}
	if err != nil {
		return unreachable(err, sockPath)
	}
	return nil
}

// request introduces a tool and sends one request.
func request(l *link, typ string, body any) error {
	hello := protocol.HelloBody{Role: "tool", PID: os.Getpid(), Capabilities: protocol.Capabilities}
	if err := l.send(protocol.Frame{Type: protocol.Hello}, hello, nil); err != nil {
		return err
	}
	if err := l.send(protocol.Frame{Type: typ, Seq: 1}, body, nil); err != nil {
		return err
	}
	for {
		f, fds, err := l.next()
		protocol.CloseAll(fds)
		switch {
		case err != nil:
			return err
		case f.Err != nil:
			return fmt.Errorf("%s: %w", typ, f.Err)
		case f.Re == 1:
			return nil
		}
	}
}

package ledger

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/store"
)

// HeadFile and AnchorFile lie in the home. The head is one line of a fixed length, written in place: after the first time
// that takes no room on the disk, and so no journal of its file system. The anchors are a line an hour.
const (
	HeadFile   = "audit.head"
	AnchorFile = "audit.anchor"

	headSize = 512 // one sector, which a medium writes wholly or not at all
	magic    = "omnitron-audit 1"
)

// errForeign says that a line was sealed with another key, errForged that it was with ours and does not fit.
var (
	errForeign = errors.New("it is sealed with another key")
	errForged  = errors.New("it is damaged, or somebody without the key wrote it")
)

// line seals a place in the chain for a file beside the record.
func (s *seal) line(p position, at time.Time) string {
	body := fmt.Sprintf("%s %s %d %s %s", magic, s.id, p.seq, position{mac: p.mac}.hex(), at.UTC().Format(time.RFC3339))
	return body + " " + hex.EncodeToString(s.mac([]byte(body)))
}

func (p position) hex() string {
	if len(p.mac) == 0 {
		return "-" // of an empty record
	}
	return hex.EncodeToString(p.mac)
}

// String is the form in which a head is kept elsewhere.
func (p position) String() string { return strconv.FormatInt(p.seq, 10) + ":" + p.hex() }

// parse reads a line. Errors: errForeign with the name of the key, errForged.
func (s *seal) parse(line string) (p position, at time.Time, key string, err error) {
	body, mac, _ := cutLast(strings.TrimSpace(line))
	f := strings.Fields(strings.TrimPrefix(body, magic))
	if !strings.HasPrefix(body, magic+" ") || len(f) != 4 {
		return p, at, "", errForged
	}
	if key = f[0]; key != s.id {
		return p, at, key, errForeign
	}
	sum, err := hex.DecodeString(mac)
	if err != nil || !hmac.Equal(sum, s.mac([]byte(body))) {
		return p, at, key, errForged
	}
	var e1, e2, e3 error
	p.seq, e1 = strconv.ParseInt(f[1], 10, 64)
	if f[2] != "-" {
		p.mac, e2 = hex.DecodeString(f[2])
	}
	at, e3 = time.Parse(time.RFC3339, f[3])
	if errors.Join(e1, e2, e3) != nil {
		return position{}, at, key, errForged
	}
	return p, at, key, nil
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// head is the file with the end of the chain. Those who wait while it is synced share the next time.
type head struct {
	path string
	seal *seal
	sync func(*os.File) error

	mu      sync.Mutex
	want    position // the furthest that is in the store
	synced  position // the furthest that is in the file
	writing sync.Mutex
	file    *os.File
}

// fdatasync is enough: the file does not grow.
func fdatasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// load reads the file. fs.ErrNotExist: there is none; else the errors of parse.
func (h *head) load() (p position, key string, err error) {
	text, err := os.ReadFile(h.path)
	if err != nil {
		return p, "", err
	}
	p, _, key, err = h.seal.parse(string(text))
	return p, key, err
}

// make makes the file.
func (h *head) make(p position) error { return store.Put(store.OS, h.path, h.content(p)) }

// begin takes over the file, or makes it, and has it say p.
func (h *head) begin(p position) (err error) {
	h.file, err = os.OpenFile(h.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = h.make(p); err == nil {
			h.file, err = os.OpenFile(h.path, os.O_RDWR, 0)
		}
	}
	if err == nil {
		err = h.file.Truncate(headSize)
	}
	if err != nil {
		return err
	}
	return h.advance(p)
}

func (h *head) content(p position) []byte {
	text := h.seal.line(p, time.Now())
	return fmt.Appendf(make([]byte, 0, headSize), "%-*s\n", headSize-1, text)
}

// advance returns when the file says p, or a later place.
func (h *head) advance(p position) error {
	h.mu.Lock()
	if p.seq > h.want.seq {
		h.want = p
	}
	h.mu.Unlock()
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	want, done := h.want, h.synced.seq >= p.seq
	h.mu.Unlock()
	if done {
		return nil
	}
	if _, err := h.file.WriteAt(h.content(want), 0); err != nil {
		return fmt.Errorf("cannot write %s: %w", h.path, err)
	}
	if err := h.sync(h.file); err != nil {
		return fmt.Errorf("cannot write %s: %w", h.path, err)
	}
	h.mu.Lock()
	h.synced = want
	h.mu.Unlock()
	return nil
}

// now reads the file while nobody writes it.
func (h *head) now() (position, error) {
	h.writing.Lock()
	defer h.writing.Unlock()
	p, _, err := h.load()
	return p, err
}

// ends gives the furthest place that was written to the store, and the furthest that the file says.
func (h *head) ends() (want, synced position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.want, h.synced
}

// anchor is one line of the other file.
type anchor struct {
	position
	at time.Time
}

// anchors are the places that the chain had every hour.
type anchors struct {
	path string
	seal *seal
}

// load reads the file, oldest first. A last line that a death cut short is none. others says that some are of another key.
func (a anchors) load() (found []anchor, others bool, err error) {
	text, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if line[len(line)-1] != '\n' {
			break
		}
		p, at, _, err := a.seal.parse(string(line))
		switch {
		case errors.Is(err, errForeign):
			others = true
			continue
		case err != nil:
			return found, others, fmt.Errorf("line %d: %w", n, err)
		}
		found = append(found, anchor{p, at})
	}
	return found, others, nil
}

// add appends a line and returns when it is durable, or leaves the file as it was.
func (a anchors) add(p position, at time.Time) error {
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("cannot anchor the record: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was synced, or is not good
	text, err := os.ReadFile(a.path)
	if err != nil {
		return fmt.Errorf("cannot anchor the record: %w", err)
	}
	whole := int64(bytes.LastIndexByte(text, '\n') + 1)
	err = f.Truncate(whole)
	if err == nil {
		_, err = f.WriteAt([]byte(a.seal.line(p, at)+"\n"), whole)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Truncate(whole) // if it cannot, half a line is none
		return fmt.Errorf("cannot anchor the record: %w", err)
	}
	return store.OS.SyncDir(filepath.Dir(a.path))
}

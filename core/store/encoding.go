package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// stateVersion is the version of state.json that this code writes. A later version may change everything but two things,
// else this one would take its files for damaged: the field version, and the checksum in the last line.
const stateVersion = 1

// The file is JSON that a person can read, an app a line. Its last field is a checksum of all bytes before, because a
// flipped bit often leaves valid JSON that says something else. Where the checksum is empty the file is taken as it is, so
// that whoever edits it by hand only has to empty that field.
const (
	sumField = "\"sum\": \"crc32c:"
	sumEnd   = "\"\n}\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type document struct {
	Version  int        `json:"version"`
	SavedAt  time.Time  `json:"savedAt"`
	HomeDown bool       `json:"homeDown"`
	Cluster  Cluster    `json:"cluster"`
	Apps     []AppState `json:"apps"`
	Sum      string     `json:"sum"`
}

// encode gives the file of s; entries that did not change since they were last encoded are only copied.
func encode(s *State, now time.Time) ([]byte, error) {
	head, err := json.Marshal(struct {
		Version  int       `json:"version"`
		SavedAt  time.Time `json:"savedAt"`
		HomeDown bool      `json:"homeDown"`
		Cluster  Cluster   `json:"cluster"`
	}{stateVersion, now.UTC(), s.HomeDown, s.Cluster})
	if err != nil {
		return nil, fmt.Errorf("cannot encode the state: %w", err)
	}
	out := bytes.NewBuffer(make([]byte, 0, 256+len(s.apps)*768))
	out.Write(head[:len(head)-1])
	out.WriteString(",\n\"apps\": [")
	sep := "\n"
	for _, key := range s.Keys() {
		a := s.apps[key]
		if a.text == nil {
			if a.text, err = json.Marshal(&a.AppState); err != nil {
				return nil, fmt.Errorf("cannot encode the state of %s: %w", key, err)
			}
		}
		out.WriteString(sep)
		out.Write(a.text)
		sep = ",\n"
	}
	out.WriteString("\n],\n")
	fmt.Fprintf(out, "%s%08x%s", sumField, crc32.Checksum(out.Bytes(), castagnoli), sumEnd)
	return out.Bytes(), nil
}

// errLater says that a sound file is of a later version.
var errLater = errors.New("a later version has written it")

// decode reads a file. The checksum is looked at first: only a file that is whole may say that it is of a later version.
func decode(data []byte) (State, error) {
	whole := false
	if i := bytes.LastIndex(data, []byte(sumField)); i >= 0 {
		want := fmt.Sprintf("%s%08x%s", sumField, crc32.Checksum(data[:i], castagnoli), sumEnd)
		if string(data[i:]) != want {
			return State{}, errors.New("its checksum is wrong")
		}
		whole = true
	}
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return State{}, fmt.Errorf("it is no JSON: %w", err)
	}
	if v.Version > stateVersion {
		return State{}, errLater
	}
	if v.Version < 1 {
		return State{}, errors.New("it has no version")
	}
	var doc document
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return State{}, fmt.Errorf("it is no state file: %w", err)
	}
	if !whole && doc.Sum != "" {
		return State{}, errors.New("its checksum is wrong")
	}
	s := State{HomeDown: doc.HomeDown, Cluster: doc.Cluster, apps: make(map[string]*app, len(doc.Apps))}
	for _, a := range doc.Apps {
		if a.Key == "" || s.apps[a.Key] != nil {
			return State{}, fmt.Errorf("it has an app without a key or twice: %q", a.Key)
		}
		s.apps[a.Key] = &app{AppState: a}
	}
	return s, nil
}

func tooNew(name string) error {
	return fault.New(fault.Conflict, "%s was written by a later version of omnitron; nothing was touched", name).
		WithReason(TooNew).WithHint("use the later version, or another home (--home)")
}

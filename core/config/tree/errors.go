package tree

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Errors is everything that is wrong with the files. To fault.From it is an invalid fault, reason config_invalid.
type Errors struct {
	Problems []Problem // in the order of their places, at most 100
	More     int       // how many there are beyond those
}

func (e *Errors) Error() string {
	var b strings.Builder
	b.WriteString(e.head())
	for _, p := range e.Problems {
		b.WriteString("\n\n" + p.String())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\n\nand %d more", e.More)
	}
	return b.String()
}

func (e *Errors) head() string {
	var files []string
	for _, p := range e.Problems {
		if f := filepath.Base(p.File.Path); !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	plural := "s"
	if len(e.Problems) == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s: %d problem%s, nothing was changed", strings.Join(files, ", "), len(e.Problems)+e.More, plural)
}

// Fault gives the errors as planes carry them.
func (e *Errors) Fault() *fault.Error {
	f := fault.New(fault.Invalid, "%s", e.head()).WithReason("config_invalid").WithHint("mend the lines named, then look again with: omnitron config check")
	for _, p := range e.Problems {
		text := p.Message
		if x := p.Excerpt(); x != "" {
			text += "\n" + x
		}
		if p.Hint != "" {
			text += "\n        " + p.Hint
		}
		f.Problems = append(f.Problems, fault.Problem{Path: p.Pos.String(), Message: text, Allowed: p.Allowed, Near: p.Near})
	}
	return f
}

// As lets fault.From see the fault.
func (e *Errors) As(target any) bool {
	if f, ok := target.(**fault.Error); ok {
		*f = e.Fault()
		return true
	}
	return false
}

// Err gives everything that is wrong as one error, *Errors, or nil.
func (ps *Problems) Err() error {
	if ps.Len() == 0 {
		return nil
	}
	const most = 100 // a broken file is mended from the top; an answer has to end
	all := ps.Sorted()
	shown := all[:min(len(all), most)]
	return &Errors{shown, len(all) - len(shown)}
}

package render

// Style is how much of a terminal's means may be used.
type Style struct {
	Color   bool // the 16-colour palette on the default background
	Symbols bool // ● ○ ✗ ▲ before a state's word
}

// The colours, by what they mean.
const (
	Good  = "32"
	Bad   = "31"
	Warn  = "33"
	Busy  = "36"
	Dim   = "90"
	Loud  = "1"
	Plain = ""
)

// Paint gives s a colour, if there are colours.
func (y Style) Paint(color, s string) string {
	if !y.Color || color == Plain || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// looks says how each word of a state, a health or a status is shown: never by colour alone.
var looks = map[string]struct{ symbol, color string }{
	"running": {"●", Good}, "healthy": {"●", Good}, "ready": {"●", Good}, "ok": {"●", Good}, "done": {"✓", Good}, "completed": {"✓", Good},
	"stopped": {"○", Dim}, "unknown": {"○", Dim}, "disabled": {"○", Dim}, "unchanged": {"○", Dim},
	"waiting": {"▸", Busy}, "starting": {"▸", Busy}, "stopping": {"▸", Busy}, "reloading": {"▸", Busy}, "started": {"▸", Busy},
	"backoff": {"▲", Warn}, "held": {"▲", Warn}, "confirm": {"▲", Warn}, "warning": {"▲", Warn}, "warn": {"▲", Warn}, "degraded": {"▲", Warn},
	"crashed": {"✗", Bad}, "failed": {"✗", Bad}, "stuck": {"✗", Bad}, "unhealthy": {"✗", Bad}, "error": {"✗", Bad}, "exited": {"✗", Bad}, "fail": {"✗", Bad},
}

// Symbol gives a state's symbol and colour.
func Symbol(state string) (symbol, color string) {
	l, ok := looks[state]
	if !ok {
		return "·", Plain
	}
	return l.symbol, l.color
}

// stateful are the columns whose words have a symbol.
func stateful(name string) bool {
	switch name {
	case "state", "status", "health", "desired", "verdict":
		return true
	}
	return false
}

// mark puts the symbol before a state's word.
func (y Style) mark(word string) (text, color string) {
	l, ok := looks[word]
	if !ok {
		return word, Plain
	}
	if !y.Symbols {
		return word, l.color
	}
	return l.symbol + " " + word, l.color
}

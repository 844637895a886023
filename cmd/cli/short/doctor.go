package short

import (
	"encoding/json"
	"reflect"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/cobra"
)

// encode gives the JSON of a value that is made of plain data.
func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return raw
}

// doctor is daemon.doctor, or what can be seen without a daemon.
func doctor(s *session.Session) *cobra.Command {
	spec, ok := s.Spec("daemon.doctor")
	if !ok && s.Doctor == nil {
		return nil
	}
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say how to mend it",
		Long: `Look for what is wrong with the daemon, its home and this machine, and say how to mend it. Without a daemon it looks at what
can be seen from outside.
Short for ` + "`omnitron daemon doctor`" + `. Method daemon.doctor.`,
		Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			var raw json.RawMessage
			_, err := s.Connect(ctx)
			switch {
			case err == nil && ok:
				raw, err = s.Call(ctx, spec.ID(), map[string]any{})
			case s.Doctor != nil && (err == nil || fault.Is(err, fault.Unavailable)):
				s.Note("no daemon runs: this is what can be seen from outside")
				raw, err = s.Doctor(ctx, s.Home)
			}
			if err != nil {
				return err
			}
			var out reflect.Type
			if ok {
				out = spec.Out
			}
			return s.Show(ctx, raw, out, nil)
		},
	}
}

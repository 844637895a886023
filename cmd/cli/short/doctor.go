package short

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
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
	if !ok {
		return nil
	}
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say how to mend it",
		Long: `Look for what is wrong with the daemon, its home and this machine, and say how to mend it. Without a daemon it looks at what
can be seen from outside. Exits with 1 when there is an error, not for warnings alone.
Short for ` + "`omnitron daemon doctor`" + `. Method daemon.doctor.`,
		Args: method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := render.CheckColumns(spec.Out, s.Columns); err != nil {
				return err
			}
			ctx := cmd.Context()
			raw, err := s.Call(ctx, spec.ID(), map[string]any{})
			if s.Doctor != nil && fault.Is(err, fault.Unavailable) {
				s.Note("%s: this is what can be seen from outside", fault.From(err).Message)
				raw, err = s.Doctor(ctx, s.Home, err)
			}
			if err != nil {
				return err
			}
			return method.New(s, spec, "doctor", nil).Answer(ctx, raw)
		},
	}
}

package short

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
)

// exportPage is how many rows one call of export asks for.
const exportPage = 1000

func exportAudit(s *session.Session) *cobra.Command {
	var since, until string
	var after int64
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the whole record of calls as JSON Lines, oldest first",
		Long: `Write the record of calls to standard output, one JSON object a line, oldest first. No row is lost or doubled while calls
go on. To go on later, pass the seq of the last line as --after. Calls audit.list page by page.`,
		Example: "  omnitron audit export > record.jsonl\n  omnitron audit export --after 1200 >> record.jsonl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := map[string]any{"forward": true, "limit": exportPage}
			for name, value := range map[string]string{"since": since, "until": until} {
				if value != "" {
					in[name] = value
				}
			}
			if after > 0 {
				in["cursor"] = strconv.FormatInt(after, 10)
			}
			for {
				raw, err := s.Call(cmd.Context(), "audit.list", in)
				if err != nil {
					return err
				}
				var page struct {
					Items     []json.RawMessage
					Truncated bool
					Next      string `json:"next_cursor"`
				}
				if err := json.Unmarshal(raw, &page); err != nil {
					return fmt.Errorf("cannot read the answer: %w", err)
				}
				var lines bytes.Buffer
				for _, item := range page.Items {
					if err := json.Compact(&lines, item); err != nil {
						return fmt.Errorf("cannot read the answer: %w", err)
					}
					lines.WriteByte('\n')
				}
				if _, err := s.Stdout.Write(lines.Bytes()); err != nil {
					return err
				}
				if !page.Truncated {
					return nil
				}
				in["cursor"] = page.Next
			}
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only later; RFC 3339")
	cmd.Flags().StringVar(&until, "until", "", "only earlier; RFC 3339")
	cmd.Flags().Int64Var(&after, "after", 0, "only rows beyond this seq")
	return cmd
}

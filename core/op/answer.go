package op

import (
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Status is how a changing call stands when its answer is given.
type Status string

// The statuses of an outcome.
const (
	Done    Status = "done"    // it is so now
	Running Status = "running" // a job works on it
	Confirm Status = "confirm" // call again with the token
	Waiting Status = "held"    // a person has to decide
)

// Item is one thing that a plan changes.
type Item struct {
	Target string `json:"target" table:"1" jsonschema:"what changes"`
	From   string `json:"from,omitempty" table:"2" jsonschema:"how it is now"`
	To     string `json:"to,omitempty" table:"3" jsonschema:"how it will be"`
}

// Plan is what a call would change. Its digest covers the items and the generations of the targets, so that a plan
// made again shows whether the world has moved.
type Plan struct {
	Items  []Item `json:"items" jsonschema:"what changes; empty: nothing"`
	Digest string `json:"digest,omitempty" jsonschema:"fingerprint of the plan"`
}

// JobRef names a job.
type JobRef struct {
	ID string `json:"id" jsonschema:"job id"`
}

// ApprovalRef names a held call.
type ApprovalRef struct {
	ID        string    `json:"id" jsonschema:"approval id"`
	ExpiresAt time.Time `json:"expires_at" jsonschema:"when silence becomes no"`
	Rule      string    `json:"rule,omitempty" jsonschema:"rule of the policy that held it"`
	Why       string    `json:"why,omitempty" jsonschema:"why it waits"`
}

// ConfirmRef carries the token that lets the identical call through once.
type ConfirmRef struct {
	Token     string    `json:"token" jsonschema:"pass it as confirm in the identical call"`
	ExpiresAt time.Time `json:"expires_at" jsonschema:"when the token ends"`
}

// Next is a call that makes sense now.
type Next = fault.Call

// Outcome is the answer of every changing method, on every plane.
type Outcome struct {
	Status   Status       `json:"status" enum:"done,running,confirm,held" jsonschema:"done, running as a job, confirm (call again with the token) or held (a person decides)"`
	Result   any          `json:"result,omitempty" schema:"any" jsonschema:"what came of it; only when done"`
	Plan     *Plan        `json:"plan,omitempty" jsonschema:"what the call would change"`
	Job      *JobRef      `json:"job,omitempty" jsonschema:"the job that works on it"`
	Approval *ApprovalRef `json:"approval,omitempty" jsonschema:"the decision that is waited for"`
	Confirm  *ConfirmRef  `json:"confirm,omitempty" jsonschema:"the token that lets the identical call through once"`
	Next     []Next       `json:"next,omitempty" jsonschema:"calls that make sense now"`
}

// List is the answer of every listing method, and of a stream that a plane has to bound.
type List[T any] struct {
	Items      []T    `json:"items" table:"1" jsonschema:"the items"`
	NextCursor string `json:"next_cursor,omitempty" jsonschema:"pass it as cursor to go on"`
	Truncated  bool   `json:"truncated" jsonschema:"whether there is more"`
	Dropped    int64  `json:"dropped,omitempty" jsonschema:"items that were lost because the reader was slow"`
	Total      int    `json:"total,omitempty" jsonschema:"how many there are in all, where that is known"`
}

// Page is the part of an input that every list shares.
type Page struct {
	Limit  int    `json:"limit,omitempty" min:"1" max:"1000" jsonschema:"how many items at most, 1 to 1000"`
	Cursor string `json:"cursor,omitempty" jsonschema:"where to go on: next_cursor of the answer before"`
}

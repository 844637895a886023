package audit

import (
	"context"
	"time"
)

// Question asks whether the record is whole.
type Question struct {
	Against string `json:"against,omitempty" cli:"arg" jsonschema:"a head that an earlier verify gave and that you kept elsewhere: the record must still have it"`
}

// Verdict says how the record stands.
type Verdict struct {
	OK          bool      `json:"ok" table:"1" jsonschema:"whether every row follows from those before it, up to the head"`
	Row         int64     `json:"row,omitempty" table:"1" jsonschema:"the first row that is bad; 0 when it is a file beside the record"`
	Problem     string    `json:"problem,omitempty" table:"1" jsonschema:"what is wrong with it"`
	First       int64     `json:"first" table:"2" jsonschema:"the oldest row that is kept; those before were retired, which is on record"`
	Last        int64     `json:"last" table:"2" jsonschema:"the newest row that was looked at"`
	Sealed      int64     `json:"sealed" table:"1" jsonschema:"rows whose seal fits"`
	Unprotected int64     `json:"unprotected" table:"2" jsonschema:"rows without a seal of the present key, which the record itself says: from before there was one, from while the vault was sealed, or of another vault"`
	Anchored    time.Time `json:"anchored_at,omitzero" table:"3" unit:"time" jsonschema:"the newest anchor"`
	Head        string    `json:"head" table:"2" jsonschema:"the end of the record: keep it elsewhere, and pass it as against later"`
	At          time.Time `json:"at" unit:"time" jsonschema:"when it was looked at"`
}

// Verify looks at the whole record. Faults: invalid (bad_head), unavailable (vault_sealed, vault_damaged).
func (s *Service) Verify(ctx context.Context, in Question) (Verdict, error) {
	v, err := s.calls.Verify(ctx, in.Against)
	if err != nil {
		return Verdict{}, err
	}
	out := Verdict{OK: v.Broken == nil, First: v.First, Last: v.Last, Sealed: v.Sound, Unprotected: v.Unprotected, Anchored: v.Anchored, Head: v.Head, At: v.At}
	if v.Broken != nil {
		out.Row, out.Problem = v.Broken.Seq, v.Broken.Why
	}
	return out, nil
}

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/services/auth"
)

// sampleID is the approval that the examples speak of.
const sampleID = "ap-4wk2mz7q3c"

// real is an input that speaks of an approval which there is.
func (w *world) real(t testing.TB, in string) string {
	t.Helper()
	if strings.Contains(in, auth.Sample) {
		in = strings.ReplaceAll(in, auth.Sample, w.refresh(t))
	}
	if !strings.Contains(in, sampleID) {
		return in
	}
	return strings.ReplaceAll(in, sampleID, w.hold(t))
}

// hold has a call of the agent wait for a person.
func (w *world) hold(t testing.TB) string {
	t.Helper()
	if w.held != "" {
		return w.held
	}
	raw, failed := w.agent.call("tools/call", map[string]any{"name": "logs_purge", "arguments": map[string]any{"names": []string{"web"}}})
	var r struct {
		Value struct{ Approval struct{ ID string } } `json:"structuredContent"`
	}
	if err := json.Unmarshal(raw, &r); err != nil || r.Value.Approval.ID == "" {
		t.Fatalf("logs_purge is not held: %v %s %s", err, failed, raw)
	}
	w.held = r.Value.Approval.ID
	return w.held
}

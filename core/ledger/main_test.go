package ledger

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the program that gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimHome); dir != "" {
		callForEver(dir)
	}
	goleak.VerifyTestMain(m)
}

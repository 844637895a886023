package cli

import (
	"context"
	"os"
	"os/signal"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_, stop := signal.NotifyContext(context.Background(), os.Interrupt) // what the runtime makes once must not be made within a bubble
	stop()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/signal.loop"))
}

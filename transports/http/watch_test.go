package http

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/omnitron-dev/omnitron/core/token"
)

// TestACallThatIsOverIsLetGo: no timer holds on to it. The bubble's clock stands still, so that none runs out meanwhile.
func TestACallThatIsOverIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := func() weak.Pointer[exchange] {
			w := httptest.NewRecorder()
			x := &exchange{r: httptest.NewRequest(http.MethodGet, "/", nil), control: http.NewResponseController(w), identity: &token.Identity{}}
			x.watch(&visit{})()
			x.over = true
			return weak.Make(x)
		}
		x := call()
		for range 3 {
			runtime.GC()
		}
		if x.Value() != nil {
			t.Error("something holds on to it")
		}
	})
}

package attacks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// guesser is a connection to the HTTP plane from one address.
type guesser struct {
	net.Conn
	r *bufio.Reader
}

func (w *world) guesser(n int) (*guesser, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(n/250), byte(1+n%250))}, Timeout: 5 * time.Second}
	c, err := d.DialContext(w.T.Context(), "tcp", w.web)
	if err != nil {
		return nil, err
	}
	return &guesser{c, bufio.NewReader(c)}, nil
}

func (g *guesser) guess(w *world, name, secret string) string {
	_ = g.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(g, w.post("/api/v1/auth/signin", "", fmt.Sprintf(`{"name":%q,"password":%q}`, name, secret)))
	return heard(g.r)
}

// TestGuesses has many passwords guessed, of one account and of names that there are not, from one address and from two hundred.
// Ten of an account are looked at and no more, whatever they come from; the daemon goes on meanwhile, and its owner is not kept out.
func TestGuesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	guesses := rig.Count(2000, 100_000)
	look := func() time.Duration {
		began := time.Now()
		w.must("daemon.status", nil, nil)
		return time.Since(began)
	}
	var quiet []time.Duration
	beat := time.NewTicker(10 * time.Millisecond)
	for range 200 {
		<-beat.C
		quiet = append(quiet, look())
	}
	beat.Stop()
	slices.Sort(quiet)
	var mu sync.Mutex
	answers := map[string]int{}
	var left atomic.Int64
	left.Store(int64(guesses))
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			conns := map[int]*guesser{}
			defer func() {
				for _, g := range conns {
					_ = g.Close()
				}
			}()
			for {
				n := int(left.Add(-1))
				if n < 0 {
					return
				}
				from := 0 // half of them from one address
				if n%2 == 0 {
					from = 1 + (n/16*8+i)%200
				}
				name := "alice"
				if n%4 == 3 {
					name = fmt.Sprintf("nobody%d", n%1000)
				}
				g := conns[from]
				if g == nil {
					var err error
					if g, err = w.guesser(from); err != nil {
						t.Error(err)
						return
					}
					conns[from] = g
				}
				got := g.guess(w, name, fmt.Sprintf("a wrong password, number %d", n))
				if name != "alice" {
					got += " (nobody)"
				}
				mu.Lock()
				answers[got]++
				mu.Unlock()
				if got == "cut" {
					_ = g.Close()
					delete(conns, from)
				}
			}
		})
	}
	go func() { all.Wait(); close(done) }()
	var took []time.Duration
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for flood := true; flood; {
		select {
		case <-done:
			flood = false
		case <-tick.C:
		}
		took = append(took, look())
	}
	slices.Sort(took)
	const looked, turned = "401 unauthenticated/bad_credentials", "429 limited/too_many_guesses"
	if n := answers[looked]; n == 0 || n > 10 {
		t.Errorf("%d guesses of one account were looked at, at most 10 may be", n)
	}
	total := 0
	for got, n := range answers {
		if total += n; got != looked && got != turned && got != looked+" (nobody)" && got != turned+" (nobody)" && got != "429 limited/sign_in_busy" && got != "429 limited/sign_in_busy (nobody)" {
			t.Errorf("%d were answered %s", n, got)
		}
	}
	if total != guesses {
		t.Errorf("%d of %d guesses have an answer", total, guesses)
	}
	g, err := w.guesser(900)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got := g.guess(w, "alice", password); got != turned {
		t.Errorf("the right password among them: %s", got)
	}
	if got := g.guess(w, "bob", password); got != "200" {
		t.Errorf("somebody else's right password: %s", got)
	}
	if w.signIn("alice").Access == "" {
		t.Error("on the socket the owner is kept out")
	}
	if got := w.try(rest, w.good); got != "200" {
		t.Errorf("a token of the account: %s", got)
	}
	// The guessers are on this machine too and share its processors, so that what counts is how it was without them.
	before, p99 := quiet[len(quiet)*99/100], took[len(took)*99/100]
	if rig.Full() && p99 > max(100*time.Millisecond, 25*before) { // a short flood has too few samples
		t.Errorf("status takes %s at p99 while passwords are guessed, %s before", p99, before)
	}
	t.Logf("%d guesses: %v; status: median %s, p99 %s, most %s of %d; before: median %s, p99 %s", guesses, answers, took[len(took)/2], p99, took[len(took)-1], len(took), quiet[len(quiet)/2], before)
}

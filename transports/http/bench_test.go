package http

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkCall is a read over HTTP with a token, beside the bare library with the same answer: its floor.
func BenchmarkCall(b *testing.B) {
	w := start(b)
	body := `{"name":"car"}`
	sample := w.ask("POST", "/api/v1/toys/get", "admin", body)
	floor := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, sample.body)
	}))
	defer floor.Close()
	for name, url := range map[string]string{"floor": floor.URL, "call": "http://" + w.addr} {
		for _, lanes := range []int{1, 32} {
			b.Run(name+map[int]string{1: "", 32: "-32"}[lanes], func(b *testing.B) {
				b.SetParallelism(lanes)
				transport := &http.Transport{MaxIdleConnsPerHost: 64}
				defer transport.CloseIdleConnections()
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						r, err := http.NewRequest(http.MethodPost, url+"/api/v1/toys/get", strings.NewReader(body))
						if err != nil {
							b.Fatal(err)
						}
						r.Header.Set("Content-Type", "application/json")
						r.Header.Set("Authorization", "Bearer admin")
						res, err := transport.RoundTrip(r)
						if err != nil || res.StatusCode != http.StatusOK {
							b.Fatal(err, res)
						}
						_, _ = io.Copy(io.Discard, res.Body)
						_ = res.Body.Close()
					}
				})
			})
		}
	}
}

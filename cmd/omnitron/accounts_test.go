package main

import "testing"

// accounts gives the rows of auth, users and tokens something to speak of: two users, one of them signed in, and a token
// of each.
func (w *world) accounts(t testing.TB) {
	t.Helper()
	for _, c := range []struct {
		method string
		in     map[string]any
	}{
		{"users.create", map[string]any{"name": "alice", "role": "admin", "password": "correct horse battery"}},
		{"users.create", map[string]any{"name": "bob", "password": "correct horse battery"}},
		{"tokens.create", map[string]any{"name": "laptop", "for": "alice"}},
		{"tokens.create", map[string]any{"name": "scraper", "for": "bob", "channel": "app"}},
		{"auth.signin", map[string]any{"name": "alice", "password": "correct horse battery"}},
	} {
		if err := w.Call(c.method, c.in, nil); err != nil {
			t.Fatalf("%s: %v", c.method, err)
		}
	}
}

// refresh signs in and gives the refresh token, which is good once.
func (w *world) refresh(t testing.TB) string {
	t.Helper()
	var got struct {
		Result struct {
			Token string `json:"refresh_token"`
		}
	}
	if err := w.Call("auth.signin", map[string]any{"name": "alice", "password": "correct horse battery"}, &got); err != nil {
		t.Fatal(err)
	}
	return got.Result.Token
}

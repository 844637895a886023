package attacks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// requests are attacks on HTTP itself: what is meant to be read in two ways, pages of others, paths in other spellings.
func requests(w *world) (all []row) {
	section := "Pages of others, and other names"
	call := message{"tools/call", tool}.String()
	both := func(name, want string, headers ...string) {
		all = append(all, row{section, name, [columns]*cell{
			rest: {func(w *world) string { return w.raw(w.post(api, w.good, effect, headers...)) }, want},
			agents: {func(w *world) string {
				return w.raw(w.post(endpoint, w.good, call, append(append([]string{}, standard...), headers...)...))
			}, want}}})
	}
	both("another origin", "403 denied/origin", "Origin", "http://evil.example")
	both("no origin at all", "403 denied/origin", "Origin", "null")
	both("another port of this machine", "403 denied/origin", "Origin", "http://127.0.0.1:3000")
	both("another scheme", "403 denied/origin", "Origin", "https://"+w.web)
	both("two origins", "400 invalid/bad_request", "Origin", "http://"+w.web, "Origin", "http://evil.example")
	both("a page that hides itself", "403 denied/origin", "Sec-Fetch-Site", "cross-site")
	both("a page of the same site", "403 denied/origin", "Sec-Fetch-Site", "same-site")
	both("two authorizations", "400 invalid/bad_request", "Authorization", "Bearer x")
	both("a form", "400 invalid/bad_request", "Content-Type", "application/x-www-form-urlencoded")
	get := []string{"/healthz", "/readyz", "/metrics", "/openapi.json", "/api/v1/apps/list", "/mcp", "/.well-known/jwks.json", "/.well-known/oauth-protected-resource/mcp", "/nothing", "/"}
	for _, path := range get {
		all = append(all, row{section, "GET " + path + " from another origin", [columns]*cell{rest: {func(w *world) string {
			return w.raw(w.request("GET", path, w.good, -1, "Origin", "http://evil.example"))
		}, "403 denied/origin"}}})
	}

	section = "HTTP"
	host, auth := "Host: "+w.web+"\r\n", "Authorization: Bearer "+w.good+"\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
	for _, h := range []struct{ path, body, more string }{{api, effect, ""}, {endpoint, call, "Mcp-Protocol-Version: " + modern + "\r\nMcp-Method: tools/call\r\nMcp-Name: apps_restart\r\n"}} {
		p := rest
		if h.path == endpoint {
			p = agents
		}
		head := auth + h.more
		harmless := "GET /healthz HTTP/1.1\r\n" + host
		first := "POST " + h.path + " HTTP/1.1\r\n" + host + head
		hidden := first + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(h.body), h.body)
		length := fmt.Sprintf("Content-Length: %d\r\n", len(h.body))
		one := func(name, want, text string) {
			for i := range all {
				if all[i].section == section && all[i].name == name {
					all[i].cells[p] = &cell{func(w *world) string { return w.raw(text) }, want}
					return
				}
			}
			r := row{section: section, name: name}
			r.cells[p] = &cell{func(w *world) string { return w.raw(text) }, want}
			all = append(all, r)
		}
		one("another host", "403 denied/host", "POST "+h.path+" HTTP/1.1\r\nHost: evil.example:9800\r\n"+head+length+"\r\n"+h.body)
		one("a host with ours in it", "403 denied/host", "POST "+h.path+" HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n"+head+length+"\r\n"+h.body)
		one("an absolute form", "403 denied/host", "POST http://evil.example"+h.path+" HTTP/1.1\r\n"+host+head+length+"\r\n"+h.body)
		one("an absolute form, and Host the other", "403 denied/host", "POST http://evil.example"+h.path+" HTTP/1.1\r\nHost: "+w.web+"\r\n"+head+length+"\r\n"+h.body)
		one("two hosts", "400", "POST "+h.path+" HTTP/1.1\r\n"+host+"Host: evil.example\r\n"+head+length+"\r\n"+h.body)
		one("no host", "400", "POST "+h.path+" HTTP/1.1\r\n"+head+length+"\r\n"+h.body)
		one("a space before the colon", "400", "POST "+h.path+" HTTP/1.1\r\n"+host+"Origin : http://evil.example\r\n"+head+length+"\r\n"+h.body)
		one("a folded header", "401 unauthenticated/no_token", "POST "+h.path+" HTTP/1.1\r\n"+host+"X: y\r\n Authorization: Bearer x\r\n"+strings.Replace(head, "Bearer", "Basic", 1)+length+"\r\n"+h.body)
		one("HTTP/0.9", "400", "GET /healthz\r\n\r\n"+hidden)
		one("HTTP/3.7", "505", "POST "+h.path+" HTTP/3.7\r\n"+host+head+length+"\r\n"+h.body)
		one("a length and chunks", "*", harmless+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+hidden)
		one("two lengths", "400", harmless+"Content-Length: 0\r\nContent-Length: 5\r\n\r\n"+hidden)
		one("a length with a sign", "400", harmless+"Content-Length: +2\r\n\r\n{}"+hidden)
		one("a length that is negative", "400", harmless+"Content-Length: -1\r\n\r\n"+hidden)
		one("a length in hex", "400", harmless+"Content-Length: 0x2\r\n\r\n{}"+hidden)
		one("two codings", "501", harmless+"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"+hidden)
		one("a coding that is none", "501", harmless+"Transfer-Encoding: xchunked\r\n\r\n"+hidden)
		one("a chunk of negative length", "408 invalid/bad_request", "POST "+h.path+" HTTP/1.1\r\n"+host+head+"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"+hidden)
		one("a body where none is taken", "400 invalid/bad_request", harmless+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(hidden))+hidden)
		one("a length shorter than the body", "*", strings.Replace(first, w.good, "x", 1)+"Content-Length: 2\r\n\r\n"+h.body)
		one("TRACE", "405 invalid/bad_request", "TRACE "+h.path+" HTTP/1.1\r\n"+host+head+"\r\n")
		one("CONNECT", "405 invalid/bad_request", "CONNECT "+w.web+" HTTP/1.1\r\n"+host+head+"\r\n")
		one("OPTIONS", "405 invalid/bad_request", "OPTIONS "+h.path+" HTTP/1.1\r\n"+host+head+"\r\n")
		one("PUT", "405 invalid/bad_request", "PUT "+h.path+" HTTP/1.1\r\n"+host+head+length+"\r\n"+h.body)
		one("GET with an override", "*", "GET "+h.path+"?names=web HTTP/1.1\r\n"+host+head+"X-HTTP-Method-Override: POST\r\n\r\n")
		one("the preface of HTTP/2", "*", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+hidden)
		one("TLS", "400", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
		one("a head of a megabyte", "431", "POST "+h.path+" HTTP/1.1\r\n"+host+"X-Long: "+strings.Repeat("a", 1<<20)+"\r\n"+head+length+"\r\n"+h.body)
		one("100 000 headers", "431", "POST "+h.path+" HTTP/1.1\r\n"+host+strings.Repeat("X: y\r\n", 100_000)+head+length+"\r\n"+h.body)
		one("a body that is compressed", "415 invalid/media_type", "POST "+h.path+" HTTP/1.1\r\n"+host+head+"Content-Encoding: gzip\r\n"+length+"\r\n"+h.body)
		one("a body that is text", "415 invalid/media_type", strings.Replace("POST "+h.path+" HTTP/1.1\r\n"+host+head+length+"\r\n"+h.body, "application/json", "text/plain", 1))
		one("a body in Latin-1", "415 invalid/media_type", strings.Replace("POST "+h.path+" HTTP/1.1\r\n"+host+head+length+"\r\n"+h.body, "application/json", "application/json; charset=iso-8859-1", 1))
		one("a name and password in the URL", "400 invalid/bad_request", "POST http://a:b@"+w.web+h.path+" HTTP/1.1\r\n"+host+head+length+"\r\n"+h.body)
		one("Expect: something else", "417", "POST "+h.path+" HTTP/1.1\r\n"+host+head+"Expect: 200-maybe\r\n"+length+"\r\n"+h.body)
		service := strings.TrimPrefix(h.path, "/")
		for _, path := range []string{"//" + service, "/./" + service, "/x/../" + service, "/%2e%2e/" + service, "/..;/" + service, h.path + "/", h.path + ";x", h.path + "%00", h.path + ".", strings.ToUpper(h.path), "/" + strings.ReplaceAll(service, "/", `\`), "/" + strings.Replace(service, "m", "%6d", 1) + "%20"} {
			one("the path "+strings.Replace(path, service, "…", 1), "404 not_found/no_route", "POST "+path+" HTTP/1.1\r\n"+host+head+length+"\r\n"+h.body)
		}
		all = append(all, row{section, "100 slow heads and bodies to " + h.path, func() (c [columns]*cell) {
			if p == rest || rig.Full() { // it takes ten seconds, and the two differ behind the body only
				c[p] = &cell{func(w *world) string { return w.slow(first, length) }, "cut"}
			}
			return c
		}()})
	}
	return all
}

// slow opens connections that take their time with the head or the body. All of them have to be over in ten seconds or little
// more, and others are answered meanwhile.
func (w *world) slow(head, length string) string {
	began := time.Now()
	var over sync.WaitGroup
	var mu sync.Mutex
	verdict := "cut"
	fail := func(why string) { mu.Lock(); defer mu.Unlock(); verdict = why }
	for i := range 100 {
		c := w.dial(w.web)
		text := head
		if i%2 == 1 {
			text += length + "\r\n{"
		}
		_, _ = io.WriteString(c, text)
		over.Go(func() {
			defer c.Close()
			_ = c.SetReadDeadline(began.Add(14 * time.Second))
			if _, err := io.Copy(io.Discard, c); err != nil {
				if e, ok := err.(net.Error); ok && e.Timeout() {
					fail("goes on")
				}
			}
		})
	}
	for range 20 {
		at := time.Now()
		if got := w.raw(w.post("/api/v1/apps/list", w.good, "{}")); got != "200" || time.Since(at) > 2*time.Second {
			fail(fmt.Sprintf("others wait: %s after %s", got, time.Since(at)))
		}
	}
	over.Wait()
	if took := time.Since(began); took > 12*time.Second {
		fail("cut after " + took.String())
	}
	return verdict
}

// hellos are attacks on the TCP plane before anybody is known.
func hellos(*world) (all []row) {
	const section = "TCP before and at the hello"
	add := func(name, want string, do func(w *world) string) {
		all = append(all, row{section, name, [columns]*cell{tcp: {do, want}}})
	}
	plain := func(text string) func(w *world) string {
		return func(w *world) string {
			c := w.dial(w.native)
			defer c.Close()
			_, _ = io.WriteString(c, text)
			l := line{w, c, bufio.NewReader(c)}
			return l.hear()
		}
	}
	said := func(lines ...string) func(w *world) string {
		return func(w *world) string {
			c := w.stranger()
			defer c.Close()
			got := ""
			for _, text := range lines {
				got = c.ask(text)
			}
			return got
		}
	}
	call := message{"apps.restart", effect}.String()
	add("no TLS, JSON", "invalid/tls_needed", plain(call+"\n"))
	add("no TLS, a hello", "invalid/tls_needed", func(w *world) string { return plain(hello(w.good) + "\n" + call + "\n")(w) })
	add("HTTP", "*", plain("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	add("SSH", "*", plain("SSH-2.0-x\r\n"))
	add("a frame of 4 GiB", "*", plain("\xff\xff\xff\xff"+strings.Repeat("x", 1<<16)))
	add("half a handshake", "*", plain("\x16\x03\x01\xff\xff"+strings.Repeat("x", 1<<16)))
	add("a call without a hello", "unauthenticated/hello_first", said(call))
	add("a call behind three more", "unauthenticated/hello_first", said(call, call, call, call))
	add("a fifth message", "cut", said(call, call, call, call, call))
	add("a hello after four messages", "cut", func(w *world) string { return said(call, call, call, call, hello(w.good))(w) })
	add("a call in the same packet as a bad hello", "unauthenticated/hello_first", func(w *world) string {
		c := w.stranger()
		defer c.Close()
		if got := c.ask(hello("x") + "\n" + call); got != bad {
			return got
		}
		return c.hear()
	})
	add("the handshake of MCP", "unauthenticated/hello_first", said(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
	add("a hello as a notification", "invalid/protocol", func(w *world) string { return said(strings.Replace(hello(w.good), `"id":"h",`, "", 1))(w) })
	add("Auth.Hello", "unauthenticated/hello_first", func(w *world) string { return said(strings.Replace(hello(w.good), "auth.hello", "Auth.Hello", 1))(w) })
	add("the token twice", "-32600", func(w *world) string {
		return said(strings.Replace(hello(w.good), `"token"`, `"token":"x","token"`, 1))(w)
	})
	add("TOKEN", "invalid/launch_options", func(w *world) string { return said(strings.Replace(hello(w.good), `"token"`, `"TOKEN"`, 1))(w) })
	add("token and Token", "invalid/launch_options", func(w *world) string {
		return said(strings.Replace(hello(w.good), `"token"`, `"Token":"x","token"`, 1))(w)
	})
	add("read_only and Read_Only", "invalid/launch_options", func(w *world) string {
		return said(strings.Replace(hello(w.good), `"token"`, `"launch":{"read_only":true,"Read_Only":false},"token"`, 1))(w)
	})
	add("a field that is none", "invalid/launch_options", func(w *world) string {
		return said(strings.Replace(hello(w.good), `"token"`, `"role":"admin","token"`, 1))(w)
	})
	add("a channel that is more", "denied/channel_raised", func(w *world) string {
		return said(strings.Replace(hello(w.good), `"token"`, `"channel":"person","token"`, 1))(w)
	})
	add("a channel that is none", "invalid/launch_options", func(w *world) string {
		return said(strings.Replace(hello(w.good), `"token"`, `"channel":"node","token"`, 1))(w)
	})
	add("a role that is none", "invalid/launch_options", func(w *world) string {
		return said(strings.Replace(hello(w.good), `"token"`, `"launch":{"role":"root"},"token"`, 1))(w)
	})
	add("a hello of 5 MB", "invalid/protocol", func(w *world) string { return said(hello(strings.Repeat("x", 5<<20)))(w) })
	add("a second hello, of somebody else", "conflict/other_identity", func(w *world) string {
		c := w.open(tcp)
		defer c.Close()
		return c.ask(hello(w.bob))
	})
	add("a second hello that is bad", bad, func(w *world) string {
		c := w.open(tcp)
		defer c.Close()
		return c.ask(hello("x"))
	})
	add("60 that say nothing", "cut", func(w *world) string {
		began := time.Now()
		var all []*line
		for range 60 {
			all = append(all, w.stranger())
		}
		verdict := "cut"
		for _, c := range all {
			_ = c.SetDeadline(began.Add(14 * time.Second))
			if got := c.hear(); got != "cut" {
				verdict = got
			}
			_ = c.Close()
		}
		return verdict
	})
	return all
}

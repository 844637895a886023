// Package probe asks running programs how they are: over HTTP, by a TCP connection, or with a command. Only programs on
// this machine are asked. What they answer is foreign text, so it is cut and escaped before anyone sees it.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

const (
	maxBody = 64 << 10 // bytes of an answer that are read
	maxText = 256      // bytes of foreign text that a message carries
)

// Target is what is asked; one of HTTP, TCP and Exec is set.
type Target struct {
	HTTP string   // a path on Port, or a whole URL of this machine
	TCP  string   // host:port of this machine
	Exec []string // a command, run by Run
	Port int      // of an HTTP path

	// Run runs a command, gives its exit code and the beginning of its output, and when ctx ends ends everything that
	// the command started. An error means that it could not be run.
	Run func(ctx context.Context, argv []string) (code int, out []byte, err error)
}

// Result is what came of one question.
type Result struct {
	Healthy  bool
	Message  string        // why not, or the gist of the answer; one printable line
	Duration time.Duration //
	Code     int           // HTTP status or exit code; 0 where there is none
}

// Check asks once. The context bounds the time; a probe without an answer by then has failed. HTTP is healthy from 200 to
// 399, redirects are not followed; a TCP connection is enough; a command has to exit 0.
func Check(ctx context.Context, t Target) Result {
	began := time.Now()
	var r Result
	switch {
	case t.HTTP != "":
		r = checkHTTP(ctx, t)
	case t.TCP != "":
		r = checkTCP(ctx, t.TCP)
	case len(t.Exec) > 0 && t.Run != nil:
		r = checkExec(ctx, t)
	default:
		r.Message = "the probe asks nothing"
	}
	r.Duration = time.Since(began)
	if !r.Healthy && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.Message = fmt.Sprintf("no answer within %s", r.Duration.Round(time.Millisecond))
	}
	return r
}

// client follows nothing, keeps no connection, uses no proxy, and reaches nothing but this machine, whatever a name
// resolves to.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport: &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxBody,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // this machine only, and no certificate names it
	},
}

var dialer = &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return errElsewhere
	}
	return nil
}}

var errElsewhere = errors.New("only addresses of this machine are probed (127.0.0.0/8, ::1, localhost)")

func checkHTTP(ctx context.Context, t Target) Result {
	where, err := address(t)
	if err != nil {
		return Result{Message: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return Result{Message: Printable(err.Error())}
	}
	req.Header.Set("User-Agent", "omnitron-probe")
	resp, err := client.Do(req)
	if err != nil {
		return Result{Message: Printable(reason(err))}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return Result{Code: resp.StatusCode, Message: Printable(fmt.Sprintf("answered %d, then broke off: %s", resp.StatusCode, reason(err)))}
	}
	text := strconv.Itoa(resp.StatusCode)
	if line := firstLine(string(body)); line != "" {
		text += ": " + line
	}
	return Result{Healthy: resp.StatusCode >= 200 && resp.StatusCode < 400, Code: resp.StatusCode, Message: Printable(text)}
}

// address gives the URL to ask, and refuses those that are plainly of another machine before anything is looked up.
func address(t Target) (string, error) {
	where := t.HTTP
	if strings.HasPrefix(where, "/") {
		if t.Port <= 0 {
			return "", errors.New("the port of the probe is not known")
		}
		where = "http://127.0.0.1:" + strconv.Itoa(t.Port) + where
	}
	u, err := url.Parse(where)
	switch {
	case err != nil:
		return "", errors.New("the probe's URL cannot be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("the probe's URL must begin with http:// or https://")
	case !local(u.Hostname()):
		return "", errElsewhere
	}
	return where, nil
}

func local(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func checkTCP(ctx context.Context, where string) Result {
	host, port, err := net.SplitHostPort(where)
	switch {
	case err != nil:
		return Result{Message: "the probe's address must be host:port"}
	case !local(host):
		return Result{Message: errElsewhere.Error()}
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return Result{Message: Printable(reason(err))}
	}
	_ = conn.Close()
	return Result{Healthy: true, Message: "connected"}
}

func checkExec(ctx context.Context, t Target) Result {
	code, out, err := t.Run(ctx, t.Exec)
	if err != nil {
		return Result{Message: Printable("cannot run the probe: " + err.Error())}
	}
	text := "exit " + strconv.Itoa(code)
	if line := firstLine(string(out)); line != "" {
		text += ": " + line
	}
	return Result{Healthy: code == 0, Code: code, Message: Printable(text)}
}

// reason gives the innermost text of a network error: what happened, without the address that everybody knows.
func reason(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}

func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// Printable cuts foreign text to what a message may carry and escapes what does not print, invisible characters and
// those that turn the direction of text included.
func Printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if b.Len() >= maxText {
			b.WriteString("…")
			break
		}
		if r != unicode.ReplacementChar && unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRuneToASCII(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

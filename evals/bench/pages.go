package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// page is a connection over which one call is made again and again. It does as little as a client can, so that what is measured is
// the server.
type page struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	body    []byte
}

// visit opens a page that calls apps.get.
func visit(address, token string) (*page, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	const body = `{"name":"a000"}`
	return &page{conn: c, in: bufio.NewReaderSize(c, 64<<10), request: fmt.Appendf(nil,
		"POST /api/v1/apps/get HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", address, token, len(body), body)}, nil
}

func (p *page) close() { p.conn.Close() }

// ask makes the call and gives the body of its answer, which is valid until the next one.
func (p *page) ask() ([]byte, error) {
	if _, err := p.conn.Write(p.request); err != nil {
		return nil, err
	}
	status, err := p.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		rest, _ := p.in.Peek(p.in.Buffered()) // what there is of why
		return nil, fmt.Errorf("refused: %s%s", status, tail(string(rest)))
	}
	size := -1
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
	}
	if size < 0 {
		return nil, fmt.Errorf("an answer of no known length")
	}
	if cap(p.body) < size {
		p.body = make([]byte, size)
	}
	p.body = p.body[:size]
	_, err = io.ReadFull(p.in, p.body)
	return p.body, err
}

// pages is a target that is called over HTTP, each call in flight on a connection of its own.
func pages(column, address, token string) target {
	return target{column, func(ctx context.Context, flight int, d time.Duration) (f figures, err error) {
		all := make([]*page, flight)
		for i := range all {
			if all[i], err = visit(address, token); err != nil {
				return f, err
			}
			defer all[i].close()
		}
		if _, err := surf(all, d/10); err != nil { // warm
			return f, err
		}
		return surf(all, d)
	}}
}

// surf calls on all pages at once.
func surf(all []*page, d time.Duration) (f figures, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for _, p := range all {
		wg.Go(func() {
			var took table.Spread
			var failed error
			for now := start; now.Sub(start) < d && failed == nil; {
				began := now
				if _, failed = p.ask(); failed == nil {
					now = time.Now()
					took = append(took, now.Sub(began))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			f.took = append(f.took, took...)
			if err == nil {
				err = failed
			}
		})
	}
	wg.Wait()
	f.rate = float64(len(f.took)) / time.Since(start).Seconds()
	return f, err
}

// signIn signs in with the password of the account that the run has made.
func signIn(address string) error {
	p, err := visit(address, "")
	if err != nil {
		return err
	}
	defer p.close()
	const body = `{"name":"bench","password":"correct horse battery staple"}`
	p.request = fmt.Appendf(nil, "POST /api/v1/auth/signin HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", address, len(body), body)
	_, err = p.ask()
	return err
}

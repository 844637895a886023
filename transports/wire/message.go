package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Message is one line taken apart. Its bytes are those of the line: who keeps them clones them.
type Message struct {
	ID     json.RawMessage // as it was written; nil where there is none
	Method string
	Params json.RawMessage // nil where there are none
	Result json.RawMessage
	Error  json.RawMessage
}

// Clone gives the message bytes of its own.
func (m Message) Clone() Message {
	m.ID, m.Params, m.Result, m.Error = bytes.Clone(m.ID), bytes.Clone(m.Params), bytes.Clone(m.Result), bytes.Clone(m.Error)
	return m
}

// Request reports a call that wants an answer.
func (m Message) Request() bool { return m.Method != "" && m.ID != nil }

// Notification reports a message that wants none.
func (m Message) Notification() bool { return m.Method != "" && m.ID == nil }

// Parser checks lines and takes them apart. It keeps its memory from line to line; it is not for concurrent use.
type Parser struct {
	s    scanner
	m    Message
	bad  string // why the message is no JSON-RPC
	rpc  bool   // has "jsonrpc": "2.0"
	null bool   // has "id": null
}

// Parse checks a whole line and gives its envelope. An error is parse_error (no JSON, and nothing may be believed) or
// invalid_request; with the latter the message still carries the id, if it has a good one, so that the answer finds
// its caller. The names at the top are exactly those of JSON-RPC: others, and other spellings, are refused.
func (p *Parser) Parse(line []byte) (Message, *Error) {
	p.m, p.bad, p.rpc, p.null = Message{}, "", false, false
	defer p.release()
	if !utf8.Valid(line) {
		return Message{}, &Error{Code: CodeParse, Message: "the message is not UTF-8"}
	}
	p.s.reset(line)
	i := p.s.space(0)
	if i == len(line) {
		return Message{}, &Error{Code: CodeParse, Message: "the line is empty"}
	}
	end := -1
	if line[i] == '{' {
		end = p.s.object(i, 1, p.member)
	} else {
		end = p.s.value(i, 1)
	}
	if end < 0 || p.s.space(end) != len(line) {
		return Message{}, &Error{Code: CodeParse, Message: "the line is not one JSON value"}
	}
	if why := p.refuse(line[i]); why != "" {
		return p.m, &Error{Code: CodeInvalidRequest, Message: why}
	}
	return p.m, nil
}

func (p *Parser) member(name, value []byte) {
	switch string(name) {
	case "jsonrpc":
		p.rpc = string(value) == `"2.0"`
	case "id":
		switch {
		case string(value) == "null":
			p.null = true
		case goodID(value):
			p.m.ID = value
		default:
			p.fail(fmt.Sprintf("the id must be an integer or a string of at most %d bytes", MaxID))
		}
	case "method":
		if value[0] != '"' {
			p.fail("the method must be a string")
			return
		}
		if len(value) > 6*MaxMethod+2 { // longer than any method, whatever its escapes: what is kept names none
			p.m.Method = string(value[1 : MaxMethod+2])
		} else if p.m.Method = unquote(value); p.m.Method == "" {
			p.fail("the method is empty")
		}
	case "params":
		p.m.Params = value
	case "result":
		p.m.Result = value
	case "error":
		p.m.Error = value
	default:
		p.fail(fmt.Sprintf("unknown member %s", Quote(string(name), 32)))
	}
}

func (p *Parser) fail(why string) {
	if p.bad == "" {
		p.bad = why
	}
}

// refuse says what is wrong with a message that is good JSON, or "".
func (p *Parser) refuse(first byte) string {
	answer := p.m.Result != nil || p.m.Error != nil
	switch {
	case first == '[':
		return "batches are not supported: send one message a line"
	case first != '{':
		return "the message must be an object"
	case p.s.deep:
		return fmt.Sprintf("nested deeper than %d levels", MaxDepth)
	case p.s.many:
		return fmt.Sprintf("more than %d names", MaxMembers)
	case p.s.double:
		p.m.ID = nil // it may be the id that is there twice
		return "an object has the same name twice"
	case p.bad != "":
		return p.bad
	case !p.rpc:
		return `"jsonrpc" must be "2.0"`
	case p.m.Method != "" && answer, p.m.Result != nil && p.m.Error != nil, p.m.Params != nil && answer:
		return "a message is a request or an answer, not both"
	case p.m.Method == "" && !answer:
		return "the method is missing"
	case p.null && p.m.Error == nil:
		return "the id must not be null"
	case answer && p.m.ID == nil && !p.null:
		return "an answer needs an id"
	}
	return ""
}

// item takes the params of an item apart; what has none is an item of no call.
func (p *Parser) item(params json.RawMessage) (id uint64, item []byte) {
	if len(params) == 0 || params[0] != '{' {
		return 0, nil
	}
	p.s.reset(params)
	p.s.object(0, 1, func(name, value []byte) {
		switch string(name) {
		case "id":
			id, _ = strconv.ParseUint(string(value), 10, 64)
		case "item":
			item = value
		}
	})
	return id, item
}

// release gives back memory that only an unusual message needed.
func (p *Parser) release() {
	p.s.b = nil
	if cap(p.s.keys) > 1024 {
		p.s.keys = nil
	}
	if cap(p.s.text) > keepBuffer {
		p.s.text = nil
	}
}

// goodID accepts integers and short strings, kept as they are written: 2^53 + 1 and "7" come back as they went.
func goodID(raw []byte) bool {
	switch {
	case raw[0] == '"':
		return len(raw)-2 <= MaxID
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		if len(raw) > MaxID {
			return false
		}
		for _, c := range raw[1:] {
			if c < '0' || c > '9' {
				return false
			}
		}
		return true
	}
	return false
}

func unquote(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	for _, c := range inner {
		if c == '\\' {
			return string(unescape(nil, inner))
		}
	}
	return string(inner)
}

// Quote writes foreign text so that it can stand in a message or a log line: at most limit bytes of it, quoted, with
// everything that does not print escaped.
func Quote(text string, limit int) string {
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}

// Strict reads one object into a struct. Every name in it must be that of a field, letter for letter: encoding/json would also
// take one that is written in other letters, and of two such the last, so that whoever looked at the first was shown another
// message than the one that counts.
func Strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something stands behind the object")
	}
	return spelled(raw, reflect.TypeOf(into).Elem())
}

// spelled says which name is not that of a field as it is written.
func spelled(raw []byte, of reflect.Type) error {
	var members map[string]json.RawMessage
	if of.Kind() != reflect.Struct || json.Unmarshal(raw, &members) != nil {
		return nil // a type of its own
	}
	for name, value := range members {
		found := false
		for i := range of.NumField() {
			tag, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if tag != name {
				continue
			}
			found = true
			if err := spelled(value, of.Field(i).Type); err != nil {
				return err
			}
		}
		if !found {
			return fmt.Errorf("there is no field %s", Quote(name, 32))
		}
	}
	return nil
}

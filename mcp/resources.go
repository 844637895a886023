package mcp

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	mcplib "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/mcp/tool"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

const (
	mimeJSON  = "application/json"
	resultURI = "omnitron://results/"
)

// addResources puts the resources of a surface into the library, and the cut answers of a connection.
func (s *Server) addResources(lib *server.MCPServer, f *surface) error {
	seen := map[string]string{}
	for _, r := range f.resources {
		form := r.Base
		if r.Field != "" {
			form += tool.ByName
		}
		if other, used := seen[form]; used {
			return fmt.Errorf("%s and %s have the same address %s", other, r.ID, form)
		}
		seen[form] = r.ID
		if r.Field == "" {
			lib.AddResource(mcplib.NewResource(r.Base, r.ID, mcplib.WithResourceTitle(r.Title), mcplib.WithResourceDescription(r.Doc), mcplib.WithMIMEType(mimeJSON)), readResource)
			continue
		}
		for suffix, label := range map[string]string{tool.ByKey: " by key", tool.ByName: " by name"} {
			lib.AddResourceTemplate(mcplib.NewResourceTemplate(r.Base+suffix, r.ID+label, mcplib.WithTemplateTitle(r.Title), mcplib.WithTemplateDescription(r.Doc), mcplib.WithTemplateMIMEType(mimeJSON)), readResource)
		}
	}
	lib.AddResourceTemplate(mcplib.NewResourceTemplate(resultURI+"{id}{?offset,length}", "results",
		mcplib.WithTemplateTitle("Whole answer"), mcplib.WithTemplateDescription("The whole of an answer that was cut, in parts of at most 20000 bytes."), mcplib.WithTemplateMIMEType(mimeJSON)), readResource)
	return nil
}

// readResource answers resources/read. The library knows one code for what can go wrong, so the right one goes past it.
func readResource(ctx context.Context, req mcplib.ReadResourceRequest) ([]mcplib.ResourceContents, error) {
	why := reasonOf(ctx)
	contents, err := why.conn.readURI(ctx, req.Params.URI)
	if err != nil {
		f := fault.From(err).Spelled(why.conn.spell)
		why.err = wire.FromFault(f)
		if f.Code == fault.NotFound {
			why.err.Code = why.noResource
			why.err.Data = object.Set(why.err.Data, "uri", answer.AppendString(nil, answer.Line(req.Params.URI, 200)))
		}
	}
	return contents, err
}

func (c *conn) readURI(ctx context.Context, uri string) ([]mcplib.ResourceContents, error) {
	if strings.HasPrefix(uri, resultURI) {
		return c.results.read(uri)
	}
	r, name, ok := tool.Find(c.surface.resources, uri)
	if !ok {
		return nil, noResource(uri)
	}
	v, err := c.srv.reg.Do(ctx, tools.Call{Method: r.ID, In: r.Input(name)})
	if err != nil {
		return nil, err
	}
	if r.Tool.Hints {
		v = fault.SpellAll(v, c.spell)
	}
	a, err := r.Tool.Form.Render(v)
	if err != nil {
		return nil, err
	}
	contents := []mcplib.ResourceContents{mcplib.TextResourceContents{URI: uri, MIMEType: mimeJSON, Text: string(a.Structured)}}
	if a.TooBig {
		contents = nil
	}
	if a.Whole != nil {
		link := c.results.keep(a.Whole)
		contents = append(contents, mcplib.TextResourceContents{URI: link, MIMEType: "text/plain", Text: "cut to fit; this address has the whole in parts"})
	}
	return contents, nil
}

func noResource(uri string) *fault.Error {
	return fault.New(fault.NotFound, "there is no resource %s", wire.Quote(uri, 200)).WithReason("unknown_resource").WithHint("see resources/list and resources/templates/list")
}

// Bounds of the answers that a connection keeps because they were cut.
const (
	keepResults = 16
	keepBytes   = 8 << 20
	partBytes   = 20_000
)

// results are the whole answers of a connection that were too big to give.
type results struct {
	mu    sync.Mutex
	last  int
	kept  []result // oldest first
	bytes int
}

type result struct {
	id   string
	text []byte
}

// keep remembers an answer and gives its address. The oldest ones make room.
func (s *results) keep(text []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id := strconv.Itoa(s.last)
	if len(text) > keepBytes {
		text = text[:keepBytes]
	}
	s.kept, s.bytes = append(s.kept, result{id, text}), s.bytes+len(text)
	for len(s.kept) > keepResults || s.bytes > keepBytes {
		s.bytes -= len(s.kept[0].text)
		s.kept = s.kept[1:]
	}
	return resultURI + id
}

// read gives a part of a kept answer.
func (s *results) read(uri string) ([]mcplib.ResourceContents, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, noResource(uri)
	}
	id, offset, length := strings.TrimPrefix(u.Path, "/"), 0, partBytes
	for name, to := range map[string]*int{"offset": &offset, "length": &length} {
		if v := u.Query().Get(name); v != "" {
			if *to, err = strconv.Atoi(v); err != nil || *to < 0 {
				return nil, fault.New(fault.Invalid, "%s must be a number of bytes", name)
			}
		}
	}
	s.mu.Lock()
	var text []byte
	for _, r := range s.kept {
		if r.id == id {
			text = r.text
		}
	}
	s.mu.Unlock()
	if text == nil {
		return nil, fault.New(fault.NotFound, "the answer %s is not kept any more", wire.Quote(id, 20)).WithReason("unknown_resource").WithHint("make the call again, with narrower bounds")
	}
	from := min(offset, len(text))
	to := min(from+max(1, min(length, partBytes)), len(text))
	for from > 0 && from < len(text) && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to--
	}
	part := mcplib.TextResourceContents{URI: uri, MIMEType: "text/plain", Text: string(text[from:to])}
	meta := map[string]any{"omnitron/offset": from, "omnitron/total": len(text)}
	if to < len(text) {
		meta["omnitron/next"] = fmt.Sprintf("%s%s?offset=%d", resultURI, id, to)
	}
	part.Meta = meta
	return []mcplib.ResourceContents{part}, nil
}

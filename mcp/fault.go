package mcp

import (
	"encoding/json"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// maxFault is how many bytes of JSON a fault may have.
const maxFault = 12_000

// appendFault appends a fault as a result: text for the model, the object in _meta, no structured content.
func (c *conn) appendFault(line []byte, r *request, f *fault.Error) []byte {
	return appendFault(line, r, c.srv.self, f)
}

func appendFault(line []byte, r *request, self json.RawMessage, f *fault.Error) []byte {
	raw, err := answer.Marshal(f)
	if err != nil || len(raw) > maxFault {
		short := *f
		short.Message, short.Hint = answer.Cut(f.Message, 2_000), answer.Cut(f.Hint, 1_000)
		short.Candidates, short.Problems = f.Candidates[:min(len(f.Candidates), 20)], f.Problems[:min(len(f.Problems), 20)]
		items, ok := answer.Shrink(f.Items, maxFault/2)
		if short.Items = items; !ok {
			short.Items = nil
		}
		if raw, err = answer.Marshal(&short); err != nil || len(raw) > maxFault {
			short.Items, short.Candidates, short.Problems = nil, nil, nil
			raw, _ = answer.Marshal(&short) // text alone always has a form
		}
	}
	line = answer.AppendString(append(line, `{"content":[{"type":"text","text":`...), answer.Fault(f))
	return tail(append(line, `}],"isError":true`...), r, self, raw)
}

// tail ends a result with what its era wants, and the fault.
func tail(line []byte, r *request, self, failed json.RawMessage) []byte {
	if r.modern {
		line = append(line, `,"resultType":"complete"`...)
	}
	switch {
	case r.modern:
		line = append(append(line, `,"_meta":{"`+metaServer+`":`...), self...)
		if failed != nil {
			line = append(append(line, `,"`+MetaError+`":`...), failed...)
		}
		line = append(line, '}')
	case failed != nil:
		line = append(append(append(line, `,"_meta":{"`+MetaError+`":`...), failed...), '}')
	}
	return append(line, '}')
}

// faultLine is the whole answer of a request that ended in a fault before any method ran: a result for a tool call, so
// that the model sees it, else an error of the protocol.
func faultLine(r *request, self json.RawMessage, f *fault.Error) []byte {
	if r.Method != "tools/call" {
		return ErrorLine(r.ID, wire.FromFault(f))
	}
	return append(appendFault(head(nil, r.ID), r, self, f), '}')
}

// FaultLine is what a request gets that could not be passed on to a server of this version.
func FaultLine(m wire.Message, version string, f *fault.Error) []byte {
	r := &request{Message: m}
	r.read()
	return faultLine(r, identity(version), f)
}

// identity is what a server of a version calls itself.
func identity(version string) json.RawMessage {
	self, _ := json.Marshal(map[string]string{"name": "omnitron", "title": "Omnitron", "version": version}) // strings
	return self
}

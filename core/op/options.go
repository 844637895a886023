package op

import (
	"context"
	"time"
)

// Resource makes the method readable as an MCP resource; the topics say which events on the bus make it stale.
func Resource(template string, topics ...string) Option {
	return func(o *options) { o.Spec.Resource, o.Topics = template, topics }
}

// Timeout bounds the call; without it the pipeline's default holds.
func Timeout(d time.Duration) Option { return func(o *options) { o.Spec.Timeout = d } }

// Alias keeps a former id working.
func Alias(ids ...string) Option { return func(o *options) { o.Aliases = append(o.Aliases, ids...) } }

// Local keeps the method on the unix socket: no tool, no network plane.
func Local() Option { return func(o *options) { o.Spec.Local = true } }

// Job says that the answer is a job's id.
func Job() Option { return func(o *options) { o.Spec.Job = true } }

// Top gives the method a short form on the command line.
func Top(name string) Option { return func(o *options) { o.Spec.Top = name } }

// Core puts the method into the core profile of MCP.
func Core() Option { return func(o *options) { o.Spec.Core = true } }

// Keywords are words that people use for it; only search reads them.
func Keywords(words string) Option { return func(o *options) { o.Spec.Keywords = words } }

// Undo names the method that takes the effect back.
func Undo(id string) Option { return func(o *options) { o.Spec.Undo = id } }

// Global says that the method speaks of the whole daemon, so that having no targets is no oversight.
func Global() Option { return func(o *options) { o.Spec.Global = true } }

// AnyScope says that a token which is limited to some projects may call the method although it has no targets: it tells
// nothing of any project, or of no other than those.
func AnyScope() Option { return func(o *options) { o.Spec.AnyScope = true } }

// Proves gives the method what finds out who the caller is by what its input proves, such as a password. It comes once the
// policy lets the call through and before the record, which then says who it was; the handler finds him as the caller. Who
// proves nothing leaves no record of his own.
func Proves[S, In any](fn func(S, context.Context, In) (Caller, error)) Option {
	return func(o *options) { o.proof = fn }
}

// Redacts says that the method takes the known secrets out of its answers itself, so that the pipeline need not look.
func Redacts() Option { return func(o *options) { o.Spec.Redacts = true } }

// Shows adds an example input that succeeds.
func Shows(doc, in string) Option {
	return func(o *options) { o.Examples = append(o.Examples, Example{Doc: doc, In: in}) }
}

// Fails adds an example input that ends with a fault of the code.
func Fails(doc, in, code string) Option {
	return func(o *options) { o.Examples = append(o.Examples, Example{Doc: doc, In: in, Fails: code}) }
}

// Planned gives the method its preview: what would change, found by the same code up to the last step.
func Planned[S, In any](fn func(S, context.Context, In) (*Plan, error)) Option {
	return func(o *options) { o.plan, o.Plannable = fn, true }
}

// Package secrets keeps values that are not for everyone: passwords, keys, tokens.
package secrets

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/vault"
	"github.com/omnitron-dev/omnitron/core/vault/name"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("secrets", "Values that are not for everyone, sealed at rest; apps get them by {secret: name} in env.",
	op.Unary("list", op.Admin, op.Reads, (*Service).List, "List the names of secrets, without their values.",
		op.Global(), op.Keywords("vault passwords keys tokens credentials names"), op.Shows("all of them", `{}`), op.Fails("a cursor of something else", `{"cursor":"NOT/A/NAME"}`, "invalid")),
	op.Unary("get", op.Admin, op.Reads, (*Service).Get, "Show the value of a secret.",
		op.Global(), op.Keywords("vault password value reveal show read"), op.Shows("one that is there", `{"name":"shared/example"}`), op.Fails("one that is not there", `{"name":"shared/nope"}`, "not_found")),
	op.Unary("set", op.Admin, op.Sets, (*Service).Set, "Store the value of a secret; apps that use it get it at their next start.",
		op.Global(), op.Planned((*Service).PlanSet), op.Keywords("vault password store put create update change"),
		op.Shows("one for all projects", `{"name":"shared/example","value":"correct horse battery"}`), op.Fails("a name that cannot be", `{"name":"Not A Name","value":"x"}`, "invalid")),
	op.Unary("delete", op.Admin, op.Destroys, (*Service).Delete, "Delete a secret with all its versions; what apps run with stays theirs until they end.",
		op.Global(), op.Planned((*Service).PlanDelete), op.Keywords("vault password remove forget"),
		op.Shows("one that is there", `{"name":"shared/example"}`), op.Fails("one that is not there", `{"name":"shared/nope"}`, "not_found")),
	op.Unary("versions", op.Admin, op.Reads, (*Service).Versions, "List the versions of a secret, without their values.",
		op.Global(), op.Keywords("vault history former rotation"), op.Shows("of one that is there", `{"name":"shared/example"}`), op.Fails("one that is not there", `{"name":"shared/nope"}`, "not_found")),
	op.Unary("rotate", op.Admin, op.Sets, (*Service).Rotate, "Renew the vault's keys; seal values and revisions anew, with no restart.",
		op.Global(), op.Planned((*Service).PlanRotate), op.Keywords("vault key renew reseal encryption"),
		op.Shows("the keys", `{}`)),
)

// Service implements Methods.
type Service struct {
	vault     *vault.Vault
	bus       *bus.Bus
	projects  func() []string
	revisions revisions
}

// revisions are the kept definitions: what files and shell gave as environment is sealed in them, under a key of its own.
type revisions interface {
	Renew(ctx context.Context) (int, error)
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) {
	return &Service{h.Vault, h.Bus, h.Supervisor.Projects, h.Revisions}, nil
}

// unseen says of a name that no app looks there for a secret, or "".
func (s *Service) unseen(name string) string {
	first, rest, _ := strings.Cut(name, "/")
	switch {
	case rest == "":
		return fmt.Sprintf("no app sees it: an app looks for project/stack/%s, project/%s and shared/%s", name, name, name)
	case first != vault.Shared && !slices.Contains(s.projects(), first):
		return fmt.Sprintf("no app sees it as long as there is no project %q: for apps of every project it is %s/%s", first, vault.Shared, name)
	}
	return ""
}

// Search says which secrets are wanted.
type Search struct {
	op.Page
	Prefix string `json:"prefix,omitempty" jsonschema:"only names that begin so, such as shop/"`
}

// Info is a secret without its value.
type Info struct {
	Name    string    `json:"name" table:"1" jsonschema:"its name"`
	Version int       `json:"version" table:"1" jsonschema:"number of the version in force"`
	Changed time.Time `json:"changed" table:"1" unit:"time" jsonschema:"when that was stored"`
	Bytes   int       `json:"bytes" table:"2" unit:"bytes" jsonschema:"how long the value is"`
	Short   bool      `json:"short,omitempty" table:"3" jsonschema:"too short to be taken out of logs and answers"`
}

// defaultLimit is how many secrets a list has when nothing is said.
const defaultLimit = 100

// List gives the secrets by name. Faults: invalid (bad_cursor), unavailable (vault_sealed, vault_damaged).
func (s *Service) List(_ context.Context, in Search) (op.List[Info], error) {
	out := op.List[Info]{Items: []Info{}}
	if in.Cursor != "" && !name.Valid(in.Cursor) {
		return out, fault.New(fault.Invalid, "%q is no cursor of this list", in.Cursor).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
	}
	all, err := s.vault.List()
	if err != nil {
		return out, err
	}
	limit := in.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	for _, v := range all {
		if !strings.HasPrefix(v.Name, in.Prefix) || v.Name <= in.Cursor {
			continue
		}
		if len(out.Items) == limit {
			out.Truncated, out.NextCursor = true, out.Items[limit-1].Name
			break
		}
		out.Items = append(out.Items, Info{v.Name, v.Version, v.Created, v.Size, v.Size < redact.Shortest})
	}
	return out, nil
}

// Reference names a secret.
type Reference struct {
	Name string `json:"name" cli:"arg" complete:"secrets" jsonschema:"its name: shop/dev/x for one stack, shop/x for a project, shared/x for all"`
}

// Wanted is a version of a secret.
type Wanted struct {
	Reference
	Version int `json:"version,omitempty" min:"0" jsonschema:"a former version; default: the one in force"`
}

// Revealed is a secret with its value.
type Revealed struct {
	Name    string    `json:"name" jsonschema:"its name"`
	Version int       `json:"version" jsonschema:"number of the version"`
	Changed time.Time `json:"changed" unit:"time" jsonschema:"when it was stored"`
	Value   string    `json:"value" secret:"true" table:"1" jsonschema:"the value"`
}

// Get gives the value of a secret. Faults: not_found (secret_missing, version_missing), unavailable (vault_sealed,
// vault_damaged).
func (s *Service) Get(_ context.Context, in Wanted) (Revealed, error) {
	v, err := s.vault.Get(in.Name, in.Version)
	if err != nil {
		return Revealed{}, err
	}
	return Revealed{v.Name, v.Version, v.Created, string(v.Value)}, nil
}

// Value is what is to be stored.
type Value struct {
	Reference
	Value string `json:"value" secret:"true" jsonschema:"the value, as text"`
}

// Stored is what became of it.
type Stored struct {
	Name    string `json:"name" table:"1" jsonschema:"its name"`
	Version int    `json:"version" table:"1" jsonschema:"number of the version in force"`
	Changed bool   `json:"changed" table:"2" jsonschema:"false: the value was there already"`
	Warning string `json:"warning,omitempty" table:"2" jsonschema:"what is not as safe as it could be"`
}

// Set stores a value; the one that is there already changes nothing. Faults: invalid (bad_name, bad_value), limited
// (vault_full), unavailable (vault_sealed, vault_damaged), internal (state_not_durable).
func (s *Service) Set(_ context.Context, in Value) (Stored, error) {
	v, changed, err := s.vault.Set(in.Name, []byte(in.Value))
	if err != nil {
		return Stored{}, err
	}
	out := Stored{Name: v.Name, Version: v.Version, Changed: changed, Warning: s.unseen(v.Name)}
	if v.Size < redact.Shortest {
		out.Warning = fmt.Sprintf("it is shorter than %d bytes: it is not taken out of logs and answers that show it, because too much else would go with it", redact.Shortest)
	}
	if changed {
		s.tell("set", v.Name, fmt.Sprintf("version %d of the secret %s was stored", v.Version, v.Name))
	}
	return out, nil
}

// PlanSet says whether a version is added.
func (s *Service) PlanSet(_ context.Context, in Value) (*op.Plan, error) {
	if err := vault.Check(in.Name, []byte(in.Value)); err != nil {
		return nil, err
	}
	v, err := s.vault.Get(in.Name, 0)
	switch {
	case err != nil && !fault.Is(err, fault.NotFound):
		return nil, err
	case err != nil:
		return &op.Plan{Items: []op.Item{{Target: in.Name, To: "stored"}}}, nil
	case string(v.Value) == in.Value:
		return &op.Plan{Items: []op.Item{}}, nil
	}
	return &op.Plan{Items: []op.Item{{Target: in.Name, From: fmt.Sprintf("version %d", v.Version), To: "another value"}}}, nil
}

// Deleted is what was deleted.
type Deleted struct {
	Name    string `json:"name" table:"1" jsonschema:"its name"`
	Version int    `json:"version" table:"1" jsonschema:"number of the last version"`
}

// Delete ends a secret. Faults: not_found (secret_missing), unavailable (vault_sealed, vault_damaged), internal
// (state_not_durable).
func (s *Service) Delete(_ context.Context, in Reference) (Deleted, error) {
	v, err := s.vault.Delete(in.Name)
	if err != nil {
		return Deleted{}, err
	}
	s.tell("deleted", v.Name, "the secret "+v.Name+" was deleted")
	return Deleted{v.Name, v.Version}, nil
}

// PlanDelete names what would be gone.
func (s *Service) PlanDelete(_ context.Context, in Reference) (*op.Plan, error) {
	v, err := s.vault.Get(in.Name, 0)
	if err != nil {
		return nil, err
	}
	return &op.Plan{Items: []op.Item{{Target: v.Name, From: fmt.Sprintf("version %d", v.Version), To: "deleted"}}}, nil
}

// Version is one version of a secret.
type Version struct {
	Version int       `json:"version" table:"1" jsonschema:"its number"`
	Stored  time.Time `json:"stored" table:"1" unit:"time" jsonschema:"when it was stored"`
	Ended   time.Time `json:"ended,omitzero" table:"2" unit:"time" jsonschema:"when it was replaced or deleted; absent: it is in force"`
	Deleted bool      `json:"deleted,omitempty" table:"2" jsonschema:"whether the secret was deleted: then the value is given to nobody, and kept until no log can show it"`
	Bytes   int       `json:"bytes" table:"3" unit:"bytes" jsonschema:"how long the value is"`
}

// Versions gives what is kept of a secret, newest first. Faults: not_found (secret_missing), unavailable (vault_sealed,
// vault_damaged).
func (s *Service) Versions(_ context.Context, in Reference) (op.List[Version], error) {
	out := op.List[Version]{Items: []Version{}}
	all, err := s.vault.Versions(in.Name)
	if err != nil {
		return out, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		out.Items = append(out.Items, Version{all[i].Version, all[i].Created, all[i].Ended, all[i].Deleted, all[i].Size})
	}
	return out, nil
}

// Nothing is the input of methods that need none.
type Nothing struct{}

// Renewal is what a rotation has done.
type Renewal struct {
	At     time.Time `json:"at" table:"1" unit:"time" jsonschema:"when the keys were renewed"`
	Values int       `json:"values" table:"1" jsonschema:"how many values were sealed anew, former versions and the daemon's own keys too"`
	Kept   int       `json:"revisions" table:"1" jsonschema:"how many kept revisions were sealed anew, under a new key of their own"`
	Key    bool      `json:"key" table:"1" jsonschema:"whether the vault's own key was renewed too"`
	Note   string    `json:"note,omitempty" table:"2" jsonschema:"what is left to do by hand"`
}

// credentialNote says how a key that is not ours is renewed.
const credentialNote = "the vault's key is a credential of systemd: give a new one as its first line and the former as the second, restart the daemon, then take the former away"

// Rotate renews the keys: nothing that the daemon keeps opens with the former ones afterwards. What left it before does:
// backups, and what the disk has not written over. Faults: unavailable (vault_sealed, vault_damaged), internal
// (state_not_durable); everything stays readable then, and another rotation, or the next start, brings it to its end.
func (s *Service) Rotate(ctx context.Context, _ Nothing) (Renewal, error) {
	r, err := s.vault.Rotate()
	if err != nil {
		return Renewal{}, err
	}
	kept, err := s.revisions.Renew(ctx)
	if err != nil {
		return Renewal{}, err
	}
	out := Renewal{At: r.At, Values: r.Values, Kept: kept, Key: r.Key}
	if !r.Key {
		out.Note = credentialNote
	}
	s.tell("rotated", "", fmt.Sprintf("the vault's keys were renewed, and %d values and %d kept revisions sealed anew", r.Values, kept))
	return out, nil
}

// PlanRotate says that everything is sealed anew.
func (s *Service) PlanRotate(context.Context, Nothing) (*op.Plan, error) {
	if err := s.vault.Err(); err != nil {
		return nil, err
	}
	return &op.Plan{Items: []op.Item{{Target: "vault", From: "its keys", To: "new ones; every value and kept revision sealed anew"}}}, nil
}

func (s *Service) tell(kind, name, text string) {
	e := bus.Event{Topic: "secrets", Type: kind, Text: text}
	if name != "" {
		e.Data = map[string]any{"name": name}
	}
	s.bus.Publish(e)
}

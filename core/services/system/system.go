// Package system tells what the machine and the applications use.
package system

import (
	"context"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("system", "What the machine and the applications use.",
	op.Unary("snapshot", op.Viewer, op.Reads, (*Service).Snapshot, "Show CPU, memory and disk of the machine, and what each application uses.",
		op.Core(), op.Global(), op.Resource("omnitron://system", "system"), op.Keywords("cpu memory disk load usage host machine resources"), op.Shows("the machine now", `{}`)),
	op.Unary("processes", op.Viewer, op.Reads, (*Service).Processes, "Show CPU, memory, descriptors and threads of each instance.",
		op.Keywords("top cpu memory fds threads rss usage"), op.Shows("of one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
)

// Nothing is an empty input.
type Nothing struct{}

// Service implements Methods.
type Service struct {
	home    string
	sup     *supervisor.Supervisor
	samples *sample.Sampler
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{h.Home, h.Supervisor, h.Samples}, nil }

// Snapshot is the machine and what the apps use of it.
type Snapshot struct {
	Hostname  string  `json:"hostname" jsonschema:"name of the machine"`
	Kernel    string  `json:"kernel" jsonschema:"release of the kernel"`
	Uptime    int64   `json:"uptime_s" unit:"s" jsonschema:"seconds since the machine was started"`
	CPUs      int     `json:"cpus" jsonschema:"processors"`
	Load1     float64 `json:"load_1m" jsonschema:"load over one minute"`
	Load5     float64 `json:"load_5m" jsonschema:"load over five minutes"`
	Load15    float64 `json:"load_15m" jsonschema:"load over fifteen minutes"`
	MemTotal  int64   `json:"mem_total_bytes" unit:"bytes" jsonschema:"memory"`
	MemFree   int64   `json:"mem_available_bytes" unit:"bytes" jsonschema:"memory that can be had without swapping"`
	DiskTotal int64   `json:"disk_total_bytes" unit:"bytes" jsonschema:"size of the file system that the home is on"`
	DiskFree  int64   `json:"disk_free_bytes" unit:"bytes" jsonschema:"what is free of it"`
	Apps      []Usage `json:"apps" jsonschema:"what each app uses, the hungriest first"`
}

// Usage is what an app uses.
type Usage struct {
	Key       string  `json:"key" table:"1" jsonschema:"project/stack/app"`
	CPU       float64 `json:"cpu_percent" table:"1" unit:"percent" jsonschema:"CPU since the sample before; 100 is one core"`
	RSS       int64   `json:"rss_bytes" table:"1" unit:"bytes" jsonschema:"resident memory"`
	FDs       int     `json:"fds" table:"2" jsonschema:"open descriptors"`
	Threads   int     `json:"threads" table:"3" jsonschema:"threads"`
	Processes int     `json:"processes" table:"2" jsonschema:"processes"`
}

// Snapshot tells about the machine and the apps.
func (s *Service) Snapshot(context.Context, Nothing) (Snapshot, error) {
	m, err := s.samples.Machine(s.home)
	if err != nil {
		return Snapshot{}, err
	}
	out := Snapshot{Hostname: m.Hostname, Kernel: m.Kernel, Uptime: int64(m.Uptime / time.Second), CPUs: m.CPUs, Load1: m.Load[0], Load5: m.Load[1], Load15: m.Load[2],
		MemTotal: m.MemTotal, MemFree: m.MemAvailable, DiskTotal: m.DiskTotal, DiskFree: m.DiskFree, Apps: []Usage{}}
	s.sup.Resample(s.samples)
	for _, v := range s.sup.Apps() {
		u := Usage{Key: v.Key}
		for _, i := range v.Instances {
			if got, ok := s.samples.Latest(naming.Instance(v.Key, i.Process, i.Number)); ok {
				u.CPU, u.RSS, u.FDs, u.Threads, u.Processes = u.CPU+got.CPU, u.RSS+got.RSS, u.FDs+got.FDs, u.Threads+got.Threads, u.Processes+got.Processes
			}
		}
		if u.Processes > 0 {
			out.Apps = append(out.Apps, u)
		}
	}
	slices.SortStableFunc(out.Apps, func(a, b Usage) int { return int(b.RSS>>10 - a.RSS>>10) })
	return out, nil
}

// Instance is what an instance uses.
type Instance struct {
	Slot      string    `json:"slot" table:"1" jsonschema:"app:process#n"`
	Key       string    `json:"key" table:"4" jsonschema:"project/stack/app"`
	PID       int       `json:"pid" table:"1" jsonschema:"process id of its main process"`
	CPU       float64   `json:"cpu_percent" table:"1" unit:"percent" jsonschema:"CPU since the sample before; 100 is one core"`
	CPUTime   int64     `json:"cpu_ms" table:"3" unit:"ms" jsonschema:"CPU time of its living processes, in milliseconds"`
	RSS       int64     `json:"rss_bytes" table:"1" unit:"bytes" jsonschema:"resident memory"`
	FDs       int       `json:"fds" table:"2" jsonschema:"open descriptors"`
	Threads   int       `json:"threads" table:"3" jsonschema:"threads"`
	Processes int       `json:"processes" table:"2" jsonschema:"processes"`
	At        time.Time `json:"at" table:"5" unit:"time" jsonschema:"when it was sampled"`
}

// Processes tells what each instance uses. Faults: not_found.
func (s *Service) Processes(ctx context.Context, _ op.Selection) (op.List[Instance], error) {
	s.sup.Resample(s.samples)
	out := op.List[Instance]{Items: []Instance{}}
	for _, t := range op.TargetsOf(ctx) {
		v := s.sup.App(t.Key)
		if v == nil {
			continue
		}
		for _, i := range v.Instances {
			if i.PID == 0 || !slices.Contains(t.Slots, i.Slot) {
				continue
			}
			in := Instance{Slot: i.Slot, Key: v.Key, PID: i.PID}
			if u, ok := s.samples.Latest(naming.Instance(v.Key, i.Process, i.Number)); ok {
				in.CPU, in.CPUTime, in.RSS, in.FDs, in.Threads, in.Processes, in.At = u.CPU, u.CPUTime.Milliseconds(), u.RSS, u.FDs, u.Threads, u.Processes, u.At
			}
			out.Items = append(out.Items, in)
		}
	}
	out.Total = len(out.Items)
	return out, nil
}

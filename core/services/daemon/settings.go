package daemon

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/setting"
)

// Settings are the daemon's settings with every default filled in.
type Settings struct {
	File  string    `json:"file" jsonschema:"where they are changed; the file need not exist"`
	Items []Setting `json:"items" table:"1" jsonschema:"every setting"`
}

// Setting is one of them.
type Setting struct {
	Key   string `json:"key" table:"1" jsonschema:"its place in config.yaml"`
	Value string `json:"value" table:"1" jsonschema:"its value"`
}

// Config gives the settings as they are resolved.
func (s *Service) Config(context.Context, Nothing) (Settings, error) {
	out := Settings{File: s.home + "/config.yaml", Items: []Setting{}}
	walk(reflect.ValueOf(*s.settings.Get()), "", &out.Items)
	return out, nil
}

// walk lists the leaves of the settings by their keys.
func walk(v reflect.Value, prefix string, out *[]Setting) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		switch d := f.Interface().(type) {
		case time.Duration:
			*out = append(*out, Setting{prefix + name, d.String()})
		case []setting.Rule:
			for _, r := range d {
				*out = append(*out, Setting{prefix + name + "." + r.Name, r.String()})
			}
		default:
			if f.Kind() == reflect.Struct {
				walk(f, prefix+name+".", out)
				continue
			}
			*out = append(*out, Setting{prefix + name, fmt.Sprint(d)})
		}
	}
}

package op

// ProjectRef is a project's name, or the absolute path of the folder that its file lies in (what the command line
// sends when no name was given).
type ProjectRef string

// StackRef is a stack's name.
type StackRef string

// Selection is the part of an input that names any number of targets.
type Selection struct {
	Names   []Selector `json:"names,omitempty" cli:"args" complete:"apps" jsonschema:"apps, app:process or app:process#2; globs work; none means every app of the project"`
	Project ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project; default: the only one"`
	Stack   StackRef   `json:"stack,omitempty" jsonschema:"stack; default: dev, else the only one"`
}

// One is the part of an input that names one target.
type One struct {
	Name    Selector   `json:"name" cli:"arg" complete:"apps" jsonschema:"app, app:process or app:process#2"`
	Project ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project; default: the only one"`
	Stack   StackRef   `json:"stack,omitempty" jsonschema:"stack; default: dev, else the only one"`
}

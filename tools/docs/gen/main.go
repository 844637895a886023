// Command gen writes the reference pages into the folder that it is given.
package main

import (
	"fmt"
	"os"

	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/docs"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: gen FOLDER")
	}
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		return err
	}
	return docs.Write(args[0], methods)
}

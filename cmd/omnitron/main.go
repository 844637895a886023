// Command omnitron runs programs and keeps them running: the daemon, its command line and its MCP bridge in one binary.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/cmd/daemon"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/keeper"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// version is set by the build.
var version = "dev"

// packaging writes what belongs into a package; only a build for that has it.
var packaging func(dir string) error

func main() {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "omnitron-keeper") {
		os.Exit(keeperMain())
	}
	if len(os.Args) > 2 && os.Args[1] == "daemon" && os.Args[2] == "serve" {
		os.Exit(serveMain(os.Args[3:]))
	}
	if packaging != nil && len(os.Args) == 3 && os.Args[1] == "packaging" {
		if err := packaging(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(cli.Main(context.Background(), catalog.Specs(), environment(), os.Args[1:]))
}

// serveMain is what the keeper starts: `daemon serve --home H`. It is not for people.
func serveMain(args []string) int {
	home := config.Home(os.Getenv)
	if len(args) == 2 && args[0] == "--home" {
		home = args[1]
	}
	if home == "" {
		fmt.Fprintln(os.Stderr, "daemon serve: there is no home: set HOME or OMNITRON_HOME")
		return daemon.ExitKeep
	}
	return daemon.Serve(home, version)
}

// keeperMain is the keeper when this program was built without one of its own: the same program under another name.
func keeperMain() int { return keeper.Main(os.Args, version) }

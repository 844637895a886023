// Command omnitron-keeper is the small process that outlives daemons. The build embeds it into omnitron.
package main

import (
	"os"

	"github.com/omnitron-dev/omnitron/core/keeper"
)

// version is set by the build.
var version = "dev"

func main() { os.Exit(keeper.Main(os.Args, version)) }

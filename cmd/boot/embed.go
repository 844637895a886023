//go:build embedkeeper

package boot

import _ "embed"

// embeddedKeeper is the keeper's program, built before this one.
//
//go:embed keeper.bin
var embeddedKeeper []byte

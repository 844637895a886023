//go:build !embedkeeper

package boot

// embeddedKeeper is empty in a plain `go build`: the program is then its own keeper, at the price of its size.
var embeddedKeeper []byte

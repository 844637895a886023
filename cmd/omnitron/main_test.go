package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// extended is the name under which the test binary is omnitron with one service more.
const extended = "omnitron-extended"

// TestMain makes the test binary omnitron itself, keeper and daemon included, when it runs under another name.
func TestMain(m *testing.M) {
	if exe, err := os.Executable(); err == nil && filepath.Base(exe) == extended {
		catalog.Services = append(catalog.Services, moons{})
		main()
	}
	os.Exit(m.Run())
}

package store_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

func TestStoreContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database { return storetest.New(t) })
}

func TestFaultyContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database { return faulty.Wrap(storetest.New(t)) })
}

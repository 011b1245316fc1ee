//go:build unix

package app

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/33god/bloodbank/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testenv.Main(m)) }

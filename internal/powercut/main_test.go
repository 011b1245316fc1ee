package powercut

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	cutsFlag = flag.Int("powercut.cuts", 0, "how many cuts TestPowerCuts makes, about; 0: POWERCUT_CUTS, else 2000")
	seedFlag = flag.Uint64("powercut.seed", 0, "seed of all that is random here; 0: another one each time")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}

// prepare hands the number of cuts and the seed to rapid, which has flags of its own.
func prepare() error {
	cuts := *cutsFlag
	if text := os.Getenv("POWERCUT_CUTS"); cuts == 0 && text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("POWERCUT_CUTS: %w", err)
		}
		cuts = n
	}
	if cuts == 0 {
		cuts = 2000
	}
	if *seedFlag == 0 {
		*seedFlag = uint64(time.Now().UnixNano()) >> 10
	}
	if flag.Lookup("rapid.seed").Value.String() == "0" {
		if err := flag.Set("rapid.seed", strconv.FormatUint(*seedFlag, 10)); err != nil {
			return err
		}
	}
	return flag.Set("rapid.checks", strconv.Itoa(max(1, cuts/cutsPerPlan)))
}

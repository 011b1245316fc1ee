package powercut

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPowerCuts is the machine: random plans, each with its cuts, until there were as many as asked for.
func TestPowerCuts(t *testing.T) {
	cuts, kills, plans, begin := 0, 0, 0, time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		w, err := inBubble(t, p.setup(), p.Seed, p.run)
		if err != nil {
			rt.Fatal(err)
		}
		cuts, kills, plans = cuts+w.cuts, kills+w.kills, plans+1
	})
	t.Logf("%d power cuts and %d kills in %d plans, %.1f s, -powercut.seed=%d", cuts, kills, plans, time.Since(begin).Seconds(), *seedFlag)
}

// TestRedriveOnABusThatCanLose sends a dead letter again, long after the log has forgotten its record, and cuts the power
// before the bus has synced it.
func TestRedriveOnABusThatCanLose(t *testing.T) {
	t.Parallel()
	_, err := inBubble(t, setup{safeDelay: 2 * time.Second, parked: 1000}, 1, func(w *world) {
		step{Do: "poison", Acts: []action{reject}}.run(w)
		for range 4 {
			step{Do: "batch", Keys: make([]string, 8), Pick: 399}.run(w)
			step{Do: "wait", Time: 3 * time.Second}.run(w)
		}
		step{Do: "redrive"}.run(w)
		w.strike(blow{sector: 512})
		step{Do: "nothing"}.run(w)
		w.comeRight()
	})
	if err != nil {
		t.Fatal(err)
	}
}

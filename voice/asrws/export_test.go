package asrws

import "time"

// HurrySending makes the door's patience with clients that do not read short. Call it,
// and HurryPinging for those that are silent, before the door serves.
func (d *Door) HurrySending(patience time.Duration) { d.times.sendWithin = patience }

// HurryPinging: see HurrySending.
func (d *Door) HurryPinging(patience time.Duration) {
	d.times.pingAfter, d.times.pingWithin = patience, patience
}

// MaxLines is how many lines a client is shown.
const MaxLines = maxLines

package correlation

import "github.com/33god/bloodbank"

// Position is how far somebody has followed a store. The zero value is its
// beginning. The event tells a store from another that has come as far.
type Position struct {
	Sequence int64
	Event    bloodbank.EventID
}

// Kept is the outcome of keeping the links of events outside of the store.
type Kept struct {
	// Position is what is noted now. It is not the one that was to be noted where
	// somebody else has moved it meanwhile, or where everything was lost.
	Position Position
	// Written counts links that were not there before.
	Written int
}

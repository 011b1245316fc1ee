package schema

import (
	"maps"
	"slices"

	"github.com/33god/bloodbank"
)

// nearest finds the known type that t is probably a slip of.
func (r *Registry) nearest(t bloodbank.EventType) (bloodbank.EventType, bool) {
	const maxSlips = 3
	best, found := maxSlips+1, bloodbank.EventType("")
	for _, known := range slices.Sorted(maps.Keys(r.entries)) {
		if d := slips(string(t), string(known)); d < best {
			best, found = d, known
		}
	}
	return found, best <= maxSlips && best*4 <= len(t)
}

// slips is the edit distance of two names.
func slips(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package audio

import "slices"

// floor follows the noise level: a low quantile of the last frames. Speech is loud
// only part of the time, so its gaps keep the quantile down; a fan that starts
// lifts it within the window's length.
type floor struct {
	ring   []float64 // frames in order of arrival
	sorted []float64 // the same, ascending
	next   int
}

const floorQuantile = 0.1

func newFloor(frames int) floor {
	return floor{ring: make([]float64, 0, frames), sorted: make([]float64, 0, frames)}
}

func (f *floor) add(level float64) {
	if len(f.ring) < cap(f.ring) {
		f.ring = append(f.ring, level)
	} else {
		at, _ := slices.BinarySearch(f.sorted, f.ring[f.next])
		f.sorted = slices.Delete(f.sorted, at, at+1)
		f.ring[f.next] = level
		f.next = (f.next + 1) % len(f.ring)
	}
	at, _ := slices.BinarySearch(f.sorted, level)
	f.sorted = slices.Insert(f.sorted, at, level)
}

func (f *floor) level() float64 {
	if len(f.sorted) == 0 {
		return silence
	}
	return f.sorted[int(floorQuantile*float64(len(f.sorted)))]
}

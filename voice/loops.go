package voice

import (
	"slices"
	"strings"
)

// Some recognisers fall into a loop on noise and say the same phrase again and again.
// A phrase of at least loopWords words is taken for such a loop where it comes
// loopTimes in a row, and a shorter one, since people do say "no no no", stammerTimes.
const (
	loopWords    = 3
	loopTimes    = 4
	stammerTimes = 8
	loopLongest  = 12 // words of a phrase
)

// unloop leaves one of the repetitions of a loop.
func unloop(text string) string {
	words := strings.Fields(text)
	if len(words) < stammerTimes {
		return text
	}
	cut := false
	for i := 0; i < len(words); i++ {
		for n := 1; n <= min(loopLongest, (len(words)-i)/loopTimes); n++ {
			least := stammerTimes
			if n >= loopWords {
				least = loopTimes
			}
			if times := repeats(words[i:], n); times >= least {
				words = slices.Delete(words, i+n, i+n*times)
				cut = true
				break
			}
		}
	}
	if !cut {
		return text
	}
	return strings.Join(words, " ")
}

// repeats counts how often the first n words come in a row, whatever their case.
func repeats(words []string, n int) int {
	times := 1
	for at := n; at+n <= len(words) && slices.EqualFunc(words[:n], words[at:at+n], strings.EqualFold); at += n {
		times++
	}
	return times
}

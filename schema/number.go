package schema

import (
	"encoding/json"
	"strconv"
	"strings"
)

const (
	// tameLength is the longest number that goes to the reference as it is.
	tameLength = 64
	// tameExponent is the greatest power of ten that goes there; float64 ends
	// well below it.
	tameExponent = 400
)

// tame replaces a number whose exact value would cost too much to compute (the
// reference works with big rationals, and fails altogether beyond 1e1000000) by
// one that lies on the same side of every bound a schema may sanely have, and
// that is whole exactly when the number is.
func tame(n json.Number) json.Number {
	s := string(n)
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		mantissa = s[:i]
		exponent, err = strconv.Atoi(s[i+1:])
		if err != nil { // too many digits for an int: as good as infinite
			exponent = 1 << 40
			if s[i+1] == '-' {
				exponent = -exponent
			}
		}
	}
	if len(s) <= tameLength && -tameExponent <= exponent && exponent <= tameExponent {
		return n
	}
	sign := ""
	if strings.HasPrefix(mantissa, "-") {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := strings.TrimLeft(whole+fraction, "0")
	// The value is 0.all × 10^point.
	point := len(all) - len(fraction) + exponent
	all = strings.TrimRight(all, "0")
	if all == "" {
		return "0"
	}
	integral := len(all) <= point
	point = min(max(point, -tameExponent), tameExponent)
	all = all[:min(len(all), 20)]
	if integral || point <= len(all) {
		return json.Number(sign + "0." + all + "e" + strconv.Itoa(point))
	}
	// Large and not whole: keep the size, and a fraction.
	return json.Number(sign + all + strings.Repeat("0", point-len(all)) + ".5")
}

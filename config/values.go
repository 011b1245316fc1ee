package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// field reads and writes one setting as text.
type field struct {
	set func(string) error
	get func() string
}

func text(p *string) field {
	return field{func(s string) error { *p = s; return nil }, func() string { return *p }}
}

func number(p *int) field {
	return field{func(s string) (err error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return errors.New("is not a whole number")
		}
		*p = n
		return nil
	}, func() string { return strconv.Itoa(*p) }}
}

func truth(p *bool) field {
	return field{func(s string) error {
		switch strings.ToLower(s) {
		case "true", "yes", "on", "1":
			*p = true
		case "false", "no", "off", "0":
			*p = false
		default:
			return errors.New("is neither true nor false")
		}
		return nil
	}, func() string { return strconv.FormatBool(*p) }}
}

// words is a list separated by commas.
func words(p *[]string) field {
	return field{func(s string) error {
		*p = nil
		for w := range strings.SplitSeq(s, ",") {
			if w = strings.TrimSpace(w); w != "" {
				*p = append(*p, w)
			}
		}
		return nil
	}, func() string { return strings.Join(*p, ",") }}
}

func level(p *slog.Level) field {
	return field{func(s string) error {
		var l slog.Level
		switch strings.ToLower(s) {
		case "debug":
			l = slog.LevelDebug
		case "info":
			l = slog.LevelInfo
		case "warn", "warning":
			l = slog.LevelWarn
		case "error":
			l = slog.LevelError
		default:
			return errors.New("is no level; use debug, info, warn or error")
		}
		*p = l
		return nil
	}, func() string { return strings.ToLower(p.String()) }}
}

func duration(p *time.Duration) field {
	return field{func(s string) error {
		d, err := parseDuration(s)
		if err == nil {
			*p = d
		}
		return err
	}, func() string { return formatDuration(*p) }}
}

const day = 24 * time.Hour

// parseDuration reads Go's form (1h30m, 250ms) and whole days (7d); 0 needs no
// unit.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 64); err == nil && n >= 0 && n <= int64(math.MaxInt64/day) {
			return time.Duration(n) * day, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("is no time; use a number with a unit, such as 250ms, 30s, 1h30m or 7d")
	}
	return d, nil
}

func formatDuration(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of bytes. Its text has a unit: KiB, MiB, GiB, TiB (powers of
// 1024), kB, MB, GB, TB (powers of 1000), B or none for bytes.
type Size int64

// ParseSize reads a size. Units are read in any case; "64 MiB" and "64M" are
// 64 MiB as well.
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "BKMGTIbkmgti ")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, ok := sizeUnit(strings.ToLower(strings.TrimSpace(s[len(digits):])))
	if err != nil || !ok || n < 0 || n > math.MaxInt64/unit {
		return 0, errors.New("is no size; use a number with a unit, such as 512KiB, 64MiB or 2GiB")
	}
	return Size(n * unit), nil
}

func sizeUnit(s string) (int64, bool) {
	switch s {
	case "", "b":
		return 1, true
	case "k", "ki", "kib":
		return 1 << 10, true
	case "m", "mi", "mib":
		return 1 << 20, true
	case "g", "gi", "gib":
		return 1 << 30, true
	case "t", "ti", "tib":
		return 1 << 40, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	}
	return 0, false
}

// String returns the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		bytes Size
		name  string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if s != 0 && s%u.bytes == 0 {
			return fmt.Sprintf("%d%s", s/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

func size(p *Size) field {
	return field{func(s string) error {
		n, err := ParseSize(s)
		if err == nil {
			*p = n
		}
		return err
	}, func() string { return p.String() }}
}

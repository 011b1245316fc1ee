package schema

import "testing"

func TestDateTime(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"2026-01-27T10:00:00Z": true, "2026-01-27t10:00:00z": true, "2026-01-27T10:00:00.1Z": true,
		"2026-01-27T10:00:00.123456789012Z": true, "2026-01-27T10:00:00+23:59": true, "2026-01-27T10:00:00-00:00": true,
		"2024-02-29T00:00:00Z": true, "2000-02-29T00:00:00Z": true, "0000-01-01T00:00:00Z": true, "9999-12-31T23:59:59Z": true,
		"2016-12-31T23:59:60Z": true, "2017-01-01T00:59:60+01:00": true, "2016-12-31T18:29:60.5-05:30": true,
		"2016-12-31T22:59:60Z": false, "2016-12-31T23:59:60+01:00": false, "2026-01-27T10:00:61Z": false,
		"1900-02-29T00:00:00Z": false, "2026-02-29T10:00:00Z": false, "2026-04-31T10:00:00Z": false, "2026-00-10T10:00:00Z": false,
		"2026-01-00T10:00:00Z": false, "2026-01-32T10:00:00Z": false, "2026-01-27T24:00:00Z": false, "2026-01-27T10:60:00Z": false,
		"2026-01-27T10:00:00": false, "2026-01-27 10:00:00Z": false, "2026-01-27T10:00Z": false, "2026-01-27T10:00:00.Z": false,
		"2026-01-27T10:00:00,5Z": false, "2026-01-27T10:00:00+24:00": false, "2026-01-27T10:00:00+01:60": false,
		"2026-01-27T10:00:00+0100": false, "2026-01-27T10:00:00+01": false, "2026-01-27T10:00:00+01:0x": false,
		"2026-01-27T10:00:00Z\n": false, "2026-01-27T10:00:00ZZ": false, " 2026-01-27T10:00:00Z": false, "+026-01-27T10:00:00Z": false,
		"２026-01-27T10:00:00Z": false, "": false, "Z": false, "2026-01-27": false,
	} {
		if isDateTime(s) != want || isDateTime([]byte(s)) != want {
			t.Errorf("date-time %q: want %v", s, want)
		}
	}
}

func TestLocalDateTime(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"2026-01-27T10:00:00": true, "2026-01-27t10:00:00.5": true, "2026-01-27T10:00:00Z": false, "2026-01-27T10:00:00.": false,
		"2026-01-27T10:00:60": false, "2026-02-30T10:00:00": false, "2026-01-27T10:00:00\n": false, "": false,
	} {
		if isLocalDateTime(s) != want || isLocalDateTime([]byte(s)) != want {
			t.Errorf("date-time-local %q: want %v", s, want)
		}
	}
}

func TestUUID(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"550e8400-e29b-41d4-a716-446655440000": true, "550E8400-E29B-41D4-A716-446655440000": true, "00000000-0000-0000-0000-000000000000": true,
		"550e8400e29b41d4a716446655440000": false, "{550e8400-e29b-41d4-a716-446655440000}": false, "550e8400-e29b-41d4-a716-44665544000": false,
		"550e8400-e29b-41d4-a716-4466554400000": false, "550e8400-e29b-41d4-a716-44665544000g": false, "550e8400_e29b-41d4-a716-446655440000": false,
		"-50e8400-e29b-41d4-a716-446655440000": false, "550e8400-e29b-41d4-a716-44665544000é": false, "": false,
	} {
		if isUUID(s) != want || isUUID([]byte(s)) != want {
			t.Errorf("uuid %q: want %v", s, want)
		}
	}
}

package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/segment"
	"github.com/33god/bloodbank/wal/vfs"
)

// disk is a log's folder that a test damages.
type disk struct {
	t *testing.T
	m *vfs.Mem
}

func (d disk) read(name string) []byte {
	d.t.Helper()
	data, err := vfs.ReadFile(d.m, "/log/"+name)
	if err != nil {
		d.t.Fatal(err)
	}
	return data
}

func (d disk) write(name string, data []byte) {
	d.t.Helper()
	if err := vfs.WriteFile(d.m, "/log/"+name, data); err != nil {
		d.t.Fatal(err)
	}
}

func (d disk) edit(name string, change func([]byte) []byte) { d.write(name, change(d.read(name))) }

func (d disk) remove(name string) {
	d.t.Helper()
	if err := d.m.Remove("/log/" + name); err != nil {
		d.t.Fatal(err)
	}
}

// segments lists the files with records, then those without.
func (d disk) segments() (used, blank []string) {
	d.t.Helper()
	report, err := wal.Inspect(d.t.Context(), d.m, "/log")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, s := range report.Segments {
		if s.State == wal.StateSpare {
			blank = append(blank, s.File)
		} else {
			used = append(used, s.File)
		}
	}
	return used, blank
}

// at returns where the line of a record begins and ends, newline included.
func at(t *testing.T, data []byte, seq int) (int, int) {
	t.Helper()
	begin := bytes.Index(data, fmt.Appendf(nil, `{"seq":%d,`, seq))
	if begin < 0 {
		t.Fatalf("record %d is not in this segment", seq)
	}
	return begin, begin + bytes.IndexByte(data[begin:], '\n') + 1
}

func recordLine(seq uint64, event string) []byte {
	return segment.AppendRecord(nil, seq, []byte(event), segment.Sum([]byte(event)))
}

// sixty makes a log of records 1 to 60 in several segments of 4096 bytes.
func sixty(t *testing.T) (disk, *ledger) {
	t.Helper()
	d, g := disk{t, vfs.NewMem()}, newLedger()
	l := mustOpen(t, memOptions(d.m))
	settled(t, l)
	for i := 1; i <= 60; i++ {
		if err := g.append(t.Context(), t, l, fmt.Sprintf(`{"n":%d,"pad":"%0200d"}`, i, i)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			settled(t, l)
		}
	}
	mustClose(t, l)
	if used, blank := d.segments(); len(used) < 4 || len(blank) == 0 {
		t.Fatalf("segments %v, blank %v", used, blank)
	}
	return d, g
}

type recoveryCase struct {
	name   string
	damage func(d disk, used, blank []string)
	lost   []uint64         // acknowledged records that are gone
	faults []wal.FaultKind  // what Status must list
	cut    bool             // a torn tail was cut
	kept   bool             // something is in the quarantine
	opens  func(error) bool // nil: it opens
}

func tail(_ disk, used []string) string { return used[len(used)-1] }

// end is the offset after the last line that is not blank.
func end(data []byte) int { return len(bytes.TrimRight(data, "\n")) + 1 }

// tailCases damage the end of the newest segment: what a power cut can do.
func tailCases() []recoveryCase {
	return []recoveryCase{
		{name: "nothing wrong", damage: func(disk, []string, []string) {}},
		{name: "cut after write: half a line at the end", cut: true, kept: true, faults: []wal.FaultKind{wal.FaultTorn},
			damage: func(d disk, used, _ []string) {
				d.edit(tail(d, used), func(b []byte) []byte { copy(b[end(b):], recordLine(61, `{"half":true}`)[:20]); return b })
			}},
		{name: "whole record at the end without its newline", cut: true, kept: true, faults: []wal.FaultKind{wal.FaultTorn},
			damage: func(d disk, used, _ []string) {
				d.edit(tail(d, used), func(b []byte) []byte {
					line := recordLine(61, `{"whole":true}`)
					return append(b[:end(b)], line[:len(line)-1]...)
				})
			}},
		{name: "zeros at the end, as some file systems leave", cut: true, kept: true, faults: []wal.FaultKind{wal.FaultTorn},
			damage: func(d disk, used, _ []string) {
				d.edit(tail(d, used), func(b []byte) []byte { return append(b[:end(b)], make([]byte, 600)...) })
			}},
		{name: "garbage at the end", cut: true, kept: true, faults: []wal.FaultKind{wal.FaultTorn},
			damage: func(d disk, used, _ []string) {
				d.edit(tail(d, used), func(b []byte) []byte { return append(b, "garbage\nand more\n"...) })
			}},
		{name: "stale tail of a recycled file", cut: true, kept: true, faults: []wal.FaultKind{wal.FaultTorn},
			damage: func(d disk, used, _ []string) {
				d.edit(tail(d, used), func(b []byte) []byte { copy(b[end(b):], recordLine(7, `{"old":true}`)); return b })
			}},
		{name: "duplicate of the last sequence", cut: true, kept: true, faults: []wal.FaultKind{wal.FaultTorn},
			damage: func(d disk, used, _ []string) {
				d.edit(tail(d, used), func(b []byte) []byte { copy(b[end(b):], recordLine(60, `{"again":true}`)); return b })
			}},
	}
}

// middleCases damage records that have good ones after them.
func middleCases() []recoveryCase {
	return []recoveryCase{
		{name: "duplicate in the middle", kept: true, faults: []wal.FaultKind{wal.FaultDamage},
			damage: func(d disk, used, _ []string) {
				d.edit(used[0], func(b []byte) []byte {
					_, to := at(d.t, b, 3)
					return slices.Concat(b[:to], recordLine(3, `{"again":true}`), b[to:])
				})
			}},
		{name: "bit flip in the middle of the first segment", lost: []uint64{2}, kept: true, faults: []wal.FaultKind{wal.FaultDamage},
			damage: func(d disk, used, _ []string) {
				d.edit(used[0], func(b []byte) []byte { from, _ := at(d.t, b, 2); b[from+60] ^= 4; return b })
			}},
		{name: "two neighbours damaged", lost: []uint64{3, 4}, kept: true, faults: []wal.FaultKind{wal.FaultDamage},
			damage: func(d disk, used, _ []string) {
				d.edit(used[0], func(b []byte) []byte {
					from, _ := at(d.t, b, 3)
					_, to := at(d.t, b, 4)
					copy(b[from+10:to-10], bytes.Repeat([]byte{0}, to-from-20))
					return b
				})
			}},
		{name: "bit flip in the newest segment", lost: []uint64{58}, kept: true, faults: []wal.FaultKind{wal.FaultDamage},
			damage: func(d disk, used, _ []string) {
				d.edit(tail(d, used), func(b []byte) []byte { from, _ := at(d.t, b, 58); b[from+60] ^= 4; return b })
			}},
		{name: "bit flip in the newline between two records", kept: true, faults: []wal.FaultKind{wal.FaultDamage},
			damage: func(d disk, used, _ []string) {
				d.edit(used[0], func(b []byte) []byte { _, to := at(d.t, b, 2); b[to-1] ^= 1; return b })
			}},
		{name: "a record blanked out", lost: []uint64{2}, faults: []wal.FaultKind{wal.FaultMissing},
			damage: func(d disk, used, _ []string) {
				d.edit(used[0], func(b []byte) []byte {
					from, to := at(d.t, b, 2)
					copy(b[from:to], strings.Repeat("\n", to-from))
					return b
				})
			}},
		{name: "header damaged", kept: true, faults: []wal.FaultKind{wal.FaultDamage},
			damage: func(d disk, used, _ []string) {
				d.edit(used[1], func(b []byte) []byte { b[20] ^= 1; return b })
			}},
	}
}

// fileCases damage whole segments, and what lies beside them.
func fileCases() []recoveryCase {
	return []recoveryCase{
		{name: "torn header in a new segment", cut: true, kept: true, faults: []wal.FaultKind{wal.FaultTorn},
			damage: func(d disk, _, blank []string) {
				d.edit(blank[0], func(b []byte) []byte { copy(b, `{"wal":1,"fir`); return b })
			}},
		{name: "header without records in a new segment",
			damage: func(d disk, _, blank []string) {
				d.edit(blank[0], func(b []byte) []byte {
					copy(b, segment.AppendHeader(nil, segment.Header{First: 61, Created: time.Unix(9, 0)}))
					return b
				})
			}},
		{name: "zero-length file at the end", damage: func(d disk, _, _ []string) { d.write("0000000000000099.jsonl", nil) }},
		{name: "zero-length file in the middle", lost: []uint64{17, 18, 19}, faults: []wal.FaultKind{wal.FaultMissing},
			damage: func(d disk, used, _ []string) { d.write(used[1], nil) }},
		{name: "missing segment in the middle", lost: []uint64{17, 18, 19}, faults: []wal.FaultKind{wal.FaultMissing},
			damage: func(d disk, used, _ []string) { d.remove(used[1]) }},
		{name: "old segment back under a new name", kept: true, faults: []wal.FaultKind{wal.FaultStale},
			damage: func(d disk, used, _ []string) { d.write("0000000000000099.jsonl", d.read(used[0])) }},
		{name: "half-made files of a dead process",
			damage: func(d disk, _, _ []string) {
				d.write("spare.tmp", []byte("\n\n"))
				d.write("recycle.tmp", []byte("whatever"))
				d.write("cursors/x.json.tmp", []byte("{"))
			}},
		{name: "failed batch written again later", kept: true, faults: []wal.FaultKind{wal.FaultSuperseded},
			damage: func(d disk, used, blank []string) {
				d.edit(used[0], func(b []byte) []byte {
					b = append(b, recordLine(nextSegment(d, used[1]), `{"failed":1}`)...)
					return append(b, recordLine(nextSegment(d, used[1])+1, `{"failed":2}`)...)
				})
			}},
		{name: "too new", opens: func(err error) bool { return errors.Is(err, wal.ErrVersion) && strings.Contains(err.Error(), "newer") },
			damage: func(d disk, used, _ []string) {
				d.edit(used[2], func(b []byte) []byte {
					i := bytes.IndexByte(b, '\n')
					body := bytes.Replace(b[:bytes.Index(b, []byte(`,"crc"`))], []byte(`{"wal":1`), []byte(`{"wal":2`), 1)
					return slices.Concat(body, fmt.Appendf(nil, `,"crc":"%08x"}`, segment.Sum(body)), b[i:])
				})
			}},
		{name: "foreign files are left alone",
			damage: func(d disk, _, _ []string) { d.write("notes.txt", []byte("hello")); d.write("7.jsonl", []byte("{}")) }},
		{name: "cursor file damaged", faults: []wal.FaultKind{wal.FaultCursor},
			damage: func(d disk, _, _ []string) {
				d.write("cursors/dispatch.json", []byte(`{"name":"dispatch","position":9`))
			}},
	}
}

// nextSegment is the first sequence of a segment.
func nextSegment(d disk, name string) uint64 {
	h, err := segment.ParseHeader(bytes.SplitN(d.read(name), []byte("\n"), 2)[0])
	if err != nil {
		d.t.Fatal(err)
	}
	return h.First
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, tc := range slices.Concat(tailCases(), middleCases(), fileCases()) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, g := sixty(t)
			used, blank := d.segments()
			tc.damage(d, used, blank)
			if tc.opens != nil {
				if _, err := wal.Open(t.Context(), memOptions(d.m)); !tc.opens(err) {
					t.Fatalf("got %v", err)
				}
				return
			}
			expectLoss(t, d, g, tc, used)
			l := mustOpen(t, memOptions(d.m))
			g.check(t, l)
			status := l.Status()
			expectFaults(t, tc, status)
			if err := g.append(t.Context(), t, l, `{"new":true}`); err != nil {
				t.Fatal(err)
			}
			g.check(t, l)
			mustClose(t, l)

			l = mustOpen(t, memOptions(d.m))
			g.check(t, l)
			for _, f := range l.Status().Faults {
				if f.Kind != wal.FaultMissing && f.Kind != wal.FaultCursor {
					t.Errorf("after the repair there is still %+v", f)
				}
			}
			mustClose(t, l)
		})
	}
}

// expectLoss takes the records that this damage destroys out of the ledger. A case that loses a whole segment names
// any three; the segment's own records are taken instead.
func expectLoss(t *testing.T, d disk, g *ledger, tc recoveryCase, used []string) {
	t.Helper()
	if len(tc.lost) == 3 {
		report, err := wal.Inspect(t.Context(), d.m, "/log")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Faults {
			for seq := f.From; seq > 0 && seq <= f.To; seq++ {
				delete(g.acked, seq)
			}
		}
		if len(g.acked) == 60 {
			t.Fatal("the inspector does not say what is missing")
		}
		return
	}
	for _, seq := range tc.lost {
		delete(g.acked, seq)
	}
}

func expectFaults(t *testing.T, tc recoveryCase, status wal.Status) {
	t.Helper()
	var kinds []wal.FaultKind
	for _, f := range status.Faults {
		kinds = append(kinds, f.Kind)
		if f.Reason == "" {
			t.Errorf("a fault without a reason: %+v", f)
		}
	}
	if !slices.Equal(kinds, tc.faults) {
		t.Errorf("faults %+v, want %v", status.Faults, tc.faults)
	}
	if (status.CutAtOpen > 0) != tc.cut {
		t.Errorf("cut %d bytes, want some: %v", status.CutAtOpen, tc.cut)
	}
	if (status.Quarantined > 0) != tc.kept {
		t.Errorf("%d in the quarantine, want some: %v", status.Quarantined, tc.kept)
	}
	if len(tc.lost) == 1 && (status.Faults[0].From > tc.lost[0] || status.Faults[0].To < tc.lost[0]) {
		t.Errorf("the fault does not name the lost record %d: %+v", tc.lost[0], status.Faults[0])
	}
}

// TestQuarantineKeepsTheBytes looks at what is kept of a damaged record: the bytes as they were, and the reason.
func TestQuarantineKeepsTheBytes(t *testing.T) {
	t.Parallel()
	d, _ := sixty(t)
	used, _ := d.segments()
	var bad []byte
	d.edit(used[0], func(b []byte) []byte {
		from, to := at(t, b, 5)
		b[from+70] = '#'
		bad = bytes.Clone(b[from:to])
		return b
	})
	mustClose(t, mustOpen(t, memOptions(d.m)))
	report, err := wal.Inspect(t.Context(), d.m, "/log")
	if err != nil || len(report.Quarantined) != 1 {
		t.Fatalf("%+v, %v", report.Quarantined, err)
	}
	q := report.Quarantined[0]
	if got := d.read("quarantine/" + q.Name); !bytes.Equal(got, bad) {
		t.Errorf("kept %q, want %q", got, bad)
	}
	if q.Fault.File != used[0] || q.Fault.From != 5 || q.Fault.To != 5 || !strings.Contains(q.Fault.Reason, "checksum") {
		t.Errorf("the reason is %+v", q.Fault)
	}
}

// TestSegmentIsValidJSONLinesAtEveryMoment reads the newest segment while it is partly filled, as jq would.
func TestSegmentIsValidJSONLinesAtEveryMoment(t *testing.T) {
	t.Parallel()
	d, _ := sixty(t)
	used, blank := d.segments()
	for _, name := range slices.Concat(used, blank) {
		for _, line := range bytes.Split(d.read(name), []byte("\n")) {
			if len(line) > 0 && (line[0] != '{' || line[len(line)-1] != '}') {
				t.Errorf("%s has a line that is not an object: %q", name, line)
			}
		}
	}
	if data := d.read(used[0]); data[len(data)-2] != '}' {
		t.Errorf("a sealed segment ends with %q: its tail was not cut", data[len(data)-2:])
	}
	if data := d.read(used[len(used)-1]); len(data) != small {
		t.Errorf("the newest segment has %d bytes: it was not filled ahead", len(data))
	}
}

// TestCursorBeyondTheEnd has a disk lose records that a follower has seen: their sequences must not come again.
func TestCursorBeyondTheEnd(t *testing.T) {
	t.Parallel()
	d, g := sixty(t)
	l := mustOpen(t, memOptions(d.m))
	c, err := l.Cursor("dispatch")
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(60)
	mustClose(t, l)
	used, _ := d.segments()
	d.edit(used[len(used)-1], func(b []byte) []byte { from, _ := at(t, b, 59); return b[:from] })
	delete(g.acked, 59)
	delete(g.acked, 60)
	l = mustOpen(t, memOptions(d.m))
	g.highest = 58
	if l.Last() != 58 || l.Status().Faults[0].From != 59 || l.Status().Faults[0].To != 60 {
		t.Fatalf("last %d, faults %+v", l.Last(), l.Status().Faults)
	}
	seq, err := l.Append(t.Context(), []byte(`{"next":1}`))
	if err != nil || seq != 61 {
		t.Fatalf("the next record got %d, %v; want 61", seq, err)
	}
	g.ask(`{"next":1}`)
	g.check(t, l)
	mustClose(t, l)
}

package wal

import "github.com/33god/bloodbank/wal/segment"

// FaultKind says what is wrong, for programs.
type FaultKind string

// The kinds of faults.
const (
	// FaultDamage is bad bytes with good records after them. In the last MaxBatch bytes it may be a batch that a power cut
	// tore in the middle: then none of it was acknowledged, but that cannot be told from damage.
	FaultDamage     FaultKind = "damage"
	FaultTorn       FaultKind = "torn"       // bad bytes at the end; a batch cut short, not acknowledged unless the disk lost it
	FaultMissing    FaultKind = "missing"    // sequences that no segment holds
	FaultSuperseded FaultKind = "superseded" // records of a batch whose fsync failed, void
	FaultStale      FaultKind = "stale"      // a whole segment older than its place
	FaultCursor     FaultKind = "cursor"     // a follower's position that cannot be believed
)

// Fault is something wrong in the log's folder.
type Fault struct {
	Kind   FaultKind `json:"kind"`
	File   string    `json:"file,omitempty"` // relative to the folder; empty for sequences missing between files
	Offset int64     `json:"offset"`
	Bytes  int64     `json:"bytes"`
	From   uint64    `json:"from_seq,omitempty"` // the sequences that may be lost, both included; 0 = not known or none
	To     uint64    `json:"to_seq,omitempty"`
	Reason string    `json:"reason"`
}

// faultsOf turns what a look at one segment found into faults.
func faultsOf(name string, s *segment.Survey) []Fault {
	var faults []Fault
	for _, d := range s.Damage {
		f := Fault{Kind: FaultDamage, File: name, Offset: d.Off, Bytes: d.Len, Reason: d.Reason}
		if after := max(d.After+1, s.Start()); d.After > 0 || s.Header != nil {
			if after < d.Before {
				f.From, f.To = after, d.Before-1
			}
		}
		faults = append(faults, f)
	}
	for _, g := range s.Gaps {
		faults = append(faults, Fault{Kind: FaultMissing, File: name, From: g.From, To: g.To,
			Reason: "no bytes of these records are here; look in the quarantine"})
	}
	if s.Torn != nil {
		faults = append(faults, Fault{Kind: FaultTorn, File: name, Offset: s.Torn.Off, Bytes: s.Torn.Len, Reason: s.Torn.Reason})
	}
	if s.Superseded > 0 {
		faults = append(faults, Fault{Kind: FaultSuperseded, File: name, Offset: s.Superseded, Bytes: s.Size - s.Superseded,
			Reason: "written again in a later segment after a failed fsync"})
	}
	return faults
}

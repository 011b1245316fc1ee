package sqlfilter

import (
	"strings"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/store"
)

// Kind keeps the names of different columns apart in the dictionary, in which
// texts that repeat are integers.
type Kind int16

// The kinds are part of all schemas. Agents' names and types share one.
const (
	KindType Kind = iota + 1
	KindApp
	KindHost
	KindSource
	KindAgent
	KindSession
	KindProject
)

// NameColumns is how many columns of an event refer to a name: type, app, host,
// source, agent, agent_type, session, project. 0 in one of them means absent.
const NameColumns = 8

// MaxNames bounds the memory of a dictionary; sessions come and go, so when it
// is full it starts again from the database.
const MaxNames = 50_000

// KindOfColumn is the kind of the i-th column, from 0.
func KindOfColumn(i int) Kind {
	if i <= 4 {
		return KindType + Kind(i)
	}
	return KindType + Kind(i-1)
}

// Name is an entry of the dictionary.
type Name struct {
	Kind Kind
	Text string
}

// The flags of an event, as in all schemas.
const (
	FlagFailed   = 1
	FlagReplayed = 2
)

// Row is an event as the tables have it. [Rows] makes them.
type Row struct {
	*store.Incoming // the caller's
	// Texts holds what the columns of names refer to where Named says so.
	Texts [NameColumns]string
	Named [NameColumns]bool
	// Names is for the ids in the dictionary.
	Names [NameColumns]int64
	Flags int16
	// Words has a space behind each word.
	Words string
}

// Rows reads what the columns need out of events, outside of any transaction.
// An event that nobody decoded is CodeInvalid.
func Rows(events []store.Incoming, x *Indexer) ([]Row, error) {
	rows := make([]Row, len(events))
	for i := range events {
		e := &events[i].Envelope
		if e.EventID.IsZero() || e.EventType == "" || len(events[i].Raw) == 0 {
			return nil, bloodbank.Errorf(bloodbank.CodeInvalid, "event %d of the batch has no id, no type or no wire form; decode it before it is stored", i)
		}
		r := &rows[i]
		r.Incoming, r.Flags, r.Words = &events[i], flagsOf(e), x.Read(e)
		r.Texts = [NameColumns]string{string(e.EventType), e.Source.App, e.Source.Host, string(e.Source.Type), "", "", x.Session, x.Project}
		if a := e.AgentContext; a != nil {
			r.Texts[5] = string(a.Type)
			if a.Name != nil {
				// It may be empty, which is not the same as absent.
				r.Texts[4], r.Named[4] = *a.Name, true
			}
		}
		for j, text := range r.Texts {
			r.Named[j] = r.Named[j] || text != ""
		}
	}
	return rows, nil
}

func flagsOf(e *bloodbank.Envelope) (flags int16) {
	if t := string(e.EventType); strings.HasSuffix(t, ".failed") || strings.HasSuffix(t, ".error") {
		flags |= FlagFailed
	}
	if !e.ReplayOf.IsZero() {
		flags |= FlagReplayed
	}
	return flags
}

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// madeByUs is the description of a stream that bb made, and may purge.
const madeByUs = "Bloodbank events, made by bb"

// adopt finds the stream and takes it as it is where it keeps what we promise,
// or makes it.
func (b *Bus) adopt(ctx context.Context) error {
	s, err := b.js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if b.far.opts.probe {
			return nil
		}
		s, err = b.makeStream(ctx)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = b.js.Stream(ctx, Stream) // another bb was faster
		}
	}
	if err != nil {
		return err
	}
	config := s.CachedInfo().Config
	if wrong := unfit(config); len(wrong) > 0 {
		return refused(nil, "the stream %s at %s is not fit for events: %s", Stream, b.far.place, strings.Join(wrong, "; "))
	}
	if !b.far.opts.probe {
		config = b.improve(ctx, config)
	}
	b.far.setStream(config)
	b.limit()
	return nil
}

func (b *Bus) makeStream(ctx context.Context) (jetstream.Stream, error) {
	config := streamConfig(b.opts)
	config.Description = madeByUs
	config.Replicas = b.far.opts.Replicas
	if config.Replicas > 0 {
		return b.js.CreateStream(ctx, config)
	}
	config.Replicas = 1
	if b.conn.ConnectedClusterName() == "" {
		return b.js.CreateStream(ctx, config)
	}
	config.Replicas = 3
	s, err := b.js.CreateStream(ctx, config)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeReplicas { // it shares subjects, not streams
		config.Replicas = 1
		return b.js.CreateStream(ctx, config)
	}
	return s, err
}

// improve changes what can be changed without a risk to any message: a longer
// memory for duplicates, and more replicas if they are asked for. What the
// server does not grant is said, and no reason to refuse.
func (b *Bus) improve(ctx context.Context, found jetstream.StreamConfig) jetstream.StreamConfig {
	want := found
	want.Duplicates = max(found.Duplicates, b.opts.DuplicateWindow)
	if found.MaxAge > 0 {
		want.Duplicates = max(found.Duplicates, min(want.Duplicates, found.MaxAge)) // the server allows no more
	}
	want.Replicas = max(found.Replicas, b.far.opts.Replicas)
	if want.Duplicates != found.Duplicates || want.Replicas != found.Replicas {
		s, err := b.js.UpdateStream(ctx, want)
		if err != nil {
			b.opts.Logger.Warn("the stream stays as it is", "stream", Stream, "duplicate_window", found.Duplicates,
				"wanted", want.Duplicates, "replicas", found.Replicas, "wanted_replicas", want.Replicas, "err", err)
			return found
		}
		found = s.CachedInfo().Config
	}
	if found.Duplicates < b.opts.DuplicateWindow {
		b.opts.Logger.Warn("the stream remembers ids for a shorter time than asked for, because of its max_age",
			"stream", Stream, "duplicate_window", found.Duplicates, "wanted", b.opts.DuplicateWindow)
	}
	if found.MaxAge > 0 {
		b.opts.Logger.Warn("the stream drops messages by age, read or not", "stream", Stream, "max_age", found.MaxAge)
	}
	return found
}

// unfit says what makes a stream lose, refuse or change events, and the cure.
func unfit(c jetstream.StreamConfig) []string {
	var wrong []string
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	const anew = "; it cannot be changed: move the messages and remove the stream (nats stream rm " + Stream + "), bb makes it anew"
	refuse(c.Storage != jetstream.FileStorage, "storage is memory, so a restart loses what was confirmed"+anew)
	refuse(c.Retention != jetstream.LimitsPolicy, "retention is %s, which deletes what some consumer has read, where limits is needed"+anew, strings.ToLower(c.Retention.String()))
	refuse(c.Mirror != nil, "it is a mirror, which takes no messages"+anew)
	refuse(c.Sealed, "it is sealed"+anew)
	refuse(c.PersistMode != jetstream.DefaultPersistMode, "persist_mode is async, so it confirms what is not written"+anew)
	refuse(c.Mirror == nil && !slices.ContainsFunc(c.Subjects, takesAll), "subjects are %s; add %s> (nats stream edit %s --subjects=...)",
		strings.Join(c.Subjects, ", "), SubjectPrefix, Stream)
	refuse(c.NoAck, "no_ack is set, so it never confirms; set it to false (nats stream edit %s --ack)", Stream)
	refuse(c.SubjectTransform != nil, "subject_transform renames events; remove it")
	evicts := c.Discard == jetstream.DiscardOld && (c.MaxBytes > 0 || c.MaxMsgs > 0)
	refuse(evicts, "max_bytes %d and max_msgs %d with discard old throw away unread messages without a word; "+
		"set discard to new, or both to -1 (nats stream edit %s --discard=new)", c.MaxBytes, c.MaxMsgs, Stream)
	refuse(c.MaxMsgsPerSubject > 0 && !c.DiscardNewPerSubject, "max_msgs_per_subject %d throws away unread messages; "+
		"set it to -1 (nats stream edit %s --max-msgs-per-subject=-1)", c.MaxMsgsPerSubject, Stream)
	return wrong
}

// takesAll says whether a subject of a stream covers every event.
func takesAll(subject string) bool {
	have := strings.Split(subject, ".")
	need := strings.Split(SubjectPrefix+">", ".")
	for i, word := range have {
		switch {
		case word == ">":
			return true
		case i >= len(need) || word != "*" && word != need[i] || need[i] == ">":
			return false
		}
	}
	return false
}

// warnings say which limits of a stream will soon refuse or drop events.
func warnings(c jetstream.StreamConfig, s jetstream.StreamState, floor uint64, now time.Time) []string {
	var all []string
	share := func(name string, used, limit float64) {
		if limit > 0 && used >= 0.8*limit {
			all = append(all, fmt.Sprintf("%s is used up to %.0f %%; when it is full the server refuses events, which wait in the log: raise it", name, 100*used/limit))
		}
	}
	share("max_bytes", float64(s.Bytes), float64(c.MaxBytes))
	share("max_msgs", float64(s.Msgs), float64(c.MaxMsgs))
	unread := floor > 0 && floor <= s.FirstSeq && s.Msgs > 0
	if age := now.Sub(s.FirstTime); c.MaxAge > 0 && unread && age >= c.MaxAge*8/10 {
		all = append(all, fmt.Sprintf("a group has not read messages of %v; at max_age %v they are dropped: raise it", age.Round(time.Second), c.MaxAge))
	}
	return all
}

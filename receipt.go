package bloodbank

// AckLevel says how far an event must have come before the caller is answered.
type AckLevel string

// The levels, each stronger than the one before it.
const (
	// AckWAL: on disk and fsynced in the local write-ahead log. The default.
	AckWAL AckLevel = "wal"
	// AckBus: confirmed by the bus as well.
	AckBus AckLevel = "bus"
	// AckStored: committed in the store, so that a query finds it.
	AckStored AckLevel = "stored"
)

// ParseAckLevel reads a level; the empty string is [AckWAL].
func ParseAckLevel(s string) (AckLevel, error) {
	switch l := AckLevel(s); l {
	case "":
		return AckWAL, nil
	case AckWAL, AckBus, AckStored:
		return l, nil
	}
	return "", Errorf(CodeInvalid, "unknown ack level %s: use wal, bus or stored", quoteShort(s))
}

// Receipt is the answer to an accepted event. Having one means that the event
// is on disk and will reach the bus and the store, or be listed as a dead
// letter with its reason, through any number of crashes.
type Receipt struct {
	EventID EventID `json:"event_id"`
	// Sequence is the event's place in the write-ahead log, from 1. It is 0 for
	// a duplicate whose first record has left the log.
	Sequence uint64 `json:"sequence"`
	// Ack is the level reached, which may be lower than the one asked for when
	// the wait timed out; the event is accepted all the same.
	Ack AckLevel `json:"ack"`
	// Duplicate says that an event with this id was accepted before; nothing
	// was added.
	Duplicate bool `json:"duplicate"`
}

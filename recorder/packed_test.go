package recorder_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/recorder"
	"github.com/33god/bloodbank/store"
)

// rawStore also keeps the wire forms.
type rawStore struct {
	*fakeStore
	raws [][]byte
}

func (s *rawStore) Append(ctx context.Context, b store.Batch) (store.Appended, error) {
	for _, e := range b.Events {
		s.raws = append(s.raws, e.Raw)
	}
	return s.fakeStore.Append(ctx, b)
}

// Compressed events are stored plain; what cannot be unpacked is kept with its
// bytes and its reason, and holds up nothing.
func TestPacked(t *testing.T) {
	t.Parallel()
	stored := &rawStore{fakeStore: newFakeStore()}
	f := fixture{bus: newFakeBus()}
	f.Recorder = recorder.New(recorder.Options{Subscriber: f.bus, Store: stored, MaxUnpacked: 100_000})
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	var p bus.Packer
	pack := func(data []byte) bus.Delivery {
		m := p.Pack(bus.Message{Data: data})
		if m.Encoding != bus.EncodingGzip {
			t.Fatalf("not packed: %q", data)
		}
		return bus.Delivery{Message: m}
	}
	plain, long := event(t), event(t)
	long.Data = append(long.Data, bytes.Repeat([]byte(" "), 5000)...)
	bomb, damaged := pack(make([]byte, 100_001)), pack(bytes.Repeat([]byte("word "), 100))
	damaged.Data = damaged.Data[:len(damaged.Data)-4]
	noEvent := pack([]byte(`{"x":"` + strings.Repeat("no event ", 100) + `"}`))
	other := bus.Delivery{Message: bus.Message{Data: []byte("abc"), Encoding: "br"}}
	batch := []bus.Delivery{bomb, pack(long.Data), damaged, plain, noEvent, other}
	f.deliver(t, batch...)

	if len(stored.raws) != 2 || !bytes.Equal(stored.raws[0], long.Data) || !bytes.Equal(stored.raws[1], plain.Data) {
		t.Errorf("stored %q", stored.raws)
	}
	want := []struct {
		raw    []byte
		reason string
	}{{bomb.Data, "over the limit"}, {damaged.Data, "damaged"}, {noEvent.Data, "unpacked from gzip"}, {other.Data, `"br"`}}
	if len(stored.rejected) != len(want) {
		t.Fatalf("rejected %+v", stored.rejected)
	}
	for i, w := range want {
		if r := stored.rejected[i]; !bytes.Equal(r.Raw, w.raw) || !strings.Contains(r.Reason, w.reason) {
			t.Errorf("rejected %d: %q, want %q", i, r.Reason, w.reason)
		}
	}
}

package bus_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/33god/bloodbank/bus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPackAndUnpack(t *testing.T) {
	t.Parallel()
	var p bus.Packer
	rapid.Check(t, func(rt *rapid.T) {
		data := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(rt, "data"), rapid.IntRange(1, 50).Draw(rt, "times"))
		before := bytes.Clone(data)
		packed := p.Pack(bus.Message{Data: data, Type: "a.b"})
		if !bytes.Equal(data, before) || packed.Type != "a.b" {
			rt.Fatal("packing changed the message")
		}
		if packed.Encoding != "" && len(packed.Data) >= len(data) {
			rt.Fatalf("%d bytes became %d", len(data), len(packed.Data))
		}
		p.Pack(bus.Message{Data: []byte(strings.Repeat("another", 1000))}) // must not touch the first
		got, err := bus.Unpack(packed, len(data))
		if err != nil || !bytes.Equal(got, data) {
			rt.Fatalf("%v, %d bytes of %d", err, len(got), len(data))
		}
	})
}

func TestPackLeavesAlone(t *testing.T) {
	t.Parallel()
	var p bus.Packer
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	if m := p.Pack(bus.Message{Data: noise}); m.Encoding != "" || !bytes.Equal(m.Data, noise) {
		t.Errorf("noise was packed to %d bytes", len(m.Data))
	}
	once := p.Pack(bus.Message{Data: bytes.Repeat([]byte("word "), 500)})
	if once.Encoding != bus.EncodingGzip {
		t.Fatal("words were not packed")
	}
	if twice := p.Pack(once); !bytes.Equal(twice.Data, once.Data) || twice.Encoding != once.Encoding {
		t.Error("packed twice")
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	var p bus.Packer
	bomb := p.Pack(bus.Message{Data: make([]byte, 10<<20)})
	if len(bomb.Data) > 1<<17 {
		t.Fatalf("the bomb has %d bytes", len(bomb.Data))
	}
	whole := p.Pack(bus.Message{Data: bytes.Repeat([]byte("word "), 500)})
	change := func(at int) []byte {
		data := bytes.Clone(whole.Data)
		data[at] ^= 0x55
		return data
	}
	for name, c := range map[string]struct {
		m     bus.Message
		limit int
		want  error
	}{
		"unknown encoding":       {bus.Message{Data: []byte("x"), Encoding: "br"}, 0, bus.ErrEncoding},
		"a bomb":                 {bomb, 10<<20 - 1, bus.ErrUnpackedSize},
		"no gzip":                {bus.Message{Data: []byte(`{"plain":1}`), Encoding: "gzip"}, 0, bus.ErrDamaged},
		"nothing":                {bus.Message{Encoding: "gzip"}, 0, bus.ErrDamaged},
		"cut off":                {bus.Message{Data: whole.Data[:len(whole.Data)-9], Encoding: "gzip"}, 0, bus.ErrDamaged},
		"cut in the checksum":    {bus.Message{Data: whole.Data[:len(whole.Data)-1], Encoding: "gzip"}, 0, bus.ErrDamaged},
		"another checksum":       {bus.Message{Data: change(len(whole.Data) - 5), Encoding: "gzip"}, 0, bus.ErrDamaged},
		"another checksum, full": {bus.Message{Data: change(len(whole.Data) - 5), Encoding: "gzip"}, 2500, bus.ErrDamaged},
	} {
		if data, err := bus.Unpack(c.m, c.limit); !errors.Is(err, c.want) || data != nil {
			t.Errorf("%s: %v with %d bytes, want %v", name, err, len(data), c.want)
		}
	}
	if data, err := bus.Unpack(bomb, 10<<20); err != nil || len(data) != 10<<20 {
		t.Errorf("at the limit: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	var p bus.Packer
	f.Add(p.Pack(bus.Message{Data: bytes.Repeat([]byte("word "), 50)}).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := bus.Unpack(bus.Message{Data: data, Encoding: "gzip"}, 1<<16); err == nil && len(got) > 1<<16 {
			t.Errorf("%d bytes", len(got))
		}
	})
}

package client_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
	"github.com/33god/bloodbank/internal/faultproxy"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/asrws"
	"github.com/33god/bloodbank/voice/recognisertest"
)

const voiceLimit = 60 * time.Second

// voiceEvents is an emitter that keeps what it accepts, and what a later process finds.
type voiceEvents struct {
	mu     sync.Mutex
	events []bloodbank.Envelope
}

func (v *voiceEvents) Emit(_ context.Context, e bloodbank.Envelope) (bloodbank.Receipt, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events = append(v.events, e)
	return bloodbank.Receipt{EventID: e.EventID, Ack: bloodbank.AckWAL}, nil
}

// utterance is what the events say.
type utterance struct {
	Text      string `json:"text"`
	Utterance int    `json:"utterance"`
	Audio     struct {
		Start float64 `json:"start_seconds"`
		End   float64 `json:"end_seconds"`
	} `json:"audio_metadata"`
}

func (v *voiceEvents) finals(t *testing.T) (all []utterance) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.events {
		if e.EventType == bloodbank.TypeVoiceCompleted {
			var u utterance
			must(t, json.Unmarshal(e.Payload, &u))
			all = append(all, u)
		}
	}
	return all
}

func (v *voiceEvents) Session(context.Context, uuid.UUID) (past voice.PastSession, _ error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.events {
		switch e.EventType {
		case bloodbank.TypeSessionOpened:
			past.Opened = e.EventID
		case bloodbank.TypeVoiceCompleted:
			var u utterance
			if err := json.Unmarshal(e.Payload, &u); err != nil {
				return past, err
			}
			end := time.Duration(u.Audio.End * float64(time.Second))
			past.Utterances, past.Audio = max(past.Utterances, u.Utterance), max(past.Audio, end)
			past.Finals = append(past.Finals, voice.Update{
				Kind: voice.KindFinal, Utterance: u.Utterance, Text: u.Text, End: end, Event: e.EventID,
				Start: time.Duration(u.Audio.Start * float64(time.Second)), Final: &voice.Transcription{Text: u.Text},
			})
		}
	}
	return past, nil
}

// voiceServer is a server with /asr behind a proxy. It can be killed.
type voiceServer struct {
	t      *testing.T
	events voiceEvents
	proxy  *faultproxy.Proxy
	door   atomic.Pointer[asrws.Door]
	script *recognisertest.Scripted
	kill   context.CancelFunc
	grace  time.Duration
	dials  atomic.Int32
}

// newVoiceServer serves with a recogniser that hears these words, over all processes.
func newVoiceServer(t *testing.T, finals []string, grace time.Duration) *voiceServer {
	t.Helper()
	s := &voiceServer{t: t, grace: grace, script: recognisertest.NewScripted(recognisertest.Script{Finals: finals})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.dials.Add(1)
		if door := s.door.Load(); door != nil {
			door.ServeHTTP(w, r)
			return
		}
		http.Error(w, "down", http.StatusBadGateway)
	}))
	proxy, err := faultproxy.New(server.Listener.Addr().String())
	must(t, err)
	s.proxy = proxy
	s.start()
	t.Cleanup(func() {
		proxy.Close()
		s.kill()
		server.Close()
		must(t, s.script.Close())
	})
	return s
}

// start starts a process; the one before is killed first.
func (s *voiceServer) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	desk := voice.NewDesk(ctx, voice.DeskOptions{
		Recogniser: s.script, Emitter: &process{Emitter: &s.events, life: ctx}, Grace: s.grace,
		Secret: bytes.Repeat([]byte("s"), 32), Past: &s.events,
	})
	door := asrws.New(asrws.Options{Desk: desk})
	s.kill = sync.OnceFunc(func() {
		s.door.Store(nil)
		cancel() // nothing is published any more
		s.proxy.ResetAll()
		_ = desk.Close(ctx)
		door.Wait()
	})
	s.door.Store(door)
}

// process publishes nothing after its death.
type process struct {
	voice.Emitter
	life context.Context
}

func (p *process) Emit(ctx context.Context, e bloodbank.Envelope) (bloodbank.Receipt, error) {
	if p.life.Err() != nil {
		return bloodbank.Receipt{}, p.life.Err()
	}
	return p.Emitter.Emit(ctx, e)
}

func (s *voiceServer) client() *client.Client {
	s.t.Helper()
	c, err := client.New("http://"+s.proxy.Addr(), client.Options{})
	must(s.t, err)
	s.t.Cleanup(c.Close)
	return c
}

// bursts is n utterances of a second with as much quiet behind each, as raw samples.
func bursts(n int) []byte {
	pcm := make([]byte, 16_000)
	for range n {
		for i := range 16_000 {
			pcm = binary.LittleEndian.AppendUint16(pcm, uint16(int16(6000*math.Sin(2*math.Pi*600*float64(i)/16_000))))
		}
		pcm = append(pcm, make([]byte, 32_000)...)
	}
	return pcm
}

// inWAV puts samples into a WAV file with metadata before and behind them.
func inWAV(pcm []byte) []byte {
	le := binary.LittleEndian
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00")
	b = le.AppendUint32(b, 16_000)
	b = le.AppendUint32(b, 32_000)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "LIST\x04\x00\x00\x00INFOdata"...)
	b = append(le.AppendUint32(b, uint32(len(pcm))), pcm...)
	return append(b, "LIST\x04\x00\x00\x00INFO"...)
}

func words(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("utterance ", i+1))
	}
	return all
}

// once checks that every word is there once: in the events and in what the client told.
func (s *voiceServer) once(t *testing.T, want, told []string) {
	t.Helper()
	var published []string
	for i, u := range s.events.finals(t) {
		published = append(published, u.Text)
		// The first burst begins after half a second, and each lasts two with its quiet.
		if at := 0.5 + 2*float64(i); math.Abs(u.Audio.Start-at) > 0.5 {
			t.Errorf("%q starts at %.2f s, want %.1f", u.Text, u.Audio.Start, at)
		}
	}
	if !reflect.DeepEqual(published, want) {
		t.Errorf("published %q", published)
	}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("told %q", told)
	}
}

// The connection is reset again and again, at any byte: every word is there once.
func TestVoiceConnectionCut(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func([]byte) []byte{"raw": slices.Clone[[]byte], "wav": inWAV} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := words(6)
			s := newVoiceServer(t, want, time.Minute)
			recording := make(bursts(len(want)))
			s.proxy.ResetAfter(faultproxy.ToServer, 70_001)
			var told []string
			lost := 0
			last, err := s.client().Voice(t.Context(), client.VoiceRequest{
				Audio: bytes.NewReader(recording),
				OnUpdate: func(u client.VoiceUpdate) {
					for _, line := range u.New {
						told = append(told, line.Text)
					}
				},
				Lost: func(error) {
					s.proxy.Heal()
					if lost++; lost < 4 {
						s.proxy.ResetAfter(faultproxy.ToServer, 60_000+lost)
					}
				},
			})
			must(t, err)
			if lost != 4 || len(last.Lines) != len(want) {
				t.Errorf("%d breaks, %d lines", lost, len(last.Lines))
			}
			s.once(t, want, told)
		})
	}
}

// The server is killed in the middle of an utterance and another takes the session up.
func TestVoiceServerKilled(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func([]byte) []byte{"raw": slices.Clone[[]byte], "wav": inWAV} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := words(6)
			s := newVoiceServer(t, want, time.Minute)
			recording := make(bursts(len(want)))
			// In the middle of the fourth burst the source waits until three are
			// told; then the server dies.
			cut := len(recording)*7/12 + 2
			told := []string{}
			three := newGate()
			source := io.MultiReader(bytes.NewReader(recording[:cut]), &gatedReader{three, bytes.NewReader(recording[cut:])})
			resumed := 0
			_, err := s.client().Voice(t.Context(), client.VoiceRequest{
				Audio: source,
				OnUpdate: func(u client.VoiceUpdate) {
					for _, line := range u.New {
						told = append(told, line.Text)
					}
					if len(told) == 3 && u.ReceivedBytes > int64(cut)-10_000 && resumed == 0 {
						three.open(func() { s.kill() })
					}
				},
				Lost:    func(error) { s.start() },
				Resumed: func(time.Duration) { resumed++ },
			})
			must(t, err)
			if resumed == 0 {
				t.Error("the server was not killed")
			}
			s.once(t, want, told)
		})
	}
}

// gate opens once.
type gate struct {
	once sync.Once
	c    chan struct{}
}

func newGate() *gate { return &gate{c: make(chan struct{})} }

func (g *gate) open(first func()) {
	g.once.Do(func() {
		first()
		close(g.c)
	})
}

type gatedReader struct {
	gate *gate
	io.Reader
}

func (r *gatedReader) Read(p []byte) (int, error) {
	select {
	case <-r.gate.c:
	case <-time.After(voiceLimit):
		return 0, io.ErrUnexpectedEOF
	}
	return r.Reader.Read(p)
}

// A recording that cannot be cut says so when the server was killed.
func TestVoiceContainerAfterKill(t *testing.T) {
	t.Parallel()
	finished := make(chan struct{})
	var dials atomic.Int32
	c := answering(t, fakeASR(t, func(send func(string), received func() int) {
		if dials.Add(1) == 1 {
			send(`{"type":"config","session_id":"a","resume_token":"b"}`)
			for n := 0; n < 1000; n += received() {
			}
			send(`{"status":"active_transcription","lines":[],"received_bytes":1000,"finished_ms":9000}`)
			return
		}
		send(`{"type":"config","session_id":"a","resume_token":"b","audio_ms":8000}`)
		<-finished
	}))
	_, err := c.Voice(t.Context(), client.VoiceRequest{Audio: io.MultiReader(
		strings.NewReader("OggS" + strings.Repeat("x", 20_000)))})
	close(finished)
	if err == nil || !strings.Contains(err.Error(), "WAV") || !strings.Contains(err.Error(), "8s") {
		t.Errorf("error %v", err)
	}
}

// Without resumption a break is an error, and so is a server that never comes back.
func TestVoiceGivesUp(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]client.VoiceRequest{
		"not resumed": {NoResume: true}, "no patience": {Patience: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newVoiceServer(t, words(2), time.Minute)
			s.proxy.ResetAfter(faultproxy.ToServer, 30_000)
			r.Audio = bytes.NewReader(bursts(2))
			r.Lost = func(error) { s.proxy.Cut() }
			last, err := s.client().Voice(t.Context(), r)
			if bloodbank.CodeOf(err) != bloodbank.CodeUnavailable || last.SessionID == "" {
				t.Errorf("session %q: %v", last.SessionID, err)
			}
		})
	}
}

// Stop ends the audio of a microphone that never ends; the words are still told.
func TestVoiceStop(t *testing.T) {
	t.Parallel()
	s := newVoiceServer(t, words(1), time.Minute)
	source, microphone := io.Pipe()
	defer microphone.Close()
	stop := make(chan struct{})
	go func() { // ends with the pipe
		_, _ = microphone.Write(bursts(1)[:48_000])
	}()
	var told []string
	_, err := s.client().Voice(t.Context(), client.VoiceRequest{
		Audio: source, Stop: stop,
		OnUpdate: func(u client.VoiceUpdate) {
			if u.ReceivedBytes > 40_000 && len(told) == 0 && stop != nil {
				close(stop)
				stop = nil
			}
			for _, line := range u.New {
				told = append(told, line.Text)
			}
		},
	})
	must(t, err)
	if !reflect.DeepEqual(told, words(1)) {
		t.Errorf("told %q", told)
	}
}

// A session that the server has given up is an error that says what is missing.
func TestVoiceSessionForgotten(t *testing.T) {
	t.Parallel()
	s := newVoiceServer(t, words(2), -1)
	s.proxy.ResetAfter(faultproxy.ToServer, 30_000)
	_, err := s.client().Voice(t.Context(), client.VoiceRequest{
		Audio: bytes.NewReader(bursts(2)), Lost: func(error) { s.proxy.Heal() },
	})
	// The events of the test's past say nothing of the end, so the session lives; what
	// counts is that it ends either well or with a reason.
	if err != nil && !strings.Contains(err.Error(), "cannot be taken up again") {
		t.Errorf("error %v", err)
	}
}

func TestRepeatAudio(t *testing.T) {
	t.Parallel()
	pcm := []byte{1, 2, 3, 4}
	wave := inWAV(pcm)
	for _, c := range []struct {
		name   string
		in     []byte
		length time.Duration
		want   []byte
	}{
		{"as it is", wave, 0, wave},
		{"raw, cut", bytes.Repeat(pcm, 100), 125 * time.Microsecond, pcm},
		{"raw, repeated", pcm[:4:4], 312 * time.Microsecond, []byte{1, 2, 3, 4, 1, 2, 3, 4}},
	} {
		r, err := client.RepeatAudio(c.in, c.length)
		must(t, err)
		got, err := io.ReadAll(r)
		must(t, err)
		if !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	r, err := client.RepeatAudio(wave, 250*time.Microsecond)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, err)
	if want := append(inWAV(nil)[:56], 1, 2, 3, 4, 1, 2, 3, 4); !bytes.Equal(got, want) {
		t.Errorf("WAV: %q, want %q", got, want)
	}
	if _, err := client.RepeatAudio([]byte("OggS0123456789"), time.Second); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
		t.Errorf("Ogg: %v", err)
	}
}

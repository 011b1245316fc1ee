package whisperlive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/recognisertest"
	"github.com/coder/websocket"
)

// next waits for the next outcome of a stream.
func next(t *testing.T, s voice.Stream) voice.Result {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case r, ok := <-s.Results():
			if !ok {
				t.Fatal("the results end")
			}
			switch r.(type) {
			case voice.Final, voice.Failed:
				return r
			}
		case <-limit:
			t.Fatal("no outcome")
		}
	}
}

func open(t *testing.T, c Config) voice.Stream {
	t.Helper()
	s, err := recogniser(t, c).Open(t.Context(), voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestFinalizeTakesWhatIsThere(t *testing.T) {
	t.Parallel()
	url := raw(t, func(ctx context.Context, c *websocket.Conn) {
		write(ctx, c, hello, `{"lines":[{"speaker":1,"text":" turn on","start":"0:00:00.10","end":"0:00:00.50"}],"buffer_transcription":" the light"}`)
		untilEnd(ctx, c)
		write(ctx, c, `{"lines":[{"speaker":1,"text":" turn on the light please","start":"0:00:00.10","end":"0:00:01.50"}],"buffer_transcription":""}`, `{"type":"ready_to_stop"}`)
	})
	s := open(t, Config{URL: url, FinalizeWithin: 50 * time.Millisecond})
	for {
		if i, ok := (<-s.Results()).(voice.Interim); ok && i.Text == "turn on the light" {
			break
		}
	}
	if err := s.Finalize(); err != nil {
		t.Fatal(err)
	}
	if f, ok := next(t, s).(voice.Final); !ok || f.Text != "turn on the light" || f.Reason != audio.EndRequest {
		t.Errorf("after Finalize %+v", f)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if f, ok := next(t, s).(voice.Final); !ok || f.Text != "please" || f.Reason != audio.EndStream {
		t.Errorf("at the end %+v", f)
	}
	for r := range s.Results() {
		t.Errorf("after the end %+v", r)
	}
	if err := errors.Join(s.Finalize(), s.CloseWrite()); !errors.Is(err, voice.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestWriteWaitsForASlowServer(t *testing.T) {
	t.Parallel()
	caughtUp := make(chan struct{})
	url := raw(t, func(ctx context.Context, c *websocket.Conn) {
		write(ctx, c, hello, `{"lines":[],"remaining_time_transcription":40.0,"remaining_time_transcription_processing":40.0}`)
		<-caughtUp
		write(ctx, c, `{"lines":[{"speaker":1,"text":" done.","start":"0:00:00.00","end":"0:00:20.00"},{"speaker":-2,"start":"0:00:20.00","end":"0:00:30.00"}]}`)
		untilEnd(ctx, c)
		write(ctx, c, `{"type":"ready_to_stop"}`)
	})
	s := open(t, Config{URL: url})
	if err := s.Write(t.Context(), make([]int16, audio.Samples(voice.MaxWaiting-time.Second))); err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Write(impatient, make([]int16, 5*audio.SampleRate)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("30 s before the server: %v", err)
	}
	close(caughtUp)
	if err := s.Write(t.Context(), make([]int16, 5*audio.SampleRate)); err != nil {
		t.Errorf("when it has caught up: %v", err)
	}
	if f, ok := next(t, s).(voice.Final); !ok || f.Text != "done." {
		t.Errorf("heard %+v", f)
	}
}

// TestHungServerIsFound: it takes the connection and never reads from it.
func TestHungServerIsFound(t *testing.T) {
	t.Parallel()
	f := &fake{hear: byLength, t: t}
	hang := make(chan struct{})
	var first atomic.Bool
	first.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !first.Swap(false) {
			f.ServeHTTP(w, q)
			return
		}
		c, err := websocket.Accept(w, q, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		write(q.Context(), c, hello)
		<-hang
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	r := recogniser(t, Config{URL: server.URL, PingEvery: 100 * time.Millisecond})
	s, err := r.Open(t.Context(), voice.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := errors.Join(s.Write(t.Context(), bursts(1)), s.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if f, ok := next(t, s).(voice.Final); !ok || f.Text != "burst number 0" {
		t.Errorf("heard %+v", f)
	}
}

// TestFFmpegReadsOurContainerAtOnce uses upstream's own command.
func TestFFmpegReadsOurContainerAtOnce(t *testing.T) {
	t.Parallel()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is missing; run: apt-get install ffmpeg")
	}
	cmd := exec.CommandContext(t.Context(), ffmpeg, "-hide_banner", "-loglevel", "error", "-i", "pipe:0", "-f", "s16le", "-acodec", "pcm_s16le", "-ac", "1", "-ar", "16000", "pipe:1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var want []byte
	_, _ = in.Write(matroskaHeader())
	sent := 0
	feed := func() {
		pcm := make([]byte, 0, pieceBytes)
		for i := range pieceSamples {
			pcm = binary.LittleEndian.AppendUint16(pcm, uint16(sent+i*7))
		}
		want = append(want, pcm...)
		_, _ = in.Write(matroskaCluster(int64(sent), pcm))
		sent += pieceSamples
	}
	for range 10 {
		feed()
	}
	// A second has been sent: sound comes out while the input is still open.
	got := make([]byte, 3200)
	if n, err := out.Read(got); err != nil || n == 0 {
		t.Fatalf("nothing comes out of a second of sound: %v %s", err, complaints.String())
	} else {
		got = got[:n]
	}
	_ = in.Close()
	var rest bytes.Buffer
	if _, err := rest.ReadFrom(out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
		t.Errorf("ffmpeg: %v %s", err, complaints.String())
	}
	if got = append(got, rest.Bytes()...); !bytes.Equal(got, want) {
		t.Errorf("%d bytes come out of %d, or others", len(got), len(want))
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"give the address": {},
		"such as ws://":    {URL: "localhost"},
		"scheme \"ftp\"":   {URL: "ftp://x/asr"},
		"Longest 1s":       {URL: "ws://x", Longest: time.Second},
		"Streams -1":       {URL: "ws://x", Streams: -1},
		"Format \"wav\"":   {URL: "ws://x", Format: "wav"},
		"Language \"xx\"":  {URL: "ws://x", Language: "xx"},
		"negative":         {URL: "ws://x", GiveUp: -1},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	r := recogniser(t, Config{URL: "https://x.example/?target_language=fra_Latn", Language: "de"})
	if got := r.endpoint.String(); got != "wss://x.example/asr?mode=full&target_language=fra_Latn" {
		t.Errorf("endpoint %s", got)
	}
	if l := r.Features().Languages; l[0] != "de" || !slices.Contains(l, "en") || len(l) < 90 {
		t.Errorf("languages %q", l)
	}
}

func TestKeepGivesBackWhatItHolds(t *testing.T) {
	t.Parallel()
	var k keep
	var all []int16
	for i := range 5000 {
		all = append(all, int16(i))
	}
	for piece := range slices.Chunk(all, 333) {
		k.add(piece)
	}
	k.drop(2000, 0)
	if k.from != 1600 || k.to != 5000 {
		t.Fatalf("kept %d to %d", k.from, k.to)
	}
	for _, at := range []int64{1600, 1601, 3199, 3200, 4999} {
		b := make([]byte, 2*5000+1)
		b = b[:k.read(b, at)]
		if want := audio.Bytes(nil, all[at:]); !bytes.Equal(b, want) {
			t.Errorf("from %d: %d bytes, want %d", at, len(b), len(want))
		}
	}
	k.pack(3300) // the chunks up to 3200 are full and before it
	packed := audio.ExpandMulaw(nil, audio.CompressMulaw(nil, audio.Bytes(nil, all[1600:3200])))
	for _, at := range []int64{1600, 1601, 3199, 3200, 4999} {
		for _, size := range []int{1, 2, 7, 3200, 10001} {
			b := make([]byte, size)
			b = b[:k.read(b, at)]
			want := audio.Bytes(slices.Clone(packed), all[3200:])[2*(at-1600):]
			if want = want[:min(size&^1, len(want))]; !bytes.Equal(b, want) {
				t.Errorf("packed, from %d: %d bytes of %d, want %d", at, len(b), size, len(want))
			}
		}
	}
	if k.packed != 1 {
		t.Errorf("%d chunks are packed", k.packed)
	}
	k.drop(3200, 0)
	if k.pack(4800); k.packed != 1 || k.from != 3200 {
		t.Errorf("%d chunks packed from %d on", k.packed, k.from)
	}
	k.drop(1<<40, 0)
	if n := k.read(make([]byte, 10), k.to); n != 0 || k.from < 4800 {
		t.Errorf("after all was dropped: %d bytes at the end, kept from %d", n, k.from)
	}
	k = keep{}
	k.add(recognisertest.Silence(4000))
	k.add(bursts(1)[audio.SampleRate/2:])
	k.pack(8000)
	if k.drop(0, 1<<40); k.from != 3200 {
		t.Errorf("kept from %d though it is quiet up to 4000 and loud from there on", k.from)
	}
}

func TestCloseAbortsAnOpenThatHangs(t *testing.T) {
	t.Parallel()
	knock, hang := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(knock)
		<-hang
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	r := recogniser(t, Config{URL: server.URL, DialWithin: time.Hour})
	opened := make(chan error, 1)
	go func() {
		_, err := r.Open(t.Context(), voice.StreamOptions{})
		opened <- err
	}()
	<-knock
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-opened; !errors.Is(err, voice.ErrClosed) {
		t.Errorf("Open: %v, want ErrClosed", err)
	}
}

package files

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/wsdoor"
	"github.com/google/uuid"
)

// Options configure a [Door]. Desk is required; other zero fields take the defaults.
type Options struct {
	Desk  *voice.Desk
	Guard wsdoor.Guard
	// MaxBytes is the largest file; default 512 MiB. MaxAudio is the longest recording;
	// default 12 hours.
	MaxBytes int64
	MaxAudio time.Duration
	// Stall is how long an upload may stand still; default 30 s.
	Stall time.Duration
	// Timeout bounds the transcription, from the end of the upload; default 2 minutes, or
	// 2.5 times the recording where that is more.
	Timeout time.Duration
	TempDir string // where uploads wait; default the system's
	Logger  *slog.Logger
}

// Door answers requests. It is an [http.Handler] for POST /v1/audio/transcriptions.
type Door struct {
	o       Options
	clients sync.WaitGroup
}

// New makes a door. Its requests end when the desk closes; call [Door.Wait] then.
func New(o Options) *Door {
	if o.MaxBytes == 0 {
		o.MaxBytes = 512 << 20
	}
	if o.MaxAudio == 0 {
		o.MaxAudio = 12 * time.Hour
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Door{o: o}
}

// Wait waits for the requests to be answered.
func (d *Door) Wait() { d.clients.Wait() }

// ServeHTTP transcribes one recording.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.clients.Add(1)
	defer d.clients.Done()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, bloodbank.Errorf(bloodbank.CodeInvalid, "send the recording with POST, as multipart/form-data"))
		return
	}
	// The server's limits are for small requests; this one has its own.
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	err := d.serve(w, r, control)
	_ = control.SetWriteDeadline(time.Now().Add(d.o.Stall))
	if err == nil || r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // whoever is gone needs no answer
	}
	status := statusOf(err)
	if status >= http.StatusInternalServerError {
		d.o.Logger.Error("recording not transcribed", "error", err)
	}
	refuse(w, status, err)
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, control *http.ResponseController) error {
	if err := d.o.Guard.Check(r); err != nil {
		return err
	}
	// A place is taken before the upload, so that nobody uploads for nothing.
	ticket, err := d.o.Desk.Admit(r.Context(), uuid.Nil)
	if err != nil {
		return err
	}
	defer ticket.Return()
	f, err := d.receive(w, r)
	if err != nil {
		return err
	}
	defer f.remove()
	if _, err := d.o.Desk.Recogniser().Features().Language(f.language); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "language: %w", err)
	}
	heard, err := d.hear(r.Context(), ticket, f)
	if err != nil {
		return err
	}
	w.Header().Set("X-Session-Id", heard.session)
	_ = control.SetWriteDeadline(time.Now().Add(d.o.Stall))
	return f.answer(w, heard)
}

// errSlow is the cause of what takes too long.
var errSlow = errors.New("the time for this recording is up")

func statusOf(err error) int {
	var big *http.MaxBytesError
	switch {
	case errors.Is(err, errSlow):
		return http.StatusRequestTimeout
	case errors.As(err, &big):
		return http.StatusRequestEntityTooLarge
	}
	return bloodbank.CodeOf(err).HTTPStatus()
}

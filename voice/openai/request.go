package openai

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 8 * time.Second
	checkedFor   = 5 * time.Second
)

// fault is why a request brought no text.
type fault struct {
	err   error
	again bool          // another attempt may help
	after time.Duration // what the server asked to wait
	code  int           // HTTP status; 0 when there was none
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// insist posts an utterance until there is an answer, the attempts or the patience are
// used up, or trying again is of no use. Between attempts it holds no turn.
func (r *Recogniser) insist(ctx context.Context, file []byte, language string) (voice.Transcription, error) {
	var patience context.Context
	for attempt := 1; ; attempt++ {
		select {
		case r.turns <- struct{}{}:
		case <-ctx.Done():
			return voice.Transcription{}, context.Cause(ctx)
		}
		if patience == nil {
			var cancel context.CancelFunc
			patience, cancel = context.WithTimeout(ctx, r.config.Patience)
			defer cancel()
		}
		t, err := r.post(patience, file, language)
		<-r.turns
		if err == nil {
			return t, nil
		}
		if ctx.Err() != nil {
			return t, context.Cause(ctx)
		}
		var f *fault
		if !errors.As(err, &f) || !f.again {
			return t, err
		}
		wait := max(f.after, backoff(attempt))
		end, _ := patience.Deadline()
		if attempt == r.config.Attempts || time.Now().Add(wait).After(end) {
			return t, fmt.Errorf("given up after %d attempts: %w", attempt, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return t, err
		}
	}
}

// backoff is half fixed and half chance, so that streams that failed together do not
// come back together.
func backoff(attempt int) time.Duration {
	d := min(backoffFirst<<min(attempt-1, 10), backoffMost)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post asks once; twice when the server turns out to have no verbose_json.
func (r *Recogniser) post(ctx context.Context, file []byte, language string) (voice.Transcription, error) {
	plain := r.plain.Load()
	t, err := r.ask(ctx, file, language, plain)
	var f *fault
	if plain || !errors.As(err, &f) || f.code != http.StatusBadRequest && f.code != http.StatusUnprocessableEntity {
		return t, err
	}
	simple, simpleErr := r.ask(ctx, file, language, true)
	if simpleErr != nil {
		return t, err
	}
	r.plain.Store(true)
	return simple, nil
}

func (r *Recogniser) ask(ctx context.Context, file []byte, language string, plain bool) (voice.Transcription, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	body, kind := r.form(file, language, plain)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url(r.config.Path), bytes.NewReader(body))
	if err != nil {
		return voice.Transcription{}, r.hide(err)
	}
	req.Header.Set("Content-Type", kind)
	answer, err := r.do(req)
	if err != nil {
		return voice.Transcription{}, err
	}
	t, err := parse(answer)
	if err != nil {
		return t, fmt.Errorf("the transcription server at %s: %w", req.URL.Redacted(), err)
	}
	if t.Language == "" {
		t.Language = language
	}
	t.Model = r.config.Model
	return t, nil
}

func (r *Recogniser) url(path string) string {
	base, _ := url.Parse(r.config.BaseURL) // New has checked it
	return base.JoinPath(path).String()
}

// form is the multipart body. It asks for answers that do not vary.
func (r *Recogniser) form(file []byte, language string, plain bool) (body []byte, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	format := "verbose_json"
	if plain {
		format = "json"
	}
	fields := [][2]string{
		{"model", r.config.Model}, {"response_format", format}, {"temperature", "0"},
		{"language", primary(language)}, {"prompt", r.config.Prompt},
	}
	if r.config.Words && !plain {
		fields = append(fields, [2]string{"timestamp_granularities[]", "word"}, [2]string{"timestamp_granularities[]", "segment"})
	}
	// Writes to a buffer do not fail.
	for _, f := range fields {
		if f[1] != "" {
			_ = w.WriteField(f[0], f[1])
		}
	}
	part, _ := w.CreateFormFile("file", "utterance.wav")
	_, _ = part.Write(file)
	_ = w.Close()
	return b.Bytes(), w.FormDataContentType()
}

// do sends a request and returns the body of a good answer.
func (r *Recogniser) do(req *http.Request) ([]byte, error) {
	if r.config.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.config.Token)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, &fault{err: fmt.Errorf("the transcription server does not answer: %w", r.hide(err)), again: true}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, r.config.MaxAnswer+1))
	if int64(len(body)) > r.config.MaxAnswer {
		return nil, fmt.Errorf("the transcription server at %s sends more than %d bytes; is it the right path?", req.URL.Redacted(), r.config.MaxAnswer)
	}
	if res.StatusCode != http.StatusOK {
		return nil, r.refusal(req, res, body)
	}
	if err != nil {
		return nil, &fault{err: fmt.Errorf("the transcription server breaks off its answer: %w", r.hide(err)), again: true}
	}
	return body, nil
}

// refusal says what an answer that is not OK means for whoever runs this.
func (r *Recogniser) refusal(req *http.Request, res *http.Response, body []byte) *fault {
	f := &fault{code: res.StatusCode}
	said := fmt.Errorf("%s answers %s%s", req.URL.Redacted(), res.Status, r.excerpt(body))
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		f.err = fmt.Errorf("%w: the transcription server refuses our token; set a right one: %w", voice.ErrUnavailable, said)
	case code == http.StatusNotFound || code == http.StatusMethodNotAllowed:
		f.err = fmt.Errorf("%w: the transcription server has no such path or model; check both: %w", voice.ErrUnavailable, said)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500 && code != http.StatusNotImplemented:
		f.err, f.again, f.after = said, true, retryAfter(res.Header.Get("Retry-After"))
		if code == http.StatusTooManyRequests {
			f.err = fmt.Errorf("%w: %w", voice.ErrBusy, said)
		}
	default:
		f.err = said
	}
	return f
}

// retryAfter reads seconds or a date.
func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseFloat(v, 64); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// excerpt is the start of what the server says, on one line.
func (r *Recogniser) excerpt(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), 300)]), "?")), " ")
	if text == "" {
		return ""
	}
	return ": " + r.strip(text)
}

// strip takes our token out of texts of others.
func (r *Recogniser) strip(text string) string {
	if r.config.Token == "" {
		return text
	}
	return strings.ReplaceAll(text, r.config.Token, "***")
}

// hide is err in words that hold no token; contexts and the like are still found in it.
func (r *Recogniser) hide(err error) error {
	if text := err.Error(); r.strip(text) != text {
		return errors.New(r.strip(text))
	}
	return err
}

// Check asks the server for its models. An answer that it has no such list is good
// enough; a refused token, an overloaded server and silence are not.
func (r *Recogniser) Check(ctx context.Context) error {
	r.mu.Lock()
	closed, fresh := r.closed, !r.checked.IsZero() && time.Since(r.checked) < checkedFor
	r.mu.Unlock()
	if closed {
		return voice.ErrClosed
	}
	if fresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(r.config.Timeout, 10*time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url(r.config.CheckPath), nil)
	if err != nil {
		return r.hide(err)
	}
	_, err = r.do(req)
	var f *fault
	if errors.As(err, &f) && (f.code == http.StatusNotFound || f.code == http.StatusMethodNotAllowed) {
		err = nil
	}
	switch {
	case err == nil:
		r.mu.Lock()
		r.checked = time.Now()
		r.mu.Unlock()
		return nil
	case errors.Is(err, voice.ErrUnavailable):
		return err
	}
	return fmt.Errorf("%w: %w", voice.ErrUnavailable, err)
}

// wav is a WAV file of 16 kHz mono samples.
func wav(pcm []int16) []byte {
	size := uint32(2 * len(pcm))
	b := make([]byte, 0, 44+size)
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, 36+size)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 1) // PCM
	b = binary.LittleEndian.AppendUint16(b, 1) // mono
	b = binary.LittleEndian.AppendUint32(b, audio.SampleRate)
	b = binary.LittleEndian.AppendUint32(b, 2*audio.SampleRate)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, size)
	return audio.Bytes(b, pcm)
}

package files

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/33god/bloodbank"
)

// form is what a client sent.
type form struct {
	file     *os.File // temporary
	size     int64
	language string
	format   string
	words    bool // are wanted in verbose_json
	segments bool
}

const (
	maxField  = 64 << 10 // of a value; a prompt may be long, and is not used
	maxFields = 64
	formSlack = 1 << 20 // for all that is not the file
)

func (f *form) remove() {
	if f.file != nil {
		_ = f.file.Close()
		_ = os.Remove(f.file.Name())
	}
}

// receive reads the form. Each read may take as long as Stall, however the server is set.
func (d *Door) receive(w http.ResponseWriter, r *http.Request) (*form, error) {
	if r.ContentLength > d.o.MaxBytes+formSlack {
		return nil, d.tooLarge()
	}
	control := http.NewResponseController(w)
	r.Body = &patient{ReadCloser: http.MaxBytesReader(w, r.Body, d.o.MaxBytes+formSlack), extend: func() error {
		return control.SetReadDeadline(time.Now().Add(d.o.Stall))
	}}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeUnsupported, "send the recording as multipart/form-data with a field named file: %w", err)
	}
	f := &form{format: "json"}
	if err := d.readParts(f, parts); err != nil {
		f.remove()
		return nil, d.explain(err)
	}
	_ = control.SetReadDeadline(time.Time{}) // from here on the server watches the connection
	return f, nil
}

// patient reads with a deadline for each read, where the connection has deadlines.
type patient struct {
	io.ReadCloser
	extend func() error
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	_ = p.extend()
	return p.ReadCloser.Read(b)
}

func (d *Door) tooLarge() error {
	return bloodbank.Errorf(bloodbank.CodeTooLarge, "the file is larger than %d bytes; cut it or send a smaller format", d.o.MaxBytes)
}

// explain makes errors of reading the upload the client's.
func (d *Door) explain(err error) error {
	var big *http.MaxBytesError
	var known *bloodbank.Error
	switch {
	case errors.As(err, &big):
		return d.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the upload stood still for %s: %w", d.o.Stall, errSlow)
	case errors.Is(err, syscall.ENOSPC):
		return bloodbank.Errorf(bloodbank.CodeStorageFull, "there is no room for the upload: %w", err)
	case errors.As(err, &known):
		return err
	}
	return bloodbank.Errorf(bloodbank.CodeInvalid, "the form cannot be read: %w", err)
}

func (d *Door) readParts(f *form, parts *multipart.Reader) error {
	granularities := []string{}
	for range maxFields {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return f.check(granularities)
		}
		if err != nil {
			return err
		}
		if part.FormName() == "file" {
			if err := d.spool(f, part); err != nil {
				return err
			}
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil {
			return err
		}
		if len(value) > maxField {
			return bloodbank.Errorf(bloodbank.CodeTooLarge, "the field %q is larger than %d bytes", part.FormName(), maxField)
		}
		switch part.FormName() {
		case "language":
			f.language = string(value)
		case "response_format":
			f.format = string(value)
		case "timestamp_granularities", "timestamp_granularities[]":
			granularities = append(granularities, strings.Split(string(value), ",")...)
		case "stream":
			if string(value) == "true" {
				return bloodbank.Errorf(bloodbank.CodeInvalid, "stream is not supported here; connect to /api/v1/voice for text while somebody speaks")
			}
		}
	}
	return bloodbank.Errorf(bloodbank.CodeInvalid, "the form has more than %d fields", maxFields)
}

func (d *Door) spool(f *form, part io.Reader) (err error) {
	if f.file != nil {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "the form has two fields named file; send one recording at a time")
	}
	if f.file, err = os.CreateTemp(d.o.TempDir, "bb-recording-*"); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInternal, "the upload has no place to go: %w", err)
	}
	if f.size, err = io.Copy(f.file, io.LimitReader(part, d.o.MaxBytes+1)); err != nil {
		return err
	}
	if f.size > d.o.MaxBytes {
		return d.tooLarge()
	}
	return nil
}

func (f *form) check(granularities []string) error {
	switch {
	case f.file == nil:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "the form has no field named file")
	case f.size == 0:
		return bloodbank.Errorf(bloodbank.CodeInvalid, "the file is empty")
	case f.format == "diarized_json":
		return bloodbank.Errorf(bloodbank.CodeInvalid, "diarized_json is not supported: speakers are not told apart here")
	case !slices.Contains([]string{"json", "text", "srt", "vtt", "verbose_json"}, f.format):
		return bloodbank.Errorf(bloodbank.CodeInvalid, "response_format must be json, text, srt, vtt or verbose_json")
	}
	for _, g := range granularities {
		switch strings.TrimSpace(g) {
		case "word":
			f.words = true
		case "segment":
			f.segments = true
		default:
			return bloodbank.Errorf(bloodbank.CodeInvalid, "timestamp_granularities must be word or segment")
		}
	}
	if len(granularities) == 0 {
		f.words, f.segments = true, true
	}
	return nil
}

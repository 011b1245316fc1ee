package listenws

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/audio"
)

// params is what a client says of its session in the query.
type params struct {
	language     string
	raw          audio.RawFormat // zero: the bytes tell
	interim      bool
	endpoint     audio.EndpointSettings
	endpointing  bool          // pauses are told as speech_final
	utteranceEnd time.Duration // 0: UtteranceEnd is not wanted
	vad          bool
}

// The pauses that an endpointer can be set to.
const (
	shortestPause = 200 * time.Millisecond
	longestPause  = 5 * time.Second
)

func parseParams(q url.Values, f voice.Features) (params, error) {
	p := params{language: q.Get("language"), endpointing: true}
	for _, read := range []func(url.Values) error{p.readSwitches, p.readAudio, p.readEndpoint, p.readUtteranceEnd} {
		if err := read(q); err != nil {
			return p, err
		}
	}
	if _, err := f.Language(p.language); err != nil {
		return p, bloodbank.Errorf(bloodbank.CodeInvalid, "language: %w", err)
	}
	return p, nil
}

func (p *params) readSwitches(q url.Values) error {
	for name, to := range map[string]*bool{"interim_results": &p.interim, "vad_events": &p.vad} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		on, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "%s must be true or false", name)
		}
		*to = on
	}
	return nil
}

func (p *params) readAudio(q url.Values) (err error) {
	if n := q.Get("channels"); n != "" && n != "1" {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "channels must be 1")
	}
	encoding := q.Get("encoding")
	if encoding == "" {
		return nil
	}
	switch e := audio.Encoding(strings.ToLower(encoding)); e {
	case audio.Linear16, audio.Linear32, audio.Mulaw, audio.Alaw:
		p.raw.Encoding = e
	default:
		return bloodbank.Errorf(bloodbank.CodeInvalid,
			"encoding must be linear16, linear32, mulaw or alaw; leave it out for audio in a container")
	}
	rate := q.Get("sample_rate")
	if rate == "" {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "encoding needs sample_rate, such as 16000")
	}
	if p.raw.Rate, err = strconv.Atoi(rate); err != nil || p.raw.Rate <= 0 {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "sample_rate must be a number such as 16000")
	}
	if err := p.raw.WithDefaults().Validate(); err != nil {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "sample_rate: %w", err)
	}
	return nil
}

func (p *params) readEndpoint(q url.Values) error {
	switch text := strings.ToLower(q.Get("endpointing")); text {
	case "", "true":
	case "false":
		p.endpointing = false
	default:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return bloodbank.Errorf(bloodbank.CodeInvalid, "endpointing must be milliseconds, true or false")
		}
		p.endpoint.End = min(max(time.Duration(min(n, 1e6))*time.Millisecond, shortestPause), longestPause)
	}
	return nil
}

func (p *params) readUtteranceEnd(q url.Values) error {
	text := q.Get("utterance_end_ms")
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 || n > 5000 {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "utterance_end_ms must be 1000 to 5000")
	}
	if !p.interim {
		return bloodbank.Errorf(bloodbank.CodeInvalid, "utterance_end_ms needs interim_results=true")
	}
	p.utteranceEnd = time.Duration(n) * time.Millisecond
	return nil
}

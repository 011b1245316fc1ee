package httpapi

import (
	"net/http"

	"github.com/33god/bloodbank"
)

// Where the voice doors are.
const (
	pathASR            = "/asr"
	pathVoice          = "/api/v1/voice"
	pathListen         = "/v1/listen"
	pathTranscriptions = "/v1/audio/transcriptions"
)

// VoiceDoors are the ways in for speech. Other packages serve them.
type VoiceDoors struct {
	ASR            http.Handler // /asr, WhisperLiveKit's WebSocket
	Stream         http.Handler // /api/v1/voice, our own WebSocket
	Listen         http.Handler // /v1/listen, Deepgram's WebSocket
	Transcriptions http.Handler // POST /v1/audio/transcriptions, OpenAI's
}

func (s *Server) asr(w http.ResponseWriter, r *http.Request) { s.speak(w, r, s.o.Voice.ASR) }

func (s *Server) voiceStream(w http.ResponseWriter, r *http.Request) {
	s.speak(w, r, s.o.Voice.Stream)
}

func (s *Server) listen(w http.ResponseWriter, r *http.Request) { s.speak(w, r, s.o.Voice.Listen) }

func (s *Server) transcriptions(w http.ResponseWriter, r *http.Request) {
	s.speak(w, r, s.o.Voice.Transcriptions)
}

func (s *Server) speak(w http.ResponseWriter, r *http.Request, door http.Handler) {
	if door == nil {
		s.fail(w, r, bloodbank.Errorf(bloodbank.CodeUnavailable, "there is no speech recogniser: install PocketSphinx with its model (on Debian: apt install libpocketsphinx3 pocketsphinx-en-us) and start bb up again; bb doctor says what is missing"))
		return
	}
	door.ServeHTTP(w, r)
}

package app

import (
	"cmp"
	"context"
	"io"
	"sync"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/config"
	"github.com/33god/bloodbank/gateway"
	"github.com/33god/bloodbank/httpapi"
	"github.com/33god/bloodbank/voice"
	"github.com/33god/bloodbank/voice/asrws"
	"github.com/33god/bloodbank/voice/audio"
	"github.com/33god/bloodbank/voice/files"
	"github.com/33god/bloodbank/voice/listenws"
	"github.com/33god/bloodbank/voice/openai"
	"github.com/33god/bloodbank/voice/pocketsphinx"
	"github.com/33god/bloodbank/voice/streamws"
	"github.com/33god/bloodbank/voice/vosk"
	"github.com/33god/bloodbank/voice/whisperlive"
	"github.com/33god/bloodbank/voice/wsdoor"
)

// voiceDoor is the speech side of the server: the recogniser and the door that
// uses it.
type voiceDoor struct {
	recogniser voice.Recogniser
	desk       *voice.Desk
	asr        *asrws.Door
	stream     *streamws.Door
	listen     *listenws.Door
	files      *files.Door

	warm sync.WaitGroup
	stop context.CancelFunc
}

// openRecogniser chooses the recogniser.
func openRecogniser(cfg config.Config) (voice.Recogniser, error) {
	v := cfg.Voice
	switch v.Recogniser {
	case "", "pocketsphinx":
		return pocketsphinx.New(pocketsphinx.Config{Library: v.Library, ModelDir: v.ModelDir, Workers: v.Workers})
	case "whisperlive":
		return whisperlive.New(whisperlive.Config{URL: v.Upstream, Token: v.UpstreamToken, Language: v.Language, Streams: maxSessions(v)})
	case "openai":
		return openai.New(openai.Config{BaseURL: v.Upstream, Path: v.UpstreamPath, Token: v.UpstreamToken, Model: v.Model, Language: v.Language, Words: true})
	case "vosk":
		return vosk.New(vosk.Config{URL: v.Upstream, Token: v.UpstreamToken, Language: v.Language, Model: v.Model})
	}
	return nil, bloodbank.Errorf(bloodbank.CodeUnsupported,
		"there is no recogniser %q; this version has pocketsphinx, whisperlive, openai and vosk", v.Recogniser)
}

// sessionsElsewhere is how many clients may speak at once where another machine
// does the work.
const sessionsElsewhere = 100

// maxSessions is the configured limit, or what suits the recogniser.
func maxSessions(v config.Voice) int {
	if v.MaxSessions == 0 && v.Upstream != "" {
		return sessionsElsewhere
	}
	return v.MaxSessions
}

// openVoice opens the door even where the recogniser cannot work: the door then
// says what to install.
func (a *App) openVoice(ctx context.Context) error {
	r, err := openRecogniser(a.cfg)
	if err != nil {
		return err
	}
	secret, err := voiceSecret(a.cfg.DataDir)
	if err != nil {
		return err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	desk := voice.NewDesk(life, voice.DeskOptions{
		Recogniser: r, Emitter: emitter{a.gateway}, MaxSessions: maxSessions(a.cfg.Voice), Grace: cmp.Or(a.cfg.Voice.Grace, -1),
		Secret: secret, Past: voicePast{a}, Logger: a.log,
		Transcoder: audio.NewTranscoder(audio.TranscoderOptions{}),
	})
	guard := wsdoor.Guard{Origins: a.cfg.Voice.Origins}
	a.voice = voiceDoor{
		recogniser: r, desk: desk, stop: stop,
		asr:    asrws.New(asrws.Options{Desk: desk, Origins: a.cfg.Voice.Origins, Logger: a.log}),
		stream: streamws.New(streamws.Options{Desk: desk, Guard: guard, Logger: a.log}),
		listen: listenws.New(listenws.Options{Desk: desk, Guard: guard, Logger: a.log}),
		files:  files.New(files.Options{Desk: desk, Guard: guard, Logger: a.log}),
	}
	// Loading the model takes a while; nobody waits for it but the first speaker.
	a.voice.warm.Go(func() {
		if err := r.Check(life); err != nil && life.Err() == nil {
			a.log.Warn("voice is off; everything else works", "error", err)
		}
	})
	return nil
}

func (a *App) closeVoice(ctx context.Context) error {
	err := a.voice.desk.Close(ctx)
	a.voice.stop()
	a.voice.asr.Wait()
	a.voice.stream.Wait()
	a.voice.listen.Wait()
	a.voice.files.Wait()
	if closeErr := a.voice.recogniser.Close(); err == nil {
		err = closeErr
	}
	a.voice.warm.Wait()
	return err
}

// voiceDoors are the doors for HTTP.
func (a *App) voiceDoors() httpapi.VoiceDoors {
	return httpapi.VoiceDoors{ASR: a.voice.asr, Stream: a.voice.stream, Listen: a.voice.listen, Transcriptions: a.voice.files}
}

// emitter lets the voice door publish through the gateway.
type emitter struct{ gateway *gateway.Gateway }

// Emit implements voice.Emitter.
func (e emitter) Emit(ctx context.Context, env bloodbank.Envelope) (bloodbank.Receipt, error) {
	return e.gateway.Accept(ctx, gateway.Request{Envelope: env, App: "bb", SourceType: bloodbank.SourceManual})
}

// ASRWorkerCommand is the verb under which this binary is a recogniser's worker.
const ASRWorkerCommand = pocketsphinx.WorkerCommand

// RunASRWorker serves a recogniser over in and out until in ends.
func RunASRWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	return pocketsphinx.RunWorker(ctx, in, out)
}

package cli

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/33god/bloodbank"
)

// recordings are what the arguments of bb voice name, in order.
func recordings(args []string) (all []recording, err error) {
	for _, arg := range args {
		if arg == "-" {
			if slices.ContainsFunc(all, func(r recording) bool { return r.pipe }) {
				return nil, usagef("- is there twice, but there is one standard input")
			}
			all = append(all, recording{pipe: true})
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, bloodbank.Errorf(bloodbank.CodeNotFound, "cannot read the audio: %w", err)
		case info.IsDir():
			inside, err := recordingsIn(arg)
			if err != nil {
				return nil, err
			}
			all = append(all, inside...)
		default:
			all = append(all, recording{path: arg})
		}
	}
	return all, nil
}

// recordingsIn are the recordings in a folder, by name; not those in folders below it.
func recordingsIn(dir string) (all []recording, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, bloodbank.Errorf(bloodbank.CodeNotFound, "cannot read the folder: %w", err)
	}
	for _, e := range entries {
		if isRecording(e.Name()) && !e.IsDir() {
			all = append(all, recording{path: filepath.Join(dir, e.Name())})
		}
	}
	if len(all) == 0 {
		return nil, bloodbank.Errorf(bloodbank.CodeNotFound, "there are no recordings in %s: no names that end in .wav, .ogg, .webm, .flac, .mp3 and such", dir)
	}
	return all, nil
}

func isRecording(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".wav", ".wave", ".raw", ".pcm", ".s16", ".ogg", ".oga", ".opus", ".webm", ".mka", ".flac", ".mp3", ".m4a", ".mp4",
		".aac", ".aiff", ".aif", ".au", ".caf", ".amr", ".wma", ".w64":
		return true
	}
	return false
}

func (r recording) open(stdin io.Reader) (openAudio, error) {
	if r.pipe {
		return openAudio{stdin, io.NopCloser(nil)}, nil
	}
	f, err := os.Open(r.path)
	if err != nil {
		return openAudio{}, bloodbank.Errorf(bloodbank.CodeNotFound, "cannot read the audio: %w", err)
	}
	return openAudio{f, f}, nil
}

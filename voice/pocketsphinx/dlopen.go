//go:build linux || darwin || freebsd

package pocketsphinx

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/ebitengine/purego"
)

func libraryNames(wanted string) []string {
	if wanted != "" {
		return []string{wanted}
	}
	if runtime.GOOS == "darwin" {
		return []string{"libpocketsphinx.3.dylib", "libpocketsphinx.dylib"}
	}
	return []string{"libpocketsphinx.so.3", "libpocketsphinx.so"}
}

func openLibrary(wanted string) (*library, error) {
	var faults []error
	for _, name := range libraryNames(wanted) {
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err == nil {
			return bind(handle)
		}
		faults = append(faults, err)
	}
	return nil, fmt.Errorf("the PocketSphinx library cannot be opened; run: %s\n%w", Install, errors.Join(faults...))
}

// bind looks the functions up. Those of libsphinxbase are found through the library,
// which needs it.
func bind(handle uintptr) (*library, error) {
	l := &library{}
	for name, f := range map[string]any{
		"ps_args": &l.args, "cmd_ln_parse_r": &l.parse, "cmd_ln_free_r": &l.freeConfig,
		"ps_init": &l.open, "ps_free": &l.free, "ps_start_utt": &l.start,
		"ps_process_raw": &l.process, "ps_end_utt": &l.end, "ps_get_hyp": &l.hypothesis,
		"ps_seg_iter": &l.segments, "ps_seg_next": &l.nextSeg, "ps_seg_word": &l.segWord,
		"ps_seg_frames": &l.segFrames, "ps_seg_prob": &l.segProb,
		"ps_get_logmath": &l.logmath, "logmath_exp": &l.exp,
		"ps_get_fe": &l.frontEnd, "fe_get_output_size": &l.width, "fe_start_stream": &l.startStream,
		"fe_start_utt": &l.startFrames, "fe_process_frames": &l.frames, "fe_end_utt": &l.endFrames,
		"ps_process_cep": &l.cepstra,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("this PocketSphinx library has no %s; version 0.8+5prealpha is needed; run: %s", name, Install)
		}
		purego.RegisterFunc(f, symbol)
	}
	return l, nil
}

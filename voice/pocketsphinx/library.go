package pocketsphinx

// library is the part of PocketSphinx's C interface that we call. Handles of C objects
// are plain numbers to us: Go's collector never sees what they point to.
type library struct {
	args       func() uintptr
	parse      func(in, definitions uintptr, argc int32, argv *uintptr, strict int32) uintptr
	freeConfig func(config uintptr) int32
	open       func(config uintptr) uintptr
	free       func(decoder uintptr) int32
	start      func(decoder uintptr) int32
	process    func(decoder uintptr, pcm *int16, n uintptr, noSearch, fullUtterance int32) int32
	end        func(decoder uintptr) int32
	hypothesis func(decoder uintptr, score *int32) string
	segments   func(decoder uintptr, score *int32) uintptr
	nextSeg    func(segment uintptr) uintptr
	segWord    func(segment uintptr) string
	segFrames  func(segment uintptr, start, end *int32)
	segProb    func(segment uintptr, acoustic, language, backoff *int32) int32
	logmath    func(decoder uintptr) uintptr
	exp        func(logmath uintptr, p int32) float64

	frontEnd    func(decoder uintptr) uintptr
	width       func(front uintptr) int32
	startStream func(front uintptr) int32
	startFrames func(front uintptr) int32
	frames      func(front uintptr, pcm **int16, n *uintptr, to *uintptr, room, at *int32) int32
	endFrames   func(front uintptr, to *float32, n *int32) int32
	cepstra     func(decoder uintptr, rows *uintptr, n, noSearch, fullUtterance int32) int32
}

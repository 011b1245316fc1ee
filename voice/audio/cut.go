package audio

// EndRequest is why an utterance ended that [Endpointer.Cut] ended.
const EndRequest EndReason = "request"

// Cut ends speech that is open now, as a pause would. The stream goes on.
func (e *Endpointer) Cut(l Listener) {
	if !e.talking {
		return
	}
	if e.loud > 0 {
		e.tell(e.quiet, l)
		e.quiet = e.quiet[:0]
	}
	e.finish(e.told, EndRequest, l)
}

// Package whisperlive is the recogniser "whisperlive": a gateway to a WhisperLiveKit
// server that somebody else runs, of either generation.
//
//	samples ─ keep ─ link ══ WebSocket ══ upstream
//	                            │ snapshots: all lines, ten times a second
//	results ◀─────── reducer ◀──┘
//
// Upstream tells its whole state again and again, and takes words back, moves them to
// another speaker or forgets old ones. The reducer makes of that what the rest of
// Bloodbank needs: finals that come exactly once and never change. Audio whose final has
// not come is kept; when upstream is lost it is sent again to the next connection.
//
// The package knows no session, no event and no other recogniser.
package whisperlive

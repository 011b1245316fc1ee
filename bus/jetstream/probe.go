package jetstream

import (
	"context"
	"errors"
)

// Probe reports what [Dial] would meet, and changes nothing: whether a server can
// be reached, lets us in, has JetStream, and whether a stream that is there is
// fit. Unlike Dial it also returns what may pass by itself, such as a server that
// is down.
func Probe(ctx context.Context, o DialOptions) error {
	o.probe = true
	b, err := Dial(ctx, o)
	if err != nil {
		return err
	}
	err = b.far.now()
	return errors.Join(err, b.Close(ctx))
}

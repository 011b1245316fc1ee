package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
)

// playPart is the main function of a child.
func playPart(what string) int {
	part, dir, _ := strings.Cut(what, " ")
	var err error
	switch part {
	case "publish":
		err = publishForEver(dir)
	case "full":
		err = fillUp(dir)
	case "nats-server":
		err = serveNATS(dir)
	case "consume":
		err = consumeAndHang(dir)
	default:
		err = errors.New("no such part")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

// publishForEver prints each id once it is confirmed.
func publishForEver(dir string) error {
	ctx := context.Background()
	b, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	for {
		id, err := bloodbank.NewEventID()
		if err != nil {
			return err
		}
		err = b.Publish(ctx, bus.Message{ID: id, Type: "child.id.sent", Data: make([]byte, 1000)}, func(err error) {
			if err == nil {
				fmt.Println(id)
			}
		})
		if err != nil {
			return err
		}
	}
}

// fillUp publishes until the disk is "full" (the largest file is limited), then
// makes room and demands that the bus comes back by itself.
func fillUp(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := Open(ctx, Options{Dir: dir, ConfirmTimeout: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	var room unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &room); err != nil {
		return err
	}
	tight := unix.Rlimit{Cur: 1 << 20, Max: room.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &tight); err != nil {
		return err
	}
	stored := map[bloodbank.EventID]struct{}{}
	send := func() error {
		id, err := bloodbank.NewEventID()
		if err != nil {
			return err
		}
		result := make(chan error, 1)
		err = b.Publish(ctx, bus.Message{ID: id, Type: "child.id.sent", Data: make([]byte, 100_000)}, func(err error) { result <- err })
		if err == nil {
			err = <-result
		}
		if err == nil {
			stored[id] = struct{}{}
		}
		return err
	}
	for send() == nil {
		if len(stored) > 100 {
			return errors.New("the disk never filled up")
		}
	}
	fmt.Println("full")
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &room); err != nil {
		return err
	}
	for send() != nil {
		if ctx.Err() != nil {
			return errors.New("it did not come back after there was room again")
		}
	}
	held, err := b.Recall(ctx, time.Unix(0, 0))
	if err != nil {
		return err
	}
	for id := range stored {
		if _, ok := held[id]; !ok {
			return fmt.Errorf("%s was confirmed and is gone", id)
		}
	}
	fmt.Println("back")
	return b.Close(ctx)
}

// serveNATS is a NATS server of the version that is embedded, as a process of its
// own.
func serveNATS(config string) error {
	o, err := server.ProcessConfigFile(config)
	if err != nil {
		return err
	}
	o.NoSigs = true
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// consumeAndHang joins the group "shared" at a URL, prints what it gets, and never
// acknowledges it.
func consumeAndHang(url string) error {
	ctx := context.Background()
	b, err := Dial(ctx, DialOptions{URL: url})
	if err != nil {
		return err
	}
	c := bus.Consumer{Group: "shared", MaxBatch: 5, AckWait: 2 * time.Second}
	return b.Consume(ctx, c, func(ctx context.Context, batch []bus.Delivery) error {
		for _, d := range batch {
			fmt.Println(d.ID)
		}
		select {}
	})
}

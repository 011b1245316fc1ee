package wal_test

import (
	"context"
	"fmt"
	"log"

	"github.com/33god/bloodbank/wal"
	"github.com/33god/bloodbank/wal/vfs"
)

// A gateway appends; a follower reads from where its cursor stands and lets go of what it has done with.
func Example() {
	ctx := context.Background()
	l, err := wal.Open(ctx, wal.Options{Dir: "/events", FS: vfs.NewMem()}) // without FS: on the real disk
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	seq, err := l.Append(ctx, []byte(`{"event":"first"}`)) // durable when it returns
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("accepted as", seq)

	follower, err := l.Cursor("dispatch")
	if err != nil {
		log.Fatal(err)
	}
	r, err := l.NewReader(follower.Position() + 1)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	record, err := r.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("read %d %s\n", record.Seq, record.Data)
	follower.Advance(record.Seq)
	if err := l.Truncate(ctx, follower.Position()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// accepted as 1
	// read 1 {"event":"first"}
}

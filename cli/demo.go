package cli

import (
	"bytes"
	"context"
	_ "embed"

	"github.com/google/uuid"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
)

// demoClip is a sentence spoken by a synthesiser (make demo-clip makes it anew).
//
//go:embed demo.wav
var demoClip []byte

// demo speaks a sentence into the server and follows what becomes of it.
func (c *command) demo(ctx context.Context, url string) error {
	c.url = url
	cl, err := c.client()
	if err != nil {
		return err
	}
	session, err := uuid.NewV7()
	if err != nil {
		return err
	}
	c.say("\nDemo: speaking a bundled clip into %s/asr …\n", url)
	err = c.voice(ctx, cl, client.VoiceRequest{
		Audio: bytes.NewReader(demoClip), RealTime: true, SessionID: session.String(), Target: "tonny",
	})
	if bloodbank.CodeOf(err) == bloodbank.CodeUnavailable {
		c.say("Voice cannot work here: %v\nThe rest of the demo publishes by hand.\n", err)
		return c.demoByHand(ctx, cl)
	}
	if err != nil {
		return err
	}
	if err := awaitClosed(ctx, cl, session.String()); err != nil {
		return err
	}
	return c.demoTrace(ctx, cl, "session:"+session.String())
}

// awaitClosed waits until the last event of a session can be found.
func awaitClosed(ctx context.Context, cl *client.Client, session string) error {
	ctx, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	for _, err := range cl.Watch(ctx, client.WatchRequest{
		Query: "session:" + session + " type:" + string(bloodbank.TypeSessionClosed), Since: 0,
	}) {
		return err
	}
	return nil
}

// demoTrace shows what the oldest event that the filter finds has caused.
func (c *command) demoTrace(ctx context.Context, cl *client.Client, query string) error {
	page, err := cl.Events(ctx, client.EventsRequest{Query: query, Limit: 1, Order: "asc"})
	if err != nil {
		return err
	}
	if len(page.Events) == 0 {
		return bloodbank.Errorf(bloodbank.CodeNotFound, "no event was stored")
	}
	root, err := bloodbank.DecodeEnvelope(page.Events[0])
	if err != nil {
		return err
	}
	g, err := c.graph(ctx, root.EventID, "both", 100)
	if err != nil {
		return err
	}
	tree, err := drawTree(g)
	if err != nil {
		return err
	}
	c.print("\nbb trace %s\n%s", root.EventID, tree)
	c.say("Try:  bb events      bb watch      bb publish llm.prompt --mock -c %s\nStop with Ctrl-C.", root.EventID)
	return nil
}

// demoByHand publishes a prompt and its answer.
func (c *command) demoByHand(ctx context.Context, cl *client.Client) error {
	var parent []bloodbank.EventID
	for _, name := range []string{"llm.prompt", "llm.response"} {
		t, example, err := c.resolveType(ctx, name, true)
		if err != nil {
			return err
		}
		receipt, err := cl.Publish(ctx, client.PublishRequest{
			Envelope: bloodbank.Envelope{EventType: t, Payload: example, CorrelationIDs: parent}, Wait: bloodbank.AckStored,
		})
		if err != nil {
			return err
		}
		parent = []bloodbank.EventID{receipt.EventID}
		raw, err := storedEvent(ctx, cl, receipt.EventID)
		if err != nil {
			return err
		}
		if err := c.printEvent(raw); err != nil {
			return err
		}
	}
	return c.demoTrace(ctx, cl, "id:"+parent[0].String())
}

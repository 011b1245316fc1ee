package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
	"github.com/33god/bloodbank/httpapi"
)

func (b *bundle) client() *client.Client {
	b.t.Helper()
	c, err := client.New(b.url, client.Options{UserAgent: "pin/1"})
	must(b.t, err)
	b.t.Cleanup(c.Close)
	return c
}

// TestClientAndServer pins both sides to each other: every call of the client on
// a real server.
func TestClientAndServer(t *testing.T) {
	t.Parallel()
	l := &letters{gone: map[uint64]bool{}}
	b := setup(t, func(o *httpapi.Options) {
		o.DeadLetters = l
		o.Checks = checks(map[string]error{"wal": nil, "bus": errors.New("away")})
	})
	c, ctx := b.client(), t.Context()

	a, err := c.Publish(ctx, client.PublishRequest{Type: promptType, Payload: json.RawMessage(prompt), Wait: bloodbank.AckStored})
	must(t, err)
	if a.Ack != bloodbank.AckStored || a.Sequence != 1 {
		t.Errorf("%+v", a)
	}
	child := bloodbank.Envelope{EventType: promptType, Payload: json.RawMessage(prompt), CorrelationIDs: []bloodbank.EventID{a.EventID}}
	more, err := c.PublishAll(ctx, client.PublishAllRequest{Envelopes: []bloodbank.Envelope{child, child}, Wait: bloodbank.AckStored})
	must(t, err)
	again, err := c.Publish(ctx, client.PublishRequest{Envelope: bloodbank.Envelope{EventID: a.EventID, EventType: promptType, Payload: json.RawMessage(prompt)}})
	if err != nil || !again.Duplicate || again.Sequence != 1 {
		t.Errorf("%+v %v", again, err)
	}

	raw, err := c.Event(ctx, a.EventID)
	must(t, err)
	stored, err := b.store.Get(ctx, a.EventID)
	must(t, err)
	if !bytes.Equal(raw, stored.Raw) || stored.Envelope.Source.App != "pin" {
		t.Errorf("%s", raw)
	}
	first, err := c.Events(ctx, client.EventsRequest{Query: "type:" + promptType, Limit: 2, Order: "asc"})
	must(t, err)
	rest, err := c.Events(ctx, client.EventsRequest{Query: "type:" + promptType, Limit: 2, Order: "asc", Cursor: first.Next})
	if err != nil || len(first.Events) != 2 || len(rest.Events) != 1 || rest.Next != "" || !bytes.Equal(first.Events[0], raw) {
		t.Errorf("%s %s %v", first.Events, rest.Events, err)
	}

	chain, err := c.Chain(ctx, a.EventID, "descendants", 10)
	must(t, err)
	if chain.Chain[0] != a.EventID || len(chain.Nodes) != 3 || chain.Nodes[0].Type != promptType || chain.Truncated || chain.Nodes[0].App != "pin" {
		t.Errorf("%+v", chain)
	}
	links, err := c.Correlation(ctx, more[0].EventID)
	if err != nil || !slices.Equal(links.Parents, []bloodbank.EventID{a.EventID}) || len(links.Ancestors) != 2 || len(links.Children) != 0 {
		t.Errorf("%+v %v", links, err)
	}
	pinOperations(t, ctx, c, l)
	pinErrors(t, ctx, c)
}

func pinOperations(t *testing.T, ctx context.Context, c *client.Client, l *letters) {
	t.Helper()
	list, err := c.DeadLetters(ctx, client.DeadLettersRequest{After: 1, Limit: 5})
	if err != nil || len(list) != 2 || list[0].Number != 2 || list[0].EventType != "a.b" {
		t.Errorf("%+v %v", list, err)
	}
	letter, err := c.DeadLetter(ctx, 3)
	if err != nil || string(letter.Event) != `{"a":1}` {
		t.Errorf("%+v %v", letter, err)
	}
	must(t, c.Redrive(ctx, 1))
	outcomes, err := c.RedriveMany(ctx, client.LettersRequest{Numbers: []uint64{3, 2}})
	if r := outcomes.Results; err != nil || len(r) != 2 || r[0].OK || !r[1].OK || r[0].Error.Code != bloodbank.CodeUnavailable || outcomes.Done != 1 || outcomes.Failed != 1 || !l.gone[3] {
		t.Errorf("%+v %v", outcomes, err)
	}
	filter := client.DeadLetterFilter{Type: "a.*", Reason: "large", Target: "bus", Since: time.Unix(2, 0), Until: time.Unix(4, 0)}
	list, err = c.DeadLetters(ctx, client.DeadLettersRequest{Filter: filter})
	if err != nil || len(list) != 2 || list[0].Target != "bus" {
		t.Errorf("%+v %v", list, err)
	}
	outcomes, err = c.RedriveMany(ctx, client.LettersRequest{Filter: filter, DryRun: true, Limit: 1, After: "5.1"})
	if err != nil || !outcomes.DryRun || outcomes.Matched != 2 || outcomes.Left != 1 || outcomes.Next != "10.1" || outcomes.Stopped.Code != bloodbank.CodeUnavailable {
		t.Errorf("%+v %v", outcomes, err)
	}
	outcomes, err = c.Discard(ctx, client.LettersRequest{Filter: client.DeadLetterFilter{}, Reason: "old"})
	if err != nil || outcomes.Done != 3 {
		t.Errorf("%+v %v", outcomes, err)
	}
	status, err := c.Status(ctx)
	if err != nil || !bytes.Contains(status, []byte(`"version":"1.2.3"`)) {
		t.Errorf("%s %v", status, err)
	}
	ready, err := c.Ready(ctx)
	if err != nil || ready.Ready || !ready.Checks["wal"].OK || ready.Checks["bus"].Error != "away" || ready.Version != "1.2.3" {
		t.Errorf("%+v %v", ready, err)
	}
	schemas, err := c.Schemas(ctx)
	must(t, err)
	if i := slices.IndexFunc(schemas, func(s client.SchemaInfo) bool { return s.Type == promptType }); i < 0 || !schemas[i].Command || schemas[i].Origin != "embedded" {
		t.Errorf("%+v", schemas)
	}
	document, err := c.Schema(ctx, promptType)
	if err != nil || !json.Valid(document) {
		t.Errorf("%s %v", document, err)
	}
	must(t, c.Validate(ctx, promptType, []byte(prompt)))
}

func pinErrors(t *testing.T, ctx context.Context, c *client.Client) {
	t.Helper()
	nobody := parseID(t, idNone)
	_, publish := c.Publish(ctx, client.PublishRequest{Type: promptType, Payload: json.RawMessage(`{}`)})
	_, unknown := c.Publish(ctx, client.PublishRequest{Type: "my.own", Payload: json.RawMessage(`{}`)})
	_, event := c.Event(ctx, nobody)
	_, chain := c.Chain(ctx, nobody, "ancestors", 0)
	_, sideways := c.Chain(ctx, nobody, "sideways", 0)
	_, events := c.Events(ctx, client.EventsRequest{Query: "colour:red"})
	_, letter := c.DeadLetter(ctx, 9)
	var watched error
	for _, watched = range c.Watch(ctx, client.WatchRequest{Query: "colour:red"}) {
	}
	for name, got := range map[string]struct {
		err  error
		code bloodbank.Code
	}{
		"publish": {publish, bloodbank.CodeSchema}, "unknown": {unknown, bloodbank.CodeUnknownType}, "event": {event, bloodbank.CodeNotFound},
		"chain": {chain, bloodbank.CodeNotFound}, "sideways": {sideways, bloodbank.CodeInvalid}, "events": {events, bloodbank.CodeInvalid},
		"letter": {letter, bloodbank.CodeNotFound}, "redrive": {c.Redrive(ctx, 2), bloodbank.CodeUnavailable}, "watch": {watched, bloodbank.CodeInvalid},
		"validate": {c.Validate(ctx, promptType, []byte(`{}`)), bloodbank.CodeSchema},
	} {
		var e *bloodbank.Error
		if !errors.As(got.err, &e) || e.Code != got.code || e.Message == "" || e.Code == bloodbank.CodeSchema && len(e.Details) == 0 {
			t.Errorf("%s: %#v, want %s", name, got.err, got.code)
		}
	}
}

// TestWatchAcrossConnections: the connections are cut in the middle, and no event
// is missed or seen twice.
func TestWatchAcrossConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for n := 1; n <= 5; n++ {
		b.publish(numbered(n))
	}
	seen := 0
	for event, err := range b.client().Watch(t.Context(), client.WatchRequest{Query: "my.own"}) {
		must(t, err)
		seen++
		if event.Sequence != int64(seen) || !bytes.HasSuffix(event.Raw, []byte(`{"n":`+strconv.Itoa(seen)+`}}`)) {
			t.Fatalf("%d: %d %s", seen, event.Sequence, event.Raw)
		}
		if seen == 10 {
			break
		}
		if seen == 5 {
			b.cutStreams()
			for n := 6; n <= 10; n++ {
				b.publish(numbered(n))
			}
		}
	}
}

package rabbitmq

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/bus"
	"github.com/33god/bloodbank/internal/testenv"
)

// python runs the producer or consumer of testdata/original.py, which knows
// nothing but the original's two variables.
func python(t *testing.T, url, exchange string, input io.Reader, args ...string) (lines *bufio.Scanner, wait func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, testenv.Python(t), append([]string{filepath.Join("testdata", "original.py")}, args...)...)
	cmd.Env = []string{"RABBIT_URL=" + url, "EXCHANGE_NAME=" + exchange, "PYTHONDONTWRITEBYTECODE=1"}
	var faults bytes.Buffer
	cmd.Stdin, cmd.Stderr, cmd.WaitDelay = input, &faults, time.Second
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewScanner(out), func() {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Errorf("python %v: %v: %s", args, err, faults.String())
		}
	}
}

// seen is what a Python consumer sees of a message.
type seen struct {
	RoutingKey      string          `json:"routing_key"`
	MessageID       string          `json:"message_id"`
	CorrelationID   *string         `json:"correlation_id"`
	ContentType     string          `json:"content_type"`
	ContentEncoding string          `json:"content_encoding"`
	DeliveryMode    int             `json:"delivery_mode"`
	Headers         map[string]any  `json:"headers"`
	Event           json.RawMessage `json:"event"`
}

func TestPythonConsumer(t *testing.T) {
	testenv.Python(t)
	r := testenv.RabbitMQ(t)
	const exchange = "python.events"
	lines, wait := python(t, r.URL(), exchange, nil, "consume", "candystore.storage", "test.#", "3")
	if !lines.Scan() || lines.Text() != "ready" {
		wait()
		t.Fatalf("it does not listen: %q", lines.Text())
	}
	b := open(t, Options{URL: r.URL(), Exchange: exchange, Groups: []string{"recorder"}})
	plain, child, packed := newMessage(t), newMessage(t), newMessage(t)
	child.Parent = plain.ID
	child.Data = []byte(`{"text": "größer 漢 🙂", "n": 9007199254740993}`)
	packed.Encoding, packed.Data = "gzip", []byte{0x1f, 0x8b}
	other := newMessage(t)
	other.Type = "other.message.sent" // not for it
	for _, m := range []bus.Message{plain, other, child, packed} {
		if err := result(t, b, m); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range []bus.Message{plain, child, packed} {
		if !lines.Scan() {
			t.Fatalf("message %d did not come: %v", i, lines.Err())
		}
		var got seen
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want := seen{RoutingKey: string(m.Type), MessageID: m.ID.String(), ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: 2}
		if !m.Parent.IsZero() {
			parent := m.Parent.String()
			want.CorrelationID = &parent
		}
		event := got.Event
		got.Event = nil
		if m.Encoding != "" {
			want.ContentEncoding = m.Encoding
		} else if !sameJSON(t, event, m.Data) {
			t.Errorf("it reads %s, sent was %s", event, m.Data)
		}
		if string(event) == "null" {
			event = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("it sees %+v, want %+v", got, want)
		}
	}
	wait()
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	read := func(data []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Error(err)
		}
		return v
	}
	return reflect.DeepEqual(read(a), read(b))
}

func TestPythonProducer(t *testing.T) {
	testenv.Python(t)
	r := testenv.RabbitMQ(t)
	b := open(t, Options{URL: r.URL(), Groups: []string{"recorder"}})
	var input bytes.Buffer
	first, err := bloodbank.DecodeEnvelope(firstEnvelope(t))
	if err != nil {
		t.Fatal(err)
	}
	var sent []bloodbank.EventID
	for range 20 {
		e := first
		e.EventID = newMessage(t).ID
		sent = append(sent, e.EventID)
		data, err := e.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		input.Write(append(data, '\n'))
	}
	_, wait := python(t, r.URL(), DefaultExchange, &input, "produce")
	wait()
	for i, d := range drain(t, b, "recorder", len(sent)) {
		e, err := bloodbank.DecodeEnvelope(d.Data)
		if err != nil || e.EventID != sent[i] || d.ID != sent[i] || d.Type != first.EventType || d.Encoding != "" {
			t.Errorf("delivery %d: %+v, %v", i, d, err)
		}
	}
}

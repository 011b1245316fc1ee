package torture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/33god/bloodbank"
)

// fakeEnv makes the test binary a server for torture; its value is how that lies.
const fakeEnv = "BB_TORTURE_TEST_FAKE"

func TestMain(m *testing.M) {
	if lie := os.Getenv(fakeEnv); lie != "" {
		os.Exit(serveFake(lie, os.Args[len(os.Args)-1]))
	}
	goleak.VerifyTestMain(m)
}

// fake answers as bb does, as far as torture looks, and keeps events in one file.
// Its lie is the one thing that it does wrong.
type fake struct {
	lie  string
	file *os.File

	mu     sync.Mutex
	events []bloodbank.Envelope // in the order of the store
	raw    [][]byte
	places map[bloodbank.EventID]int // from 1
	asked  int
	held   [][]byte // accepted, but only in memory
	more   chan struct{}
}

func serveFake(lie, data string) int {
	err := os.MkdirAll(data, 0o700)
	if err != nil {
		return 1
	}
	f := &fake{lie: lie, places: make(map[bloodbank.EventID]int), more: make(chan struct{})}
	if f.file, err = os.OpenFile(filepath.Join(data, "events"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return 1
	}
	lines := bufio.NewScanner(f.file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f.show(bytes.Clone(lines.Bytes()))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() { _ = http.Serve(listener, f.routes()) }()
	fmt.Fprintf(os.Stderr, "the fake is ready at http://%s\n", listener.Addr())
	<-end
	f.mu.Lock()
	for _, line := range f.held {
		_, _ = f.file.Write(line)
	}
	if lie == "ends badly" {
		return 3
	}
	return 0
}

func (f *fake) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", f.publish)
	mux.HandleFunc("GET /events/stream", f.stream)
	mux.HandleFunc("GET /events/{id}", f.event)
	mux.HandleFunc("GET /dlq", f.dead)
	mux.HandleFunc("GET /debug/correlation/{id}/chain", f.chain)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		lag := 0
		if f.lie == "never delivers" {
			lag = 7
		}
		fmt.Fprintf(w, `{"dispatch":{"lag":%d,"fault":"no broker"},"recorder":{"lag":0}}`, lag)
	})
	return mux
}

func fail(w http.ResponseWriter, code bloodbank.Code) {
	w.WriteHeader(code.HTTPStatus())
	_ = json.NewEncoder(w).Encode(map[string]any{"error": bloodbank.Errorf(code, "the fake says so")})
}

func (f *fake) publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var list []json.RawMessage
	single := body[0] != '['
	if single {
		list = []json.RawMessage{body}
	} else if err := json.Unmarshal(body, &list); err != nil {
		fail(w, bloodbank.CodeInvalid)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.lie == "refuses" && f.asked == 5 {
		fail(w, bloodbank.CodeSchema)
		return
	}
	if f.lie == "dies" && f.asked == 30 {
		os.Exit(4)
	}
	receipts := f.take(list)
	level, _ := bloodbank.ParseAckLevel(r.URL.Query().Get("wait"))
	for i := range receipts {
		if receipts[i].Ack = level; !f.visible(receipts[i].EventID) {
			receipts[i].Ack = bloodbank.AckWAL
		}
	}
	if single {
		_ = json.NewEncoder(w).Encode(receipts[0])
		return
	}
	_ = json.NewEncoder(w).Encode(receipts)
}

func (f *fake) visible(id bloodbank.EventID) bool {
	return slices.ContainsFunc(f.events, func(e bloodbank.Envelope) bool { return e.EventID == id })
}

// take keeps the events, unless it lies.
func (f *fake) take(list []json.RawMessage) []bloodbank.Receipt {
	receipts := make([]bloodbank.Receipt, len(list))
	var fresh []json.RawMessage
	for i, raw := range list {
		e, err := bloodbank.DecodeEnvelope(raw)
		if err != nil {
			os.Exit(5)
		}
		place, known := f.places[e.EventID]
		receipts[i] = bloodbank.Receipt{EventID: e.EventID, Sequence: uint64(place), Duplicate: known && f.lie != "knows no duplicates"}
		if known {
			continue
		}
		f.places[e.EventID] = len(f.places) + 1
		receipts[i].Sequence = uint64(len(f.places))
		fresh = append(fresh, f.doctor(&e, raw))
	}
	if f.lie == "turns around" && len(fresh) > 1 {
		last := len(fresh) - 1
		fresh[0], fresh[last] = fresh[last], fresh[0]
	}
	for _, raw := range fresh {
		f.write(raw)
	}
	return receipts
}

func (f *fake) doctor(e *bloodbank.Envelope, raw []byte) []byte {
	switch {
	case f.lie == "writes the payload anew":
		var payload any
		_ = json.Unmarshal(e.Payload, &payload)
		e.Payload, _ = json.Marshal(payload)
		raw, _ = e.AppendJSON(nil)
	case f.lie == "forgets a cause" && len(e.CorrelationIDs) > 1:
		e.CorrelationIDs = e.CorrelationIDs[:1]
		raw, _ = e.AppendJSON(nil)
	}
	return raw
}

func (f *fake) write(raw []byte) {
	line := append(bytes.Clone(raw), '\n')
	e, _ := bloodbank.DecodeEnvelope(raw)
	n := f.places[e.EventID]
	switch {
	case bytes.Contains(raw, []byte("all before this one")): // each event but the one that ends a check
	case f.lie == "does not log" || f.lie == "buries without a word" || f.lie == "buries":
		if n%20 == 7 {
			f.held = append(f.held, line)
			return
		}
	case f.lie == "logs late":
		f.held = append(f.held, line)
		f.show(raw)
		return
	case f.lie == "stores twice" && n%20 == 7:
		line = append(line, line...)
		f.show(raw)
	case f.lie == "invents" && n%20 == 7:
		e.EventID, _ = bloodbank.NewEventID()
		other, _ := e.AppendJSON(nil)
		line = append(line, append(other, '\n')...)
		f.show(other)
	}
	if _, err := f.file.Write(line); err != nil {
		os.Exit(6)
	}
	f.show(raw)
}

// show makes an event visible.
func (f *fake) show(raw []byte) {
	e, err := bloodbank.DecodeEnvelope(raw)
	if err != nil {
		return // a line that was torn by the kill has no receipt
	}
	if _, known := f.places[e.EventID]; !known {
		f.places[e.EventID] = len(f.places) + 1
	}
	f.events, f.raw = append(f.events, e), append(f.raw, raw)
	close(f.more)
	f.more = make(chan struct{})
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	next, _ := strconv.Atoi(r.Header.Get("Last-Event-Id"))
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		f.mu.Lock()
		fresh, more := f.raw[min(next, len(f.raw)):], f.more
		f.mu.Unlock()
		for _, raw := range fresh {
			next++
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", next, raw)
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fake) event(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range f.events {
		if e.EventID.String() == r.PathValue("id") && f.lie != "stores later" {
			_, _ = w.Write(f.raw[i])
			return
		}
	}
	fail(w, bloodbank.CodeNotFound)
}

func (f *fake) dead(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []map[string]any{}
	reason := map[string]string{"buries": "the broker will not have it", "buries without a word": ""}
	if text, buries := reason[f.lie]; buries && r.URL.Query().Get("after") == "" {
		for i, line := range f.held {
			e, _ := bloodbank.DecodeEnvelope(bytes.TrimSpace(line))
			list = append(list, map[string]any{"number": i + 1, "event_id": e.EventID, "reason": text})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"dead_letters": list})
}

func (f *fake) chain(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, err := bloodbank.ParseEventID(r.PathValue("id"))
	if err != nil {
		fail(w, bloodbank.CodeInvalid)
		return
	}
	wanted := map[bloodbank.EventID]bool{id: true}
	nodes := []map[string]any{}
	for i := len(f.events) - 1; i >= 0; i-- { // effects stand behind their causes
		e := f.events[i]
		if !wanted[e.EventID] {
			continue
		}
		for _, p := range e.CorrelationIDs {
			wanted[p] = true
		}
		nodes = append([]map[string]any{{"event_id": e.EventID, "known": true}}, nodes...)
	}
	if f.lie == "loses the way" && len(nodes) > 2 {
		nodes = nodes[2:]
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"event_id": id, "nodes": nodes})
}

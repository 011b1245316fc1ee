package rabbitmq

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// stub is a broker that does what its test says: it speaks as much AMQP 0-9-1 as
// this driver needs, and answers everything politely unless told otherwise.
type stub struct {
	version string // what it claims to be
	// publish gets each whole message; nil confirms it.
	publish func(c *stubConn, m stubMessage)
	// consume is told of a consumer on a channel; nil does nothing.
	consume func(c *stubConn, channel uint16)
	// ack is told of acknowledgements; nil does nothing.
	ack func(c *stubConn, tag uint64, multiple bool)
	// refuse may answer a method with the end of its channel: a code, not 0.
	refuse func(m stubMethod) (code uint16, text string)
	// hangUp says whether the login on the nth connection ends without a word.
	hangUp func(n int) bool

	t        testing.TB
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	conns   []*stubConn
	methods []stubMethod // declarations, in order
	deleted []string     // names of exchanges and queues
}

type stubConn struct {
	stub *stub
	n    int // of the connection, from 0
	net.Conn
	write sync.Mutex
	tags  map[uint16]uint64 // messages published, by channel
	open  map[uint16]*stubMessage
}

// stubMethod is a method that was called, with the arguments that tests look at.
type stubMethod struct {
	class, method uint16
	name          string // of the exchange or queue
	kind          string // of an exchange
	bits          byte   // passive, durable, exclusive or auto-delete …
	args          map[string]any
}

type stubMessage struct {
	channel   uint16
	tag       uint64
	exchange  string
	key       string
	mandatory bool
	header    []byte // content header as it was on the wire
	size      int
	body      []byte
}

// serve starts s; its URL has password "stub-secret".
func (s *stub) serve(t testing.TB, wrap func(net.Listener) net.Listener) *stub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.listener = t, l
	if s.version == "" {
		s.version = "3.10.8"
	}
	accept := l
	if wrap != nil {
		accept = wrap(l)
	}
	s.wg.Go(func() {
		for {
			c, err := accept.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			sc := &stubConn{stub: s, n: len(s.conns), Conn: c, tags: map[uint16]uint64{}, open: map[uint16]*stubMessage{}}
			s.conns = append(s.conns, sc)
			s.mu.Unlock()
			s.wg.Go(sc.serve)
		}
	})
	t.Cleanup(s.close)
	return s
}

func (s *stub) url() string { return "amqp://stub:stub-secret@" + s.listener.Addr().String() + "/" }

func (s *stub) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// connections is how many were made.
func (s *stub) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// declared returns the declarations of a name.
func (s *stub) declared(name string) []stubMethod {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []stubMethod
	for _, m := range s.methods {
		if m.name == name && m.bits&1 == 0 { // not passive
			found = append(found, m)
		}
	}
	return found
}

func (s *stub) removed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deleted)
}

func (c *stubConn) serve() {
	defer c.Close()
	r := bufio.NewReader(c.Conn)
	if _, err := io.ReadFull(r, make([]byte, 8)); err != nil {
		return
	}
	start := put(byte(0), byte(9), table("version", c.stub.version), long("PLAIN"), long("en_US"))
	c.send(0, 10, 10, start)
	for {
		var head [7]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		payload = payload[:len(payload)-1]
		if !c.frame(head[0], binary.BigEndian.Uint16(head[1:]), payload) {
			return
		}
	}
}

func (c *stubConn) frame(kind byte, channel uint16, payload []byte) bool {
	switch kind {
	case 1:
		return c.method(channel, binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:]), &args{payload[4:]})
	case 2:
		m := c.open[channel]
		if m == nil {
			return true
		}
		m.header, m.size = payload, int(binary.BigEndian.Uint64(payload[4:]))
		c.whole(m)
	case 3:
		m := c.open[channel]
		if m == nil {
			return true
		}
		m.body = append(m.body, payload...)
		c.whole(m)
	}
	return true
}

func (c *stubConn) whole(m *stubMessage) {
	if len(m.body) < m.size {
		return
	}
	delete(c.open, m.channel)
	if c.stub.publish == nil {
		c.confirm(m.channel, m.tag, false)
		return
	}
	c.stub.publish(c, *m)
}

func (c *stubConn) method(channel, class, method uint16, a *args) bool {
	if m, declares := readDeclaration(class, method, a); declares {
		return c.declare(channel, m)
	}
	switch {
	case class == 10 && method == 11 && c.stub.hangUp != nil && c.stub.hangUp(c.n): // start-ok
		return false
	case class == 10 && method == 11:
		c.send(0, 10, 30, put(uint16(2047), uint32(131072), uint16(10)))
	case class == 10 && method == 40: // open
		c.send(0, 10, 41, put(short("")))
	case class == 10 && method == 50: // close
		c.send(0, 10, 51, nil)
	case class == 20 && method == 10: // channel.open
		c.tags[channel] = 0
		c.send(channel, 20, 11, put(long("")))
	case class == 20 && method == 40: // channel.close
		c.send(channel, 20, 41, nil)
	case class == 40 && method == 20, class == 50 && method == 40: // delete
		c.delete(channel, class, method, a)
	case class == 50 && method == 50: // queue.unbind
		c.send(channel, 50, 51, nil)
	case class == 60 && method == 10: // qos
		c.send(channel, 60, 11, nil)
	case class == 60 && method == 30: // cancel
		c.send(channel, 60, 31, put(short(a.short())))
	case class == 60 && method == 20: // consume
		c.send(channel, 60, 21, put(short(consumerTag)))
		if c.stub.consume != nil {
			c.stub.consume(c, channel)
		}
	case class == 60 && method == 80: // ack
		tag := a.u64()
		if c.stub.ack != nil {
			c.stub.ack(c, tag, a.u8() == 1)
		}
	case class == 60 && method == 40: // publish
		a.u16()
		c.tags[channel]++
		c.open[channel] = &stubMessage{channel: channel, tag: c.tags[channel], exchange: a.short(), key: a.short(), mandatory: a.u8()&1 == 1}
	case class == 85 && method == 10: // confirm.select
		c.send(channel, 85, 11, nil)
	}
	return true
}

func (c *stubConn) delete(channel, class, method uint16, a *args) {
	a.u16()
	c.stub.mu.Lock()
	c.stub.deleted = append(c.stub.deleted, a.short())
	c.stub.mu.Unlock()
	var answer []byte
	if class == 50 {
		answer = put(uint32(0))
	}
	c.send(channel, class, method+1, answer)
}

func readDeclaration(class, method uint16, a *args) (m stubMethod, ok bool) {
	m = stubMethod{class: class, method: method}
	switch {
	case class == 40 && method == 10: // exchange.declare
		a.u16()
		m.name, m.kind, m.bits, m.args = a.short(), a.short(), a.u8(), a.table()
	case class == 50 && method == 10: // queue.declare
		a.u16()
		m.name, m.bits, m.args = a.short(), a.u8(), a.table()
	case class == 50 && method == 20: // queue.bind
		a.u16()
		m.name, m.kind = a.short(), a.short()+" "+a.short()
	default:
		return m, false
	}
	return m, true
}

func (c *stubConn) declare(channel uint16, m stubMethod) bool {
	if m.class == 50 && m.bits&1 == 1 && len(c.stub.declared(m.name)) == 0 {
		c.closeChannel(channel, 404, "NOT_FOUND")
		return true
	}
	c.stub.mu.Lock()
	c.stub.methods = append(c.stub.methods, m)
	c.stub.mu.Unlock()
	if c.stub.refuse != nil {
		if code, text := c.stub.refuse(m); code != 0 {
			c.closeChannel(channel, code, text)
			return true
		}
	}
	var answer []byte
	if m.class == 50 && m.method == 10 {
		answer = put(short(m.name), uint32(0), uint32(0))
	}
	c.send(channel, m.class, m.method+1, answer)
	return true
}

// What a test may have the stub say.

func (c *stubConn) confirm(channel uint16, tag uint64, multiple bool) {
	c.send(channel, 60, 80, put(tag, flag(multiple)))
}

func (c *stubConn) nack(channel uint16, tag uint64, multiple bool) {
	c.send(channel, 60, 120, put(tag, flag(multiple)))
}

// giveBack returns a message as not routed.
func (c *stubConn) giveBack(m stubMessage) {
	c.content(m.channel, 50, put(uint16(312), short("NO_ROUTE"), short(m.exchange), short(m.key)), m.header, m.body)
}

func (c *stubConn) deliver(channel uint16, tag uint64, header, body []byte) {
	c.content(channel, 60, put(short(consumerTag), tag, byte(0), short("x"), short("test.message.sent")), header, body)
}

func (c *stubConn) content(channel, method uint16, arguments, header, body []byte) {
	c.write.Lock()
	defer c.write.Unlock()
	c.raw(1, channel, append(put(uint16(60), method), arguments...))
	c.raw(2, channel, header)
	if len(body) > 0 {
		c.raw(3, channel, body)
	}
}

func (c *stubConn) closeChannel(channel, code uint16, text string) {
	c.send(channel, 20, 40, put(code, short(text), uint16(0), uint16(0)))
}

func (c *stubConn) block(reason string) { c.send(0, 10, 60, put(short(reason))) }

func (c *stubConn) unblock() { c.send(0, 10, 61, nil) }

func (c *stubConn) send(channel, class, method uint16, arguments []byte) {
	c.write.Lock()
	defer c.write.Unlock()
	c.raw(1, channel, append(put(class, method), arguments...))
}

func (c *stubConn) raw(kind byte, channel uint16, payload []byte) {
	frame := put(kind, channel, uint32(len(payload)), payload, byte(0xCE))
	_, _ = c.Conn.Write(frame) // the client may have gone
}

// Encoding.

type (
	short string
	long  string
)

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func put(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		switch v := v.(type) {
		case short:
			b.WriteByte(byte(len(v)))
			b.WriteString(string(v))
		case long:
			b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(v))))
			b.WriteString(string(v))
		case []byte:
			b.Write(v)
		default:
			_ = binary.Write(&b, binary.BigEndian, v)
		}
	}
	return b.Bytes()
}

// table is a table of strings.
func table(pairs ...string) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = append(b, put(short(pairs[i]), byte('S'), long(pairs[i+1]))...)
	}
	return put(uint32(len(b)), b)
}

// header is a content header of a body of size bytes, with flags and properties.
func header(size int, flags uint16, properties ...any) []byte {
	return append(put(uint16(60), uint16(0), uint64(size), flags), put(properties...)...)
}

// args reads arguments; what is missing reads as zero.
type args struct{ b []byte }

func (a *args) take(n int) []byte {
	if n > len(a.b) {
		return make([]byte, n)
	}
	p := a.b[:n]
	a.b = a.b[n:]
	return p
}

func (a *args) u8() byte      { return a.take(1)[0] }
func (a *args) u16() uint16   { return binary.BigEndian.Uint16(a.take(2)) }
func (a *args) u32() uint32   { return binary.BigEndian.Uint32(a.take(4)) }
func (a *args) u64() uint64   { return binary.BigEndian.Uint64(a.take(8)) }
func (a *args) short() string { return string(a.take(int(a.u8()))) }

func (a *args) table() map[string]any {
	in := args{a.take(int(a.u32()))}
	out := map[string]any{}
	for len(in.b) > 0 {
		key := in.short()
		switch kind := in.u8(); kind {
		case 'S':
			out[key] = string(in.take(int(in.u32())))
		case 'l':
			out[key] = int64(in.u64())
		case 't':
			out[key] = in.u8() == 1
		default:
			out[key] = kind
			return out
		}
	}
	return out
}

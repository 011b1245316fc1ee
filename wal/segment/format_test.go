package segment_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/33god/bloodbank/wal/segment"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func goldenBytes() []byte {
	out := segment.AppendHeader(nil, segment.Header{First: 101, Created: time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.UTC)})
	for i, event := range []string{`{"a":1}`, `[]`, `{"text":"grüße \"}"}`, `0`} {
		out = segment.AppendRecord(out, uint64(101+i), []byte(event), segment.Sum([]byte(event)))
	}
	return append(out, bytes.Repeat([]byte("\n"), 64)...)
}

const golden = "testdata/v1.jsonl"

// TestGolden freezes version 1: the bytes never change, and they are always read as the same records.
func TestGolden(t *testing.T) {
	t.Parallel()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, goldenBytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := goldenBytes(); !bytes.Equal(got, want) {
		t.Fatalf("the format has changed; a change needs a new version\n got %q\nwant %q", got, want)
	}
	look, err := segment.Inspect(bytes.NewReader(want), int64(len(want)), 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	if look.Header == nil || look.Header.First != 101 || look.First != 101 || look.Last != 104 || look.Count != 4 ||
		look.Torn != nil || look.Damage != nil || look.End != int64(len(want)-64) {
		t.Fatalf("read back as %+v", look)
	}
}

// TestGoldenIsPlainJSON reads the file as somebody without this program would, with the rule of the checksum as the
// documentation states it.
func TestGoldenIsPlainJSON(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	for i, line := range lines[1:] {
		var rec struct {
			Seq   uint64          `json:"seq"`
			CRC   string          `json:"crc"`
			Event json.RawMessage `json:"event"`
		}
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			t.Fatal(err)
		}
		sum := crc32.Checksum(fmt.Appendf(bytes.Clone(rec.Event), "%d", rec.Seq), crc32.MakeTable(crc32.Castagnoli))
		if rec.Seq != uint64(101+i) || rec.CRC != fmt.Sprintf("%08x", sum) {
			t.Fatalf("line %d: %s", i, line)
		}
	}
}

func header(version int) []byte {
	line := segment.AppendHeader(nil, segment.Header{First: 1, Created: time.Unix(0, 0)})
	if version == segment.Version {
		return line
	}
	body := bytes.Replace(line[:bytes.LastIndex(line, []byte(`,"crc"`))], []byte(`{"wal":1`), fmt.Appendf(nil, `{"wal":%d`, version), 1)
	return fmt.Appendf(body, `,"crc":"%08x"}`+"\n", segment.Sum(body))
}

func TestHeaderThatIsTooNewIsRefused(t *testing.T) {
	t.Parallel()
	line := header(2)
	_, err := segment.ParseHeader(bytes.TrimSuffix(line, []byte("\n")))
	if !errors.Is(err, segment.ErrVersion) || !strings.Contains(err.Error(), "version 2") {
		t.Fatalf("got %v", err)
	}
	if _, err := segment.Inspect(bytes.NewReader(line), int64(len(line)), 1<<20, 0); !errors.Is(err, segment.ErrVersion) {
		t.Fatalf("inspect: got %v", err)
	}
	flipped := bytes.Replace(header(1), []byte(`{"wal":1`), []byte(`{"wal":3`), 1)
	_, err = segment.ParseHeader(bytes.TrimSuffix(flipped, []byte("\n")))
	if err == nil || errors.Is(err, segment.ErrVersion) {
		t.Fatalf("a flipped bit must be damage, not a newer version: %v", err)
	}
}

func TestParseRecordRefuses(t *testing.T) {
	t.Parallel()
	event := []byte(`{"a":1}`)
	good := strings.TrimSuffix(string(segment.AppendRecord(nil, 12, event, segment.Sum(event))), "\n")
	if seq, data, err := segment.ParseRecord([]byte(good)); err != nil || seq != 12 || string(data) != `{"a":1}` {
		t.Fatalf("the good one: %d %q %v", seq, data, err)
	}
	for name, line := range map[string]string{
		"empty":             "",
		"cut":               good[:len(good)-1],
		"other sequence":    strings.Replace(good, ":12,", ":13,", 1),
		"leading zero":      strings.Replace(good, ":12,", ":012,", 1),
		"no sequence":       strings.Replace(good, ":12,", ":,", 1),
		"sequence 0":        strings.Replace(good, ":12,", ":0,", 1),
		"sequence too big":  strings.Replace(good, ":12,", ":99999999999999999999,", 1),
		"upper case sum":    strings.ToUpper(good),
		"other event":       strings.Replace(good, `"a":1`, `"a":2`, 1),
		"space":             strings.Replace(good, `,"crc"`, `, "crc"`, 1),
		"no event":          `{"seq":12,"crc":"00000000","event":}`,
		"only the begin":    `{"seq":`,
		"something behind":  good + " ",
		"something before":  " " + good,
		"digits of the sum": strings.Replace(good, `"crc":"`, `"crc":"g`, 1),
	} {
		if _, _, err := segment.ParseRecord([]byte(line)); err == nil {
			t.Errorf("%s: %q was taken for a record", name, line)
		}
	}
}

// TestEveryFlippedBitIsFound flips each bit of a segment: at most one record is lost, and all others keep their bytes.
func TestEveryFlippedBitIsFound(t *testing.T) {
	t.Parallel()
	var data []byte
	data = segment.AppendHeader(data, segment.Header{First: 1, Created: time.Unix(1, 0)})
	want := map[uint64]string{}
	for seq := uint64(1); seq <= 4; seq++ {
		want[seq] = fmt.Sprintf(`{"n":%d}`, seq)
		data = segment.AppendRecord(data, seq, []byte(want[seq]), segment.Sum([]byte(want[seq])))
	}
	for bit := range len(data) * 8 {
		bad := bytes.Clone(data)
		bad[bit/8] ^= 1 << (bit % 8)
		look, err := segment.Inspect(bytes.NewReader(bad), int64(len(bad)), 1<<20, 0)
		if err != nil {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if look.Count < 3 || (look.Count == 4 && look.Header != nil && look.Torn == nil && len(look.Damage) == 0) {
			t.Fatalf("bit %d of %q: %+v", bit, data[bit/8], look)
		}
		scan := segment.NewScanner(bytes.NewReader(bad), 0, int64(len(bad)), 1<<20)
		for item, err := scan.Next(); err == nil; item, err = scan.Next() {
			if item.Kind == segment.RecordLine && want[item.Seq] != string(item.Data) {
				t.Fatalf("bit %d: record %d is %q", bit, item.Seq, item.Data)
			}
		}
	}
}

func TestScannerCutsLongLinesAndGoesOn(t *testing.T) {
	t.Parallel()
	event := []byte(`{"a":1}`)
	data := append(bytes.Repeat([]byte("x"), 700<<10), '\n')
	data = segment.AppendRecord(data, 1, event, segment.Sum(event))
	scan := segment.NewScanner(bytes.NewReader(data), 0, int64(len(data)), 1000)
	bad, err := scan.Next()
	if err != nil || bad.Kind != segment.BadBytes || bad.Len != 700<<10+1 || bad.Reason != "line is too long" {
		t.Fatalf("got %+v, %v", bad, err)
	}
	good, err := scan.Next()
	if err != nil || good.Seq != 1 || string(good.Data) != `{"a":1}` {
		t.Fatalf("got %+v, %v", good, err)
	}
}

// TestPlantedRecordIsNotPickedOut has a sender hide a whole record line inside an event; when the outer record is
// damaged, the inner one must not come to life.
func TestPlantedRecordIsNotPickedOut(t *testing.T) {
	t.Parallel()
	tail := []byte(`{"x":1}}}`)
	inner := bytes.TrimSuffix(segment.AppendRecord(nil, 2, tail, segment.Sum(tail)), []byte("}\n"))
	outer := append([]byte(`{"a":`), inner...)
	line := segment.AppendRecord(nil, 1, outer, segment.Sum(outer))
	line[9] ^= 1
	look, err := segment.Inspect(bytes.NewReader(line), int64(len(line)), 1<<20, 0)
	if err != nil || look.Count != 0 || look.Torn == nil {
		t.Fatalf("got %+v, %v", look, err)
	}
}

func TestNamesSortAndParse(t *testing.T) {
	t.Parallel()
	for _, id := range []uint64{1, 9, 10, 1 << 40} {
		if got, ok := segment.ParseName(segment.Name(id)); !ok || got != id {
			t.Errorf("%s is read as %d, %v", segment.Name(id), got, ok)
		}
	}
	for _, name := range []string{"", "lock", "spare.tmp", "1.jsonl", "000000000000000x.jsonl", "0000000000000000.jsonl", "0000000000000001.json"} {
		if id, ok := segment.ParseName(name); ok {
			t.Errorf("%q is taken for segment %d", name, id)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(uint64(1), []byte(`{"a":1}`), []byte(`{"seq":1,"crc":"00000000","event":{}}`))
	f.Fuzz(func(t *testing.T, seq uint64, event, line []byte) {
		if _, data, err := segment.ParseRecord(line); err == nil && len(data) == 0 {
			t.Fatalf("an empty record from %q", line)
		}
		if len(event) == 0 || seq == 0 || bytes.ContainsAny(event, "\r\n") {
			return
		}
		out := segment.AppendRecord(nil, seq, event, segment.Sum(event))
		if len(out) > len(event)+segment.Overhead {
			t.Fatalf("overhead of %d is more than %d", len(out)-len(event), segment.Overhead)
		}
		gotSeq, got, err := segment.ParseRecord(bytes.TrimSuffix(out, []byte("\n")))
		if err != nil || gotSeq != seq || !bytes.Equal(got, event) {
			t.Fatalf("%d %q came back as %d %q, %v", seq, event, gotSeq, got, err)
		}
	})
}

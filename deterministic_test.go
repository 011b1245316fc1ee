package bloodbank_test

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/33god/bloodbank"
	"github.com/google/uuid"
)

type idVectors struct {
	Groups  [][]int    `json:"duplicate_groups"`
	Vectors []idVector `json:"vectors"`
}

type idVector struct {
	N         int                 `json:"n"`
	Desc      string              `json:"desc"`
	Namespace string              `json:"namespace"`
	Type      bloodbank.EventType `json:"event_type"`
	Fields    map[string]struct {
		Type string `json:"py"`
		Repr string `json:"repr"`
	} `json:"fields"`
	Rendered  map[string]string `json:"fields_rendered"`
	UniqueKey string            `json:"unique_key"`
	NameHex   string            `json:"name_utf8_hex"`
	EventID   string            `json:"event_id"`
}

func readIDVectors(t *testing.T) idVectors {
	t.Helper()
	data, err := os.ReadFile("testdata/event_ids.json")
	if err != nil {
		t.Fatal(err)
	}
	var v idVectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Vectors) != 70 {
		t.Fatalf("%d vectors, want 70", len(v.Vectors))
	}
	return v
}

// goValue is the Go value that stands for a Python one. Those that have none (a
// list, a dict, bytes) are handed over as their text.
func goValue(t *testing.T, kind, repr, rendered string) any {
	t.Helper()
	switch kind {
	case "int":
		if n, err := strconv.ParseInt(repr, 10, 64); err == nil {
			return n
		}
		n, ok := new(big.Int).SetString(repr, 10)
		if !ok {
			t.Fatalf("no int: %s", repr)
		}
		return n
	case "float":
		f, err := strconv.ParseFloat(repr, 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	case "bool":
		return repr == "True"
	case "NoneType":
		return nil
	case "UUID":
		return uuid.MustParse(rendered)
	case "datetime":
		at, err := time.Parse("2006-01-02 15:04:05.999999-07:00", rendered)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	return rendered
}

func TestDeterministicIDsOfTheOriginal(t *testing.T) {
	t.Parallel()
	withFields := 0
	for _, v := range readIDVectors(t).Vectors {
		key := v.UniqueKey
		if v.Fields != nil {
			withFields++
			fields := map[string]any{}
			for name, f := range v.Fields {
				fields[name] = goValue(t, f.Type, f.Repr, v.Rendered[name])
			}
			var err error
			if key, err = bloodbank.UniqueKey(fields); err != nil || key != v.UniqueKey {
				t.Errorf("%d (%s): key %q, %v; want %q", v.N, v.Desc, key, err, v.UniqueKey)
			}
		}
		if name := hex.EncodeToString([]byte(v.Namespace + ":" + string(v.Type) + ":" + key)); name != v.NameHex {
			t.Errorf("%d (%s): name %s, want %s", v.N, v.Desc, name, v.NameHex)
		}
		id, err := bloodbank.DeterministicID(v.Namespace, v.Type, key)
		if err != nil || id.String() != v.EventID {
			t.Errorf("%d (%s): %s, %v; want %s", v.N, v.Desc, id, err, v.EventID)
		}
	}
	if withFields < 55 {
		t.Errorf("only %d vectors have fields", withFields)
	}
}

// The original joins without escaping, so some different facts share an id. They
// must go on doing so, and no others may.
func TestDeterministicCollisions(t *testing.T) {
	t.Parallel()
	v := readIDVectors(t)
	group := map[int]int{}
	for i, members := range v.Groups {
		for _, n := range members {
			group[n] = i + 1
		}
	}
	if len(v.Groups) != 4 {
		t.Errorf("%d groups of equal ids, want 4", len(v.Groups))
	}
	byID := map[string]idVector{}
	for _, x := range v.Vectors {
		id, err := bloodbank.DeterministicID(x.Namespace, x.Type, x.UniqueKey)
		if err != nil {
			t.Fatal(err)
		}
		other, taken := byID[id.String()]
		if taken && (group[x.N] == 0 || group[x.N] != group[other.N]) {
			t.Errorf("%d and %d share an id", x.N, other.N)
		}
		if !taken {
			for n, g := range group {
				if n < x.N && g == group[x.N] && g != 0 {
					t.Errorf("%d does not share the id of %d", x.N, n)
				}
			}
		}
		byID[id.String()] = x
	}
}

func TestDeterministicIDOfTextThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	const surrogate = "\xed\xa0\x80" // U+D800: Python raises UnicodeEncodeError
	for _, names := range [][3]string{{surrogate, "a.b", "k"}, {"n", surrogate, "k"}, {"n", "a.b", "a=" + surrogate}, {"n", "a.b", "\xff"}} {
		id, err := bloodbank.DeterministicID(names[0], bloodbank.EventType(names[1]), names[2])
		if bloodbank.CodeOf(err) != bloodbank.CodeInvalid || !id.IsZero() {
			t.Errorf("%q: %s, %v", names, id, err)
		}
	}
}

func TestUniqueKeyRendersAsPython(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", -(5*3600 + 30*60))
	for _, row := range []struct {
		value any
		want  string
	}{
		{int8(-8), "-8"}, {uint64(math.MaxUint64), "18446744073709551615"}, {uint8(7), "7"}, {int(0), "0"},
		{1e15, "1000000000000000.0"}, {9999999999999998.0, "9999999999999998.0"}, {1e16, "1e+16"}, {-1e16, "-1e+16"}, {1e-4, "0.0001"},
		{9.999e-5, "9.999e-05"}, {1e100, "1e+100"}, {0.0, "0.0"}, {math.Copysign(0, -1), "-0.0"}, {math.NaN(), "nan"}, {math.Inf(-1), "-inf"},
		{math.SmallestNonzeroFloat64, "5e-324"}, {math.MaxFloat64, "1.7976931348623157e+308"}, {123456.789, "123456.789"},
		{bloodbank.EventID{}, "00000000-0000-0000-0000-000000000000"},
		{time.Date(2025, 10, 18, 12, 0, 0, 1500, zone), "2025-10-18 12:00:00.000001-05:30"},
		{time.Date(2025, 10, 18, 12, 0, 0, 999, time.UTC), "2025-10-18 12:00:00+00:00"},
		{true, "True"}, {nil, "None"}, {"", ""},
	} {
		got, err := bloodbank.UniqueKey(map[string]any{"k": row.value})
		if err != nil || got != "k="+row.want {
			t.Errorf("%v: %q, %v; want %q", row.value, got, err, "k="+row.want)
		}
	}
	for _, value := range []any{[]string{"a"}, map[string]any{}, []byte("ab"), float32(1), struct{}{}, time.Second} {
		if key, err := bloodbank.UniqueKey(map[string]any{"field": value}); bloodbank.CodeOf(err) != bloodbank.CodeInvalid {
			t.Errorf("%T became %q, %v; its Python form is not known", value, key, err)
		}
	}
	if key, err := bloodbank.UniqueKey(nil); key != "" || err != nil {
		t.Errorf("no fields: %q, %v", key, err)
	}
}

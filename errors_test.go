package bloodbank_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/33god/bloodbank"
)

// The table is a promise to callers: a change of it breaks their clients.
func TestCodesToStatuses(t *testing.T) {
	t.Parallel()
	for code, want := range map[bloodbank.Code]int{
		bloodbank.CodeInvalid: 400, bloodbank.CodeUnauthorized: 401, bloodbank.CodeForbidden: 403, bloodbank.CodeNotFound: 404, bloodbank.CodeConflict: 409,
		bloodbank.CodeTooLarge: 413, bloodbank.CodeUnsupported: 415, bloodbank.CodeUnknownType: 422, bloodbank.CodeSchema: 422, bloodbank.CodeOverloaded: 429,
		bloodbank.CodeInternal: 500, bloodbank.CodeUnavailable: 503, bloodbank.CodeTimeout: 504, bloodbank.CodeStorageFull: 507,
		"": 500, "something": 500,
	} {
		if got := code.HTTPStatus(); got != want || http.StatusText(got) == "" {
			t.Errorf("%q: %d, want %d", code, got, want)
		}
		if got := code.ExitCode(); (got == 0) != (code == "") || got > 1 {
			t.Errorf("%q: exit code %d", code, got)
		}
	}
}

func TestErrorfKeepsItsCause(t *testing.T) {
	t.Parallel()
	err := bloodbank.Errorf(bloodbank.CodeUnavailable, "read the log: %w", io.ErrUnexpectedEOF)
	if !errors.Is(err, io.ErrUnexpectedEOF) || err.Message != "read the log: unexpected EOF" || err.Error() != err.Message {
		t.Errorf("%v", err)
	}
	if plain := bloodbank.Errorf(bloodbank.CodeInvalid, "no %s", "cause"); plain.Unwrap() != nil || plain.Message != "no cause" {
		t.Errorf("%+v", plain)
	}
	two := bloodbank.Errorf(bloodbank.CodeInternal, "%w and %w", io.EOF, io.ErrClosedPipe)
	if !errors.Is(two, io.EOF) || !errors.Is(two, io.ErrClosedPipe) {
		t.Errorf("%v lost a cause", two)
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	inner := bloodbank.Errorf(bloodbank.CodeSchema, "inner")
	for _, row := range []struct {
		err  error
		want bloodbank.Code
	}{
		{nil, ""}, {io.EOF, bloodbank.CodeInternal}, {inner, bloodbank.CodeSchema}, {fmt.Errorf("wrapped: %w", inner), bloodbank.CodeSchema},
		{errors.Join(io.EOF, inner), bloodbank.CodeSchema},
		{bloodbank.Errorf(bloodbank.CodeTimeout, "outer: %w", inner), bloodbank.CodeTimeout},
	} {
		if got := bloodbank.CodeOf(row.err); got != row.want {
			t.Errorf("%v: %q, want %q", row.err, got, row.want)
		}
	}
}

func TestErrorWithDetails(t *testing.T) {
	t.Parallel()
	err := bloodbank.Errorf(bloodbank.CodeSchema, "the payload is wrong")
	err.Details = []bloodbank.Detail{{Pointer: "", Message: "x is missing"}, {Pointer: "/a/0", Message: "must be text"}}
	if got, want := err.Error(), "the payload is wrong\n  at /: x is missing\n  at /a/0: must be text"; got != want {
		t.Errorf("got %q", got)
	}
	raw, jsonErr := json.Marshal(err)
	want := `{"code":"schema","message":"the payload is wrong","details":[{"pointer":"","message":"x is missing"},{"pointer":"/a/0","message":"must be text"}]}`
	if jsonErr != nil || string(raw) != want {
		t.Errorf("got %s, %v", raw, jsonErr)
	}
	var back bloodbank.Error
	if json.Unmarshal(raw, &back) != nil || back.Error() != err.Error() || back.Code != err.Code {
		t.Errorf("came back as %v", &back)
	}
}

package bloodbank

import (
	"errors"
	"fmt"
	"net/http"
)

// Code says what kind of failure an [Error] is, and so what the caller must do.
type Code string

// The codes. [Code.HTTPStatus] and [Code.ExitCode] are the one table from them
// to the outside.
const (
	CodeInvalid      Code = "invalid"      // malformed input: correct it
	CodeUnknownType  Code = "unknown_type" // no schema for the event type: add one or use permissive mode
	CodeSchema       Code = "schema"       // the payload breaks its schema: correct it
	CodeNotFound     Code = "not_found"    // there is no such thing
	CodeConflict     Code = "conflict"     // another owner or state is in the way
	CodeTooLarge     Code = "too_large"    // over a limit that the message names
	CodeUnsupported  Code = "unsupported"  // a media type or a feature that is not there
	CodeUnauthorized Code = "unauthorized" // no or wrong credentials
	CodeForbidden    Code = "forbidden"    // the credentials do not reach that far
	CodeOverloaded   Code = "overloaded"   // too much at once: try again later
	CodeUnavailable  Code = "unavailable"  // a part is down: try again later
	CodeTimeout      Code = "timeout"      // it took too long; it may still happen
	CodeStorageFull  Code = "storage_full" // the disk is full: make room
	CodeInternal     Code = "internal"     // a fault of ours
)

// Error is the one error value that crosses package borders with a meaning. Its
// message is for people: what happened, why, and what to do next. It never
// holds a credential.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Details lists single faults, such as each broken rule of a schema.
	Details []Detail `json:"details,omitempty"`
	cause   error
}

// Detail is one fault among several.
type Detail struct {
	// Pointer is the JSON pointer (RFC 6901) to the faulty value; "" is the whole.
	Pointer string `json:"pointer"`
	Message string `json:"message"`
}

// Errorf makes an [Error]. Each %w in format becomes a cause.
func Errorf(code Code, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	cause := errors.Unwrap(wrapped)
	if _, several := wrapped.(interface{ Unwrap() []error }); several {
		cause = wrapped
	}
	return &Error{Code: code, Message: wrapped.Error(), cause: cause}
}

// Error returns the message, followed by the details.
func (e *Error) Error() string {
	s := e.Message
	for _, d := range e.Details {
		pointer := d.Pointer
		if pointer == "" {
			pointer = "/"
		}
		s += "\n  at " + pointer + ": " + d.Message
	}
	return s
}

// Unwrap returns the cause, if any.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of the first [Error] in err's chain, "" for nil and
// [CodeInternal] for any other error.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// HTTPStatus is the status that answers this code.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeUnknownType, CodeSchema:
		return http.StatusUnprocessableEntity
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusConflict
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeUnsupported:
		return http.StatusUnsupportedMediaType
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeOverloaded:
		return http.StatusTooManyRequests
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeTimeout:
		return http.StatusGatewayTimeout
	case CodeStorageFull:
		return http.StatusInsufficientStorage
	default:
		return http.StatusInternalServerError
	}
}

// ExitCode is the exit code of the command line: 0 done, 1 refused or failed.
// Wrong usage (2) is found by the command line itself before anything runs.
func (c Code) ExitCode() int {
	if c == "" {
		return 0
	}
	return 1
}

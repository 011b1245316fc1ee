//go:build unix

package testenv

import "testing"

// Python returns the path of Debian's Python with the module pika, a client of
// RabbitMQ, or skips the test.
func Python(tb testing.TB) string {
	tb.Helper()
	shared.installer.need(tb, program{"pika (Python)", "python3-pika", []string{"/usr/lib/python3/dist-packages/pika/__init__.py"}})
	return "/usr/bin/python3"
}

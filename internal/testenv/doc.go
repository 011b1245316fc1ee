//go:build unix

// Package testenv gives tests real servers of their own: RabbitMQ, NATS, Redis
// and PostgreSQL on free loopback ports with their files in a temporary folder,
// and a proxy that breaks the way to them.
//
// It knows processes and sockets, not drivers and not events. Servers start
// unless [Engines] is 0, or go test has -short. Where a server's program is
// missing it is installed, if the test is root on Debian (make test has done so
// before, by scripts/setup); else the test is skipped and says so. Whatever was
// started ends with the test process, even if that is killed.
//
// A package that uses shared servers has this TestMain:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testenv.Main(m)) }
package testenv

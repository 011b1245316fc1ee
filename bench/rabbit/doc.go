// Package rabbit measures the way over RabbitMQ against what others write: a
// bare client with a window, Watermill's publisher, one and 64 of them, and a
// naive pipeline. Its benchmarks start a RabbitMQ of their own; what is compared
// is measured in turn, in one run, on the same server and with the same messages.
package rabbit

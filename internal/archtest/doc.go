// Package archtest holds the rules of the house as tests, each with its reason:
// who may import whom, sizes, names, documentation, and what is forbidden. It
// reads the source of all packages of the module and runs nothing of them; it
// knows no product code and nobody imports it.
//
// To add a package, give it a line in plan_test.go. To break a rule, name the
// place and the reason in exceptions_test.go.
package archtest

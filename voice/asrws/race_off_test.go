//go:build !race

package asrws_test

const raced = false

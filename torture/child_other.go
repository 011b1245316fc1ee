//go:build unix && !linux

package torture

import "syscall"

// ownGroup keeps the terminal's interrupt from the program, which torture ends
// itself.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

package torture

import "syscall"

// ownGroup keeps the terminal's interrupt from the program, which torture ends
// itself, and lets it not outlive torture.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

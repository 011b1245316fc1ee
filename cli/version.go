package cli

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is the module's version as the build knows it, "dev" without one.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

func (c *command) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) { c.print("bb %s", Version()) },
	}
}

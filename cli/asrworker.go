package cli

import (
	"github.com/spf13/cobra"

	"github.com/33god/bloodbank/app"
)

// asrWorkerCmd is what the server starts for the recogniser: a C library never
// runs in the process that holds the log.
func (c *command) asrWorkerCmd() *cobra.Command {
	return &cobra.Command{
		Use: app.ASRWorkerCommand, Short: "Recognise speech for a server (started by it)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return app.RunASRWorker(cmd.Context(), c.Stdin, c.Stdout)
		},
	}
}

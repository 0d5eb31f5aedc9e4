// Command bench measures ferry against two baselines, on the same machine in the
// same run, and prints a table. docs/performance.md explains the figures.
//
// Each system is a client half and a server half, in processes of their own: this
// program, started again as `bench half ROLE`. What stands between them, and the
// targets, are processes, too; the load comes from the first one.
package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

// cli is the command line.
type cli struct {
	Run  runCommand  `cmd:"" default:"withargs" help:"Measure, and print a table."`
	Half halfCommand `cmd:"" hidden:"" help:"Be one of the processes of a measurement."`
}

func main() {
	var commands cli
	parsed := kong.Parse(&commands,
		kong.Name("bench"),
		kong.Description("bench measures ferry against plain TCP relaying, and against a WebSocket for each tunnel."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"figures": names(figures)},
	)
	if err := parsed.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

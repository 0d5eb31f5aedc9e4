// Command ferry carries a sandbox's outbound connections over one WebSocket.
//
// See README.md for what it does and how to use it, and `ferry --help` for the
// commands.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

// The exit statuses, but for run, which passes its command's own.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in how ferry was called.
type usageError struct{ error }

// exitError ends ferry with a status of its own; what there is to say was said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() { os.Exit(ferry(os.Args[1:])) }

// ferry runs a command line and returns the exit status.
func ferry(args []string) int {
	var commands cli
	parser := kong.Must(&commands,
		kong.Name("ferry"),
		kong.Description("ferry carries every outbound connection of a sandbox over one WebSocket."),
		kong.DefaultEnvars("FERRY"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	parsed, err := parser.Parse(args)
	if err != nil {
		return complain(usageError{err})
	}
	return complain(parsed.Run(&commands.Log))
}

// complain says what went wrong, and returns the exit status for it.
func complain(err error) int {
	var usage usageError
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "ferry: %v\nferry: see ferry --help\n", err)
		return exitUsage
	}
	fmt.Fprintf(os.Stderr, "ferry: %v\n", err)
	return exitFailed
}

package main

import (
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"
)

// halfCommand is one process of a measurement. It prints where it listens, and
// ends when its standard input does: so nothing outlives the driver.
type halfCommand struct {
	Role    string        `arg:"" help:"What to be."`
	Server  string        `help:"The address of what is behind: for a client half its server half or a link, for a link a server half."`
	Profile string        `placeholder:"FILE" help:"Where to write a profile of the CPU."`
	Delay   time.Duration `help:"The link's delay, one way."`
	Rate    int64         `help:"The link's rate in bits per second, each way."`
	Queue   int           `help:"The link's queue in bytes, each way."`
}

// roles are what a process can be. Each starts to serve, and returns where. What
// it starts ends with the process.
var roles = map[string]func(*halfCommand) (string, error){
	"limit-client":      limitClient,
	"limit-server":      limitServer,
	"perconnect-client": perconnectClient,
	"perconnect-server": perconnectServer,
	"ferry-client":      ferryClient,
	"ferry-server":      ferryServer,
	"link":              linkHalf,
	"target":            targetHalf,
}

// Run serves until standard input ends.
func (h *halfCommand) Run() error {
	role, ok := roles[h.Role]
	if !ok {
		return fmt.Errorf("no such half: %q", h.Role)
	}
	stop, err := profile(h.Profile)
	if err != nil {
		return err
	}
	defer stop()
	address, err := role(h)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Role, err)
	}
	fmt.Println(address)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// profile writes a profile of the CPU from now until stop is called.
func profile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("can't write a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("can't write a profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

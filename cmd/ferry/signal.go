package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notify catches the signals that ask a process to end, until stop is called.
func notify() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	return signals, func() { signal.Stop(signals) }
}

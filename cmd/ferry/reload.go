package main

import (
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// tokenPoll is how often the token file is looked at. Its content counts: the
// file may be a link into a directory that is replaced as a whole.
const tokenPoll = 2 * time.Second

// onNewToken calls react at SIGHUP, and when the token in the file has changed,
// until stop is called.
func (f *tokenFlags) onNewToken(log *slog.Logger, react func()) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		poll := time.NewTicker(tokenPoll)
		defer poll.Stop()
		last, _ := f.read()
		for {
			select {
			case <-hangup:
				log.Info("SIGHUP: reading the token again")
				last, _ = f.read()
				react()
			case <-poll.C:
				if token, err := f.read(); err == nil && token != last {
					log.Info("the token file has changed")
					last = token
					react()
				}
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(hangup)
		close(done)
		watcher.Wait()
	}
}

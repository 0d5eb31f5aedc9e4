package mux

import (
	"time"

	relayv1 "ferry/proto/relay/v1"
)

// watch is the watchman's goroutine: it asks a silent peer for a sign of life,
// and ends the Link if an answer is due for too long while nothing is heard.
// Whatever comes in counts as a sign: on a slow link the answer itself may have
// to wait behind much data.
func (l *Link) watch() {
	defer l.workers.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.ended:
			return
		case now := <-timer.C:
			wait, err := l.check(now)
			if err != nil {
				l.fail(err)
				return
			}
			timer.Reset(wait)
		}
	}
}

// check asks for a sign of life if it is time, and returns when to look again.
func (l *Link) check(now time.Time) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.awaiting.IsZero() {
		left := l.config.Timeout - now.Sub(l.awaiting)
		if left <= 0 {
			return 0, ErrSilent
		}
		return left, nil
	}
	quiet := now.Sub(l.heard)
	if quiet >= l.config.Keepalive {
		l.ping()
		return l.config.Timeout, nil
	}
	// An answer may become due right now, and must not be waited for longer.
	return min(l.config.Keepalive-quiet, l.config.Timeout), nil
}

// ping is called with mu held.
func (l *Link) ping() {
	l.pinged++
	l.controlFrame().Ping = &relayv1.Ping{Id: l.pinged}
	l.awaiting = time.Now()
	l.sendable.Signal()
}

// heardNow notes a sign of life. It is called with mu held.
func (l *Link) heardNow() {
	l.heard = time.Now()
	if l.awaiting.IsZero() {
		return
	}
	l.awaiting = time.Time{}
	if l.pinged != l.ponged || l.sent+uint64(l.batch) > l.acked {
		l.awaiting = l.heard
	}
}

package mux

import (
	"fmt"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

const (
	// tick is how often the watchman looks at the wall clock.
	tick = time.Second
	// jump is how much later than planned he must come to mean that the machine
	// was paused.
	jump = 2 * time.Second
	// probeTimeout is how long the peer has to answer after a pause.
	probeTimeout = time.Second
)

// watch is the watchman's goroutine: it asks a silent peer for a sign of life,
// drops a WebSocket if an answer is due for too long while nothing is heard, and
// ends a Link that is detached for too long. Whatever comes in counts as a sign
// of life: on a slow link the answer itself may have to wait behind much data.
func (l *Link) watch() {
	defer l.workers.Done()
	wait := l.check(time.Now())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	last := l.config.wall()
	for {
		select {
		case <-l.ended:
			return
		case <-timer.C:
			now := l.config.wall()
			if now.Sub(last) > wait+jump {
				l.probe()
			}
			last = now
			wait = l.check(time.Now())
			timer.Reset(wait)
		}
	}
}

// wallClock is the time without the monotonic clock's, which stands still while
// a machine is suspended.
func wallClock() time.Time { return time.Now().Round(0) }

// check does what the time demands, and returns when to look again.
func (l *Link) check(now time.Time) time.Duration {
	l.mu.Lock()
	ws := l.ws
	wait, expired := l.verdict(now)
	l.mu.Unlock()
	switch {
	case expired == nil:
		return min(wait, tick)
	case ws == nil:
		l.fail(expired)
	default:
		l.detach(ws, expired)
	}
	return tick
}

// verdict returns how much time is left, or why the WebSocket, or without one the
// Link, has to go. It asks for a sign of life if it is time. It is called with mu
// held.
func (l *Link) verdict(now time.Time) (left time.Duration, expired error) {
	switch {
	case l.ws == nil:
		if left = l.window - now.Sub(l.since); left <= 0 {
			expired = fmt.Errorf("%w in %v: %w", ErrNotResumed, l.window, l.cause)
		}
		return left, expired
	case !l.awaiting.IsZero():
		if left = l.patience - now.Sub(l.awaiting); left <= 0 {
			expired = ErrSilent
		}
		return left, expired
	}
	if left = l.config.Keepalive - now.Sub(l.heard); left <= 0 {
		l.ping(l.config.Timeout)
		return l.config.Timeout, nil
	}
	return left, nil
}

// probe asks for a sign of life right now: after a pause, the WebSocket may be
// long gone, and waiting for the keepalive would keep everybody waiting.
func (l *Link) probe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.ws != nil {
		l.ping(probeTimeout)
	}
}

// ping is called with mu held.
func (l *Link) ping(patience time.Duration) {
	l.pinged++
	l.controlFrame().Ping = &relayv1.Ping{Id: l.pinged}
	l.await(time.Now(), patience)
	l.sendable.Signal()
}

// await notes that an answer is due. It is called with mu held.
func (l *Link) await(since time.Time, patience time.Duration) {
	l.awaiting, l.patience = since, patience
}

// heardNow notes a sign of life. It is called with mu held.
func (l *Link) heardNow() {
	l.heard = time.Now()
	if l.awaiting.IsZero() {
		return
	}
	l.awaiting = time.Time{}
	if l.pinged != l.ponged || l.sent+uint64(l.batch) > l.acked {
		l.await(l.heard, l.config.Timeout)
	}
}

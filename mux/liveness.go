package mux

import (
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	relayv1 "ferry/proto/relay/v1"
)

const (
	// tick is how often the watchman looks at the wall clock.
	tick = time.Second
	// jump is how much later than expected a tick must come to mean that the
	// machine was paused.
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
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := wallClock()
	for {
		select {
		case <-l.ended:
			return
		case <-ticker.C:
			now := wallClock()
			if now.Sub(last) > tick+jump {
				l.probe()
			}
			last = now
			l.check(time.Now())
		}
	}
}

// wallClock is the time without the monotonic clock's, which stands still while
// a machine is suspended.
func wallClock() time.Time { return time.Now().Round(0) }

// check does what the time demands.
func (l *Link) check(now time.Time) {
	ws, dead, expired := l.verdict(now)
	switch {
	case dead:
		l.detach(ws, ErrSilent)
	case expired != nil:
		l.fail(expired)
	}
}

// verdict reports whether the WebSocket is dead, or why the Link is to end. It
// asks for a sign of life if it is time.
func (l *Link) verdict(now time.Time) (ws *websocket.Conn, dead bool, expired error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
	case l.ws == nil:
		if now.Sub(l.since) >= l.window {
			expired = fmt.Errorf("%w in %v: %w", ErrNotResumed, l.window, l.cause)
		}
	case !l.awaiting.IsZero():
		dead = now.Sub(l.awaiting) >= l.patience
	case now.Sub(l.heard) >= l.config.Keepalive:
		l.ping(l.config.Timeout)
	}
	return l.ws, dead, expired
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

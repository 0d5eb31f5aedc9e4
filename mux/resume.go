package mux

import (
	"time"

	"github.com/gorilla/websocket"
)

// prepare sets what every WebSocket of a Link has, before anybody uses it.
func prepare(ws *websocket.Conn) {
	ws.SetReadLimit(maxPeerData + maxControl)
	keepQueueShort(ws.NetConn())
}

// take makes ws the Link's WebSocket. It is called with mu held.
func (l *Link) take(ws *websocket.Conn, name string) {
	l.ws, l.name = ws, name
	l.lost = make(chan struct{})
	l.fresh = true
	l.arrivals = delays{}
	l.heard, l.awaiting = time.Now(), time.Time{}
}

// letGo makes the Link detached. It is called with mu held.
func (l *Link) letGo(cause error) {
	if l.ws == nil {
		return
	}
	l.ws = nil
	l.since, l.cause = time.Now(), cause
	close(l.lost)
}

// detach gives a WebSocket up, unless that has happened already. The Link waits
// for another one, or ends if it must not.
func (l *Link) detach(ws *websocket.Conn, cause error) {
	if l.window == 0 {
		l.fail(cause)
		return
	}
	l.mu.Lock()
	current := l.err == nil && l.ws == ws
	closing := l.closing
	if current {
		l.letGo(cause)
	}
	l.mu.Unlock()
	if !current {
		return
	}
	_ = ws.Close()
	if closing != nil {
		l.fail(closing)
		return
	}
	call(l.hooks.lost)
}

// suspend detaches the Link if it is not, waits until nobody holds a WebSocket,
// and returns how many bytes have been received: the count can't change before
// the next attach.
func (l *Link) suspend() (received uint64, err error) {
	l.mu.Lock()
	ws := l.ws
	l.mu.Unlock()
	if ws != nil {
		l.detach(ws, errTakenOver)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && (l.reading || l.writing) {
		l.released.Wait()
	}
	return l.received, l.err
}

// lacks checks how many bytes the peer says it has received: what it has
// acknowledged at least, and what it was sent at most.
func (l *Link) lacks(received uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lacksLocked(received)
}

func (l *Link) lacksLocked(received uint64) error {
	switch {
	case l.err != nil:
		return l.err
	case received < l.acked || received > l.tried:
		return protocolError("a resume at an offset that was not sent, or was acknowledged")
	}
	return nil
}

// attach takes a suspended Link up on another WebSocket. The peer has received
// that many bytes, and knows how many were received here; the first frame says
// so again, which shows the peer that its answer has arrived.
func (l *Link) attach(ws *websocket.Conn, name string, received uint64) error {
	prepare(ws)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.lacksLocked(received); err != nil {
		return err
	}
	l.acked, l.sent = received, received
	l.beginPath(received)
	l.ponged = l.pinged
	l.control, l.ackDue = nil, true
	if l.drain != nil {
		l.controlFrame().Drain = l.drain
	}
	l.take(ws, name)
	l.release()
	l.attached.Broadcast()
	l.sendable.Broadcast()
	return nil
}

// isAttached reports whether the Link has a WebSocket.
func (l *Link) isAttached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ws != nil
}

// loss returns a channel that is closed when the WebSocket of the moment is lost;
// it is closed already if there is none.
func (l *Link) loss() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// lossCause returns why the last WebSocket was lost.
func (l *Link) lossCause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

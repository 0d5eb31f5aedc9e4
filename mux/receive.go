package mux

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	relayv1 "ferry/proto/relay/v1"
)

const (
	// The peer is told what has come with any frame that goes to it. Otherwise it
	// waits for ackDelay, or only for ackPause if it is ackSome or more, so that
	// the peer's pace has something to go by. It does not wait at all for ackMuch.
	ackSome  = 16 << 10
	ackMuch  = 256 << 10
	ackPause = 2 * time.Millisecond
	ackDelay = 25 * time.Millisecond
)

// message is a buffer for one incoming frame of the usual size.
type message [maxFrameData + maxControl]byte

var messages = sync.Pool{New: func() any { return new(message) }}

// Read returns the next bytes of the stream, and takes in acknowledgements and
// pings as it comes by: somebody must always be reading. It fails when the Link
// has ended. One goroutine may call it at a time.
func (l *Link) Read(p []byte) (int, error) {
	for len(l.inbox) == 0 {
		if err := l.receive(); err != nil {
			l.breakOff(err)
			return 0, l.Err()
		}
	}
	n := copy(p, l.inbox)
	l.inbox = l.inbox[n:]
	l.discard()
	return n, nil
}

// discard gives the buffer back once it is used up.
func (l *Link) discard() {
	if len(l.inbox) == 0 && l.message != nil {
		messages.Put(l.message)
		l.message = nil
	}
}

// receive takes one frame in.
func (l *Link) receive() error {
	if l.bye != nil {
		return l.bye
	}
	ws := l.hold()
	if ws == nil {
		return l.Err()
	}
	b, err := l.readMessage(ws)
	if err != nil {
		l.unhold()
		l.discard()
		return l.readFailed(ws, err)
	}
	f, err := parseFrame(b)
	if err != nil {
		return err
	}
	l.inbox = f.data
	defer l.discard()
	return l.accept(&f)
}

// hold waits for a WebSocket and returns it to the reader, or nil if the Link has
// ended.
func (l *Link) hold() *websocket.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && l.ws == nil {
		l.attached.Wait()
	}
	if l.err != nil {
		return nil
	}
	l.reading = true
	return l.ws
}

// unhold is the end of what hold began; accept does the same in one step with
// counting what was received.
func (l *Link) unhold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading = false
	l.released.Broadcast()
}

// readFailed detaches the Link from a WebSocket that was lost. What no other
// WebSocket would mend ends the Link.
func (l *Link) readFailed(ws *websocket.Conn, err error) error {
	var wrong protocolError
	if errors.As(err, &wrong) {
		return err
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return err // gorilla has told the peer
	}
	l.detach(ws, err)
	return nil
}

// readMessage reads one message into the reader's buffer.
func (l *Link) readMessage(ws *websocket.Conn) ([]byte, error) {
	kind, r, err := ws.NextReader()
	if err != nil {
		return nil, err
	}
	if kind != websocket.BinaryMessage {
		return nil, protocolError("a message that is not binary")
	}
	l.message = messages.Get().(*message)
	return readAll(r, l.message[:])
}

// readAll reads all of r into b, or into a larger buffer if it must. The
// WebSocket's read limit bounds it.
func readAll(r io.Reader, b []byte) ([]byte, error) {
	for n := 0; ; {
		if n == len(b) {
			b = append(b, make([]byte, maxPeerData)...)
		}
		m, err := r.Read(b[n:])
		n += m
		if err == io.EOF {
			return b[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// accept takes in what a frame says, and lets go of the WebSocket.
func (l *Link) accept(f *frame) error {
	l.mu.Lock()
	first, name := l.fresh, l.name
	l.fresh = false
	err := l.acceptLocked(f)
	l.reading = false
	l.released.Broadcast()
	l.mu.Unlock()
	if first && err == nil && l.hooks.confirmed != nil {
		l.hooks.confirmed(name)
	}
	return err
}

func (l *Link) acceptLocked(f *frame) error {
	if err := l.acknowledged(f.ack, f.delay); err != nil {
		return err
	}
	l.received += uint64(len(f.data))
	if f.sent != 0 {
		l.arrivals.note(int64(l.clock(time.Now()) - f.sent))
	}
	l.scheduleAck()
	if ping := f.control.GetPing(); ping != nil {
		l.controlFrame().Pong = &relayv1.Pong{Id: ping.GetId()}
		l.sendable.Signal()
	}
	if pong := f.control.GetPong(); pong != nil {
		l.ponged = pong.GetId()
	}
	if f.control.GetDrain() != nil {
		l.noteDrain()
	}
	l.heardNow()
	if c := f.control.GetClose(); c != nil {
		l.bye = &ClosedError{Code: closeCode(c.GetCode()), Detail: c.GetDetail(), Remote: true}
	}
	return nil
}

// acknowledged drops what the peer has. It is called with mu held.
func (l *Link) acknowledged(ack uint64, delay int64) error {
	switch {
	case ack == 0:
		return nil
	case ack < l.acked || ack > l.tried:
		// Not l.sent: a WebSocket may be lost between carrying some bytes and the
		// sender's counting them.
		return protocolError("an acknowledgement of what was not sent")
	}
	if ack > l.acked {
		l.acked = ack
		l.gate.forget()
		l.pace.received(ack, time.Duration(delay)*time.Microsecond, time.Now())
		l.publishPace()
	}
	l.release()
	return nil
}

// release drops what the peer has, but for what the sender is still reading:
// posted sees to that. It is called with mu held.
func (l *Link) release() {
	l.out.release(min(l.acked, l.sent))
	l.roomy.Broadcast()
	l.admit()
}

// scheduleAck sees to it that the peer learns what has been received. It is called
// with mu held.
func (l *Link) scheduleAck() {
	owed := l.received - l.told
	if owed == 0 || l.ackDue {
		return
	}
	now := time.Now()
	due := l.toldAt.Add(ackPause)
	if owed < ackSome {
		due = now.Add(ackDelay)
	}
	switch {
	case owed >= ackMuch || !due.After(now):
		l.ackDue = true
		l.sendable.Signal()
	case l.ackBy.IsZero() || due.Before(l.ackBy):
		l.ackBy = due
		l.ackTimer.Reset(due.Sub(now))
	}
}

// ackLate runs when no frame went out that could carry the acknowledgement.
func (l *Link) ackLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ackBy = time.Time{}
	if l.err == nil && l.received > l.told {
		l.ackDue = true
		l.sendable.Signal()
	}
}

// noteDrain is called with mu held.
func (l *Link) noteDrain() {
	select {
	case <-l.drained:
	default:
		close(l.drained)
	}
}

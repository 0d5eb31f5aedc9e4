package mux

import (
	"sync"
	"time"

	"github.com/gorilla/websocket"

	relayv1 "ferry/proto/relay/v1"
)

// writeBuffers lends each message its buffer while it is being written. All
// WebSockets have the same writeBufferSize.
var writeBuffers = new(sync.Pool)

// writeBufferSize holds any frame of this end whole, so that a message is one
// system call.
const writeBufferSize = maxFrameData + maxControl

// outgoing is a frame on its way: header, then data, which stands in the replay
// buffer.
type outgoing struct {
	ws     *websocket.Conn
	header []byte
	data   [][]byte
	size   int
	last   bool // nothing follows
}

// send is the sender's goroutine. It writes whatever is waiting as one message,
// and ends with the Link, or after the Close frame.
func (l *Link) send() {
	defer l.workers.Done()
	var o outgoing
	for {
		ok, err := l.next(&o)
		if err != nil {
			l.fail(err)
		}
		if !ok {
			return
		}
		err = o.post()
		l.posted(&o, err)
		if err != nil {
			l.detach(o.ws, err)
		} else if o.last {
			o.farewell()
			close(l.parted)
			return
		}
	}
}

// next waits for something to send and gathers it. It returns false when the
// Link has ended, or has to.
func (l *Link) next(o *outgoing) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && (l.ws == nil || l.unsent() == 0 && !l.ackDue && l.control == nil) {
		l.sendable.Wait()
	}
	if l.err != nil {
		return false, nil
	}
	if err := l.gather(o); err != nil {
		return false, err
	}
	o.ws, l.writing = l.ws, true
	return true, nil
}

// gather makes the next frame. It is called with mu held.
func (l *Link) gather(o *outgoing) (err error) {
	n := min(l.unsent(), l.pace.chunk()+smallWrite)
	control := l.control
	o.last = l.broken
	if l.broken {
		n = 0
	} else if control.GetClose() != nil {
		// Close is the last frame: the data in front of it goes first.
		if n < l.unsent() {
			control = nil
		} else {
			o.last = true
		}
	}
	now := time.Now()
	f := frame{ack: l.received, delay: l.arrivals.report(), control: control}
	if n > 0 {
		f.sent = l.clock(now)
	}
	if o.header, err = appendFrame(o.header[:0], &f, n); err != nil {
		return err
	}
	if l.told < l.received {
		l.told, l.toldAt = l.received, now
	}
	l.ackDue = false
	if control != nil {
		l.control = nil
	}
	o.size = n
	o.data = l.out.view(o.data[:0], l.sent, n)
	l.batch = n
	l.tried = max(l.tried, l.sent+uint64(n))
	if n > 0 {
		l.pace.sent(l.sent+uint64(n), now)
	}
	if l.awaiting.IsZero() && (n > 0 || control.GetPing() != nil) {
		l.await(now, l.config.Timeout)
	}
	return nil
}

// post writes a frame as one WebSocket message.
func (o *outgoing) post() error {
	w, err := o.ws.NextWriter(websocket.BinaryMessage)
	if err != nil {
		return err
	}
	if _, err := w.Write(o.header); err != nil {
		return err
	}
	for _, part := range o.data {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

// farewell closes the WebSocket's sending side (RFC 6455, section 7.1.2), which
// tells the boxes in the middle what the Close frame told the peer.
func (o *outgoing) farewell() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = o.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(closeTimeout))
}

// posted lets go of the WebSocket, counts what was sent, drops what has been
// acknowledged meanwhile, and lets streams through that wait for their turn. If
// the WebSocket was lost, the peer will say how much of it has arrived.
func (l *Link) posted(o *outgoing, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.ws == o.ws {
		l.sent += uint64(o.size)
	}
	l.batch = 0
	l.writing = false
	l.released.Broadcast()
	l.release()
}

// unsent is how many bytes wait to be sent. It is called with mu held.
func (l *Link) unsent() int { return int(l.out.end - l.sent) }

// turns is how many streams with much to send may have their turn now: little should
// be waiting to be sent, and no more be on its way than the path holds. What they do
// not send now waits with them, where small writes overtake it. It is called with mu
// held.
func (l *Link) turns() int {
	chunk := l.pace.chunk()
	room := min(2*chunk-l.unsent(), l.pace.room(l.out.len()))
	turns := room/chunk - l.gate.passing
	gap := l.pace.gap()
	if gap == 0 || turns <= 0 {
		return turns
	}
	if wait := gap - time.Since(l.turnAt); wait > 0 {
		l.turnTimer.Reset(wait)
		return 0
	}
	return 1
}

// admit lets streams through whose turn it is. When nothing is on its way, all may go:
// those that went before may be held up by their own windows, and nobody would come
// by again. It is called with mu held.
func (l *Link) admit() {
	turns := l.turns()
	if l.out.len() == 0 {
		turns = len(l.gate.waiting)
	}
	if turns > 0 && len(l.gate.waiting) > 0 {
		l.gate.admit(turns)
		l.turnAt = time.Now()
	}
}

// waitTurn blocks until a stream with much to send may write, until the channel that
// giveUp returns is closed, or until the Link has ended. It reports whether the
// stream may write; a write to a Link that has ended says why it can't.
func (l *Link) waitTurn(giveUp func() <-chan struct{}) bool {
	l.mu.Lock()
	turn := l.gate.enter(l.err != nil || l.out.len() == 0 || l.turns() > 0)
	if turn == nil {
		l.turnAt = time.Now()
	}
	l.mu.Unlock()
	if turn == nil {
		return true
	}
	select {
	case <-turn:
		return true
	case <-giveUp():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate.leave(turn)
	return false
}

// endTurn says that a stream whose turn it was has written.
func (l *Link) endTurn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate.passed()
	l.admit()
}

// turnLate runs when it has been too early for a turn.
func (l *Link) turnLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.admit()
	}
}

// announce queues a Drain frame.
func (l *Link) announce(grace time.Duration, detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.drain = &relayv1.Drain{GraceMs: uint64(grace.Milliseconds()), Detail: clip(detail)}
		l.controlFrame().Drain = l.drain
		l.sendable.Signal()
	}
}

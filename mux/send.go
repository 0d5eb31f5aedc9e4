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
	n := min(l.unsent(), maxFrameData)
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
	if o.header, err = appendFrame(o.header[:0], l.received, control, n); err != nil {
		return err
	}
	l.told, l.ackDue = l.received, false
	if control != nil {
		l.control = nil
	}
	o.size = n
	o.data = l.out.view(o.data[:0], l.sent, n)
	l.batch = n
	l.tried = max(l.tried, l.sent+uint64(n))
	if l.awaiting.IsZero() && (n > 0 || control.GetPing() != nil) {
		l.await(time.Now(), l.config.Timeout)
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

// open reports whether streams with much to send may pass: little is waiting to
// be sent, and the replay buffer keeps some room for all the rest. It is called
// with mu held.
func (l *Link) open() bool {
	return l.unsent() < unsentLimit && l.out.len() < l.config.ReplayBuffer*3/4
}

// admit lets as many streams through as there is room for a frame of each. When
// nothing waits to be sent, all may go: those that went before may be held up by
// their own windows. It is called with mu held.
func (l *Link) admit() {
	switch {
	case !l.open():
	case l.unsent() == 0:
		l.gate.admit(len(l.gate.waiting))
	default:
		l.gate.admit((unsentLimit - l.unsent() + maxFrameData - 1) / maxFrameData)
	}
}

// waitTurn blocks until a stream with much to send may write, until giveUp is
// closed, or until the Link has ended. It reports whether the stream may write;
// a write to a Link that has ended says why it can't.
func (l *Link) waitTurn(giveUp <-chan struct{}) bool {
	l.mu.Lock()
	turn := l.gate.enter(l.err != nil || l.open())
	l.mu.Unlock()
	if turn == nil {
		return true
	}
	select {
	case <-turn:
		return true
	case <-giveUp:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate.leave(turn)
	return false
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

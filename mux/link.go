package mux

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	relayv1 "ferry/proto/relay/v1"
)

const (
	// closeTimeout bounds how long a Link that closes takes to send what is
	// waiting and to see the peer go.
	closeTimeout = 3 * time.Second
	// partTime bounds how long a peer that broke the protocol is told so.
	partTime = 100 * time.Millisecond
)

// Link is an ordered, reliable byte stream over a succession of WebSockets. Bytes
// are numbered from 0 in each direction, and kept until the peer has
// acknowledged them. When its WebSocket is lost, a Link is detached: it waits for
// another one, on which both sides send again what the other lacks. Readers and
// writers only notice a pause.
//
// Three goroutines work on a Link: its user's reader, who calls Read and with it
// takes in acknowledgements and pings; the sender, the only one to write to the
// WebSocket; and the watchman, who drops a WebSocket on which nothing is heard,
// and a Link that is detached for too long. The last two end with the Link, and
// Close waits for them. Whoever attaches the next WebSocket suspends the Link
// first, which makes the reader and the sender let go of the last one.
type Link struct {
	config Config
	window time.Duration // how long the Link may be detached; 0: it ends instead
	hooks  hooks

	// The reader's own:
	inbox   []byte   // what Read has yet to return
	message *message // the buffer that holds it
	bye     error    // the peer's Close, which counts once inbox is empty

	workers sync.WaitGroup
	ended   chan struct{} // closed once err is set
	parted  chan struct{} // closed by the sender once the Close frame is out

	// mu guards everything below. It is not held during I/O.
	mu        sync.Mutex
	sendable  sync.Cond   // the sender waits here for something to send, and a WebSocket
	attached  sync.Cond   // the reader waits here for a WebSocket
	released  sync.Cond   // suspend waits here for reader and sender to let go
	roomy     sync.Cond   // Write waits here for room in the replay buffer
	gate      gate        // and streams with much to send wait here before they Write
	turnAt    time.Time   // when one of them last had its turn
	turnTimer *time.Timer // lets the next one through, if it had to wait for that
	err       error       // the first failure; sticks

	ws      *websocket.Conn // nil while the Link is detached
	lost    chan struct{}   // closed when ws is lost
	since   time.Time       // when ws was lost
	cause   error           // and why
	reading bool            // the reader holds a WebSocket, maybe the last one
	writing bool            // the sender does
	name    string          // what whoever attached ws calls it
	fresh   bool            // no frame has come on ws yet

	out   replay       // written and not acknowledged, or being sent just now
	sent  uint64       // offset in out up to which everything is on its way
	batch int          // bytes from sent on that the sender is writing just now
	tried uint64       // offset up to which anything was ever handed to a WebSocket
	acked uint64       // offset up to which the peer has everything
	pace  pace         // how much of that may be on its way
	trip  atomic.Int64 // pace's round trip and chunk, for those who do not hold mu
	chunk atomic.Int64

	born     time.Time // when clock began
	arrivals delays    // of frames that came in, to be reported to the peer
	received uint64    // bytes taken in from the peer
	told     uint64    // of these, what the peer has been told
	ackDue   bool      // told is to be brought up to date at once
	toldAt   time.Time // when told was brought up to date
	ackBy    time.Time // when ackTimer does that, or zero
	ackTimer *time.Timer

	control *relayv1.Frame // ping, pong, drain and close to be sent next; or nil
	closing *ClosedError   // a Close frame with this reason is the last to be sent
	broken  bool           // a Close frame goes out at once, and nothing else

	heard    time.Time     // when the last frame came in
	awaiting time.Time     // since when an answer is due and nothing was heard; or zero
	patience time.Duration // how long that may last
	pinged   uint64        // id of the last ping
	ponged   uint64        // id of the last ping that was answered

	drain   *relayv1.Drain // what announce said; said again on each WebSocket
	drained chan struct{}  // closed when the peer announces that it goes away
}

// hooks are told what happens to a Link. They are called without its mu.
type hooks struct {
	lost      func()            // the WebSocket was lost; it may be resumed
	confirmed func(name string) // the first frame has come on the WebSocket of that name
	ended     func()            // the Link has ended
}

var _ io.ReadWriteCloser = (*Link)(nil)

// newLink returns a Link that start starts.
func newLink(c Config, window time.Duration, h hooks) *Link {
	l := &Link{
		config:  c,
		window:  window,
		born:    time.Now(),
		hooks:   h,
		ended:   make(chan struct{}),
		parted:  make(chan struct{}),
		drained: make(chan struct{}),
	}
	for _, cond := range []*sync.Cond{&l.sendable, &l.attached, &l.released, &l.roomy} {
		cond.L = &l.mu
	}
	l.beginPath(0)
	l.ackTimer = time.AfterFunc(time.Hour, l.ackLate)
	l.ackTimer.Stop()
	l.turnTimer = time.AfterFunc(time.Hour, l.turnLate)
	l.turnTimer.Stop()
	return l
}

// start runs the Link on a WebSocket that has just been opened.
func (l *Link) start(ws *websocket.Conn, name string) {
	prepare(ws)
	l.mu.Lock()
	l.take(ws, name)
	l.mu.Unlock()
	l.workers.Add(2)
	go l.send()
	go l.watch()
}

// Write queues b to be sent. It waits while the replay buffer is full, and fails
// only when the Link has ended.
func (l *Link) Write(b []byte) (int, error) {
	if err := l.write(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// write queues the parts one behind the other, as one piece.
func (l *Link) write(parts ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	for l.err == nil && l.out.len() > 0 && l.out.len()+size > l.config.ReplayBuffer {
		l.roomy.Wait()
	}
	if l.err != nil {
		return l.err
	}
	for _, p := range parts {
		l.out.append(p)
	}
	l.sendable.Signal()
	return nil
}

// beginPath is for a new path, on which so much is acknowledged. The replay buffer
// keeps some room for small writes. It is called with mu held.
func (l *Link) beginPath(acked uint64) {
	l.pace.reset(l.config.ReplayBuffer/4*3, acked)
	l.publishPace()
}

// publishPace is called with mu held.
func (l *Link) publishPace() {
	l.trip.Store(int64(l.pace.trip))
	l.chunk.Store(int64(l.pace.chunk()))
}

// roundTrip is how long it takes of late from sending a byte to its
// acknowledgement; 0 if that is not known yet.
func (l *Link) roundTrip() time.Duration { return time.Duration(l.trip.Load()) }

// Err returns why the Link ended, or nil.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// fail ends the Link at once, and frees everybody. The first reason sticks.
func (l *Link) fail(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	if l.closing != nil {
		err = l.closing
	}
	l.err = err
	l.ackTimer.Stop()
	l.turnTimer.Stop()
	l.sendable.Broadcast()
	l.attached.Broadcast()
	l.roomy.Broadcast()
	l.gate.admit(len(l.gate.waiting))
	close(l.ended)
	ws := l.ws
	l.letGo(err)
	l.mu.Unlock()
	if ws != nil {
		_ = ws.Close()
	}
	call(l.hooks.ended)
}

func call(hook func()) {
	if hook != nil {
		hook()
	}
}

// Close ends the Link in good order, with the reason CloseDone. See shut.
func (l *Link) Close() error {
	l.shut(&ClosedError{Code: CloseDone})
	return nil
}

// shut sends what is waiting and a Close frame with the reason, and waits for the
// peer to close its end, since closing first could destroy what is still on its
// way. It takes closeTimeout at most, and somebody must be reading meanwhile.
// Then the Link has ended, and so have its goroutines. A Link that is detached
// ends at once.
func (l *Link) shut(reason *ClosedError) {
	l.mu.Lock()
	detached := l.ws == nil
	if l.err == nil && l.closing == nil {
		l.closing = reason
		l.controlFrame().Close = &relayv1.Close{Code: relayv1.Close_Code(reason.Code), Detail: clip(reason.Detail)}
		l.sendable.Signal()
	}
	l.mu.Unlock()
	if detached {
		l.fail(reason)
	}
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case <-l.ended:
	case <-timeout.C:
		l.fail(reason)
	}
	l.workers.Wait()
}

// breakOff ends the Link because of what its reader found. A peer that broke the
// protocol is told so, if that takes no time; the rest is not worth sending.
func (l *Link) breakOff(err error) {
	var wrong protocolError
	if errors.As(err, &wrong) && l.accuse(wrong) {
		timeout := time.NewTimer(partTime)
		defer timeout.Stop()
		select {
		case <-l.parted:
		case <-l.ended:
		case <-timeout.C:
		}
	}
	l.fail(err)
}

// accuse queues a Close frame that tells the peer what it did wrong, and reports
// whether it can be sent.
func (l *Link) accuse(wrong protocolError) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.ws == nil || l.closing != nil {
		return false
	}
	l.broken = true
	l.controlFrame().Close = &relayv1.Close{Code: relayv1.Close_CODE_PROTOCOL_ERROR, Detail: clip(string(wrong))}
	l.sendable.Signal()
	return true
}

// controlFrame returns the frame to which the next control message is added. It
// is called with mu held.
func (l *Link) controlFrame() *relayv1.Frame {
	if l.control == nil {
		l.control = new(relayv1.Frame)
	}
	return l.control
}

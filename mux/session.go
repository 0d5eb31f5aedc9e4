package mux

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	// acceptBacklog is how many streams may be opened before the peer has seen
	// the first. Both ends have the same: yamux counts on it.
	acceptBacklog = 4096
	// MaxStreams is how many streams a peer may have open before the session is
	// ended. Whoever accepts streams refuses them long before that.
	MaxStreams = 1 << 16
)

// The header fields of the handshake; link.proto explains them.
const (
	subprotocol   = "ferry.v1"
	sessionField  = "Ferry-Session"
	receivedField = "Ferry-Received"
	windowField   = "Ferry-Resume-Window"
)

// Session carries many streams over one Link. All methods may be called
// concurrently.
type Session struct {
	link     *Link
	yam      *yamux.Session
	windows  *windows
	shrinker *shrinker

	mu      sync.Mutex    // guards what follows
	retired bool          // no more streams are to be opened
	id      string        // the dialing end's: the name that resumes the session
	open    int           // streams that were opened or accepted, and not closed
	opened  int           // streams that were opened or accepted
	idle    chan struct{} // closed when open falls to 0; nil if nobody waits
}

// newSession runs yamux on a Link that runs.
func newSession(link *Link, start func(*carrier, *yamux.Config) (*yamux.Session, error)) (*Session, error) {
	w := newWindows(link.config.Window, link.config.WindowPurse)
	yam, err := start(newCarrier(link, w), yamuxConfig(link.config))
	if err != nil {
		link.fail(err)
		return nil, err
	}
	s := &Session{link: link, yam: yam, windows: w, shrinker: newShrinker(link.config.OnCalm)}
	link.workers.Go(func() { s.shrinker.run(link.ended) })
	return s, nil
}

func dialed(c *carrier, y *yamux.Config) (*yamux.Session, error) { return yamux.Client(c, y) }
func served(c *carrier, y *yamux.Config) (*yamux.Session, error) { return yamux.Server(c, y) }

// yamuxConfig turns off whatever in yamux judges time: the Link does that, and a
// Link that is busy or being taken up again is not a dead one.
func yamuxConfig(c Config) *yamux.Config {
	y := yamux.DefaultConfig()
	y.AcceptBacklog = acceptBacklog
	y.EnableKeepAlive = false
	y.StreamOpenTimeout = 0
	// A write that waits longer fails though its bytes may still be sent, so it
	// must never fire.
	y.ConnectionWriteTimeout = 24 * time.Hour
	y.MaxStreamWindowSize = yamuxWindow
	y.LogOutput = nil
	y.Logger = slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug)
	return y
}

// Open opens a stream. It does not wait for the peer, and fails only if the
// session has ended, with the error of Err, or after Retire.
func (s *Session) Open() (*Stream, error) {
	if !s.enter() {
		return nil, errRetired
	}
	y, err := s.yam.OpenStream()
	if err != nil {
		s.left()
		return nil, s.end(err)
	}
	return newStream(y, s), nil
}

// enter counts a stream in that is about to be opened.
func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.retired {
		s.open++
		s.opened++
	}
	return !s.retired
}

// Retire lets no stream be opened any more by this end. Those that are open go on.
func (s *Session) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
}

// Accept returns the next stream that the peer has opened. It fails only if the
// session has ended; the error is that of Err. Somebody must always be
// accepting, and must not do anything else meanwhile.
func (s *Session) Accept() (*Stream, error) {
	y, err := s.yam.AcceptStream()
	if err != nil {
		return nil, s.end(err)
	}
	if s.yam.NumStreams() > MaxStreams {
		s.link.fail(protocolError("too many streams"))
		return nil, s.Err()
	}
	s.mu.Lock()
	s.open++
	s.opened++
	s.mu.Unlock()
	return newStream(y, s), nil
}

// Opened returns how many streams there have been so far.
func (s *Session) Opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// end makes sure that an error of yamux is the end of the session, and returns
// its reason.
func (s *Session) end(err error) error {
	s.link.fail(err)
	return s.link.Err()
}

// Streams returns how many streams there are, among them those that this end has
// closed and the peer has not.
func (s *Session) Streams() int { return s.yam.NumStreams() }

// WaitIdle returns when this end has no stream open, when the session has ended,
// or when ctx has.
func (s *Session) WaitIdle(ctx context.Context) {
	s.mu.Lock()
	if s.open == 0 {
		s.mu.Unlock()
		return
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
	case <-s.Done():
	case <-ctx.Done():
	}
}

// left notes that a stream was closed.
func (s *Session) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.open == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// Attached reports whether the session has a WebSocket. Without one it goes on,
// but nothing gets through.
func (s *Session) Attached() bool { return s.link.isAttached() }

// Lost returns a channel that is closed when the session's WebSocket of the
// moment is lost, or the session has ended. [Dial] takes a session up again.
func (s *Session) Lost() <-chan struct{} { return s.link.loss() }

// LostBy returns why the session's last WebSocket was lost.
func (s *Session) LostBy() error { return s.link.lossCause() }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.link.ended }

// Err returns why the session ended: a [*ClosedError] if that was on purpose,
// [ErrNotResumed] or an error of the network otherwise. It is nil before.
func (s *Session) Err() error { return s.link.Err() }

// Drain tells the peer that this end goes away, and for how long it waits for
// the open streams to finish. Nothing else changes.
func (s *Session) Drain(grace time.Duration, detail string) { s.link.announce(grace, detail) }

// Draining is closed when the peer has announced that it goes away.
func (s *Session) Draining() <-chan struct{} { return s.link.drained }

// Close ends the session in good order: what was written is sent, the peer is
// told the reason, and streams that are still open are cut. It takes a few
// seconds at most if the peer does not answer.
func (s *Session) Close(code CloseCode, detail string) error {
	s.link.shut(&ClosedError{Code: code, Detail: detail})
	return s.yam.Close()
}

func (s *Session) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

func (s *Session) rename(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
}

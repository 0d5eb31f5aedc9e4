package mux

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// smallWrite is the largest write that does not wait for its turn when the Link
// is busy.
const smallWrite = 4 << 10

// Stream is one byte stream of a session, with flow control of its own. One
// goroutine may read and another write at a time.
type Stream struct {
	yam     *yamux.Stream
	session *Session

	mu     sync.Mutex
	giveUp chan struct{} // closed while the write deadline is in the past
	freed  bool          // giveUp is closed
	closed bool          // Close has been called
}

func newStream(y *yamux.Stream, s *Session) *Stream {
	s.count(1)
	return &Stream{yam: y, session: s, giveUp: make(chan struct{})}
}

// Read returns io.EOF once the peer has closed the stream. If the session has
// ended, it returns the session's error instead: yamux would call that an EOF.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.yam.Read(p)
	if n > 0 || err == nil {
		return n, nil
	}
	return 0, s.explain(err)
}

// Write writes p as one piece, and waits its turn for that if p is not small and
// the session is busy. A write that is larger than a chunk of the tunnel
// protocol makes everybody else wait, so don't.
func (s *Stream) Write(p []byte) (int, error) {
	if len(p) > smallWrite && !s.session.link.waitTurn(s.interrupted()) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := s.yam.Write(p)
	if err != nil {
		return n, s.explain(err)
	}
	return n, nil
}

// explain translates an error of yamux.
func (s *Stream) explain(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return os.ErrDeadlineExceeded
	case s.session.Err() != nil:
		return s.session.Err()
	case errors.Is(err, io.EOF) && s.session.yam.IsClosed():
		return s.session.end(yamux.ErrSessionShutdown)
	}
	return err
}

// Close closes the stream in both directions: the peer reads what was written,
// then EOF. Later calls do nothing.
func (s *Stream) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	defer s.session.count(-1)
	return s.yam.Close()
}

// SetReadDeadline frees a blocked Read if t has passed. The zero time takes that
// back.
func (s *Stream) SetReadDeadline(t time.Time) error {
	if err := interruption(t); err != nil {
		return err
	}
	return s.yam.SetReadDeadline(t)
}

// SetWriteDeadline frees a Write that waits for its turn or for the peer's
// window if t has passed; a Write that need not wait succeeds even so. The zero
// time takes that back.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	if err := interruption(t); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if free := !t.IsZero(); free != s.freed {
		s.freed = free
		if free {
			close(s.giveUp)
		} else {
			s.giveUp = make(chan struct{})
		}
	}
	return s.yam.SetWriteDeadline(t)
}

// interruption refuses deadlines that lie ahead: whoever uses a Stream keeps
// those, since yamux's own are not reliable.
func interruption(t time.Time) error {
	if time.Until(t) > 0 {
		return errors.New("mux: a stream's deadline can only interrupt; it must be in the past, or zero")
	}
	return nil
}

// interrupted is closed when a Write has to give up waiting.
func (s *Stream) interrupted() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.giveUp
}

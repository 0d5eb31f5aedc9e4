package mux

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
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
	window  *window
	reads   atomic.Uint32 // counts them, for the shrinker
	swollen atomic.Bool   // the shrinker looks after it

	mu     sync.Mutex
	freed  bool          // the write deadline is in the past
	giveUp chan struct{} // closed while that is so; nil as long as nobody waits for it
	closed bool          // Close has been called
}

func newStream(y *yamux.Stream, s *Session) *Stream {
	return &Stream{yam: y, session: s, window: s.windows.of(y.StreamID())}
}

// Read returns io.EOF once the peer has closed the stream. If the session has
// ended, it returns the session's error instead: yamux would call that an EOF.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.yam.Read(p)
	if n > 0 {
		s.consumed(n)
		s.stirred()
	}
	if n > 0 || err == nil {
		return n, nil
	}
	return 0, s.explain(err)
}

// stirred notes that the stream is busy.
func (s *Stream) stirred() {
	s.reads.Add(1)
	if !s.swollen.Load() && s.swollen.CompareAndSwap(false, true) {
		s.session.shrinker.add(s)
	}
}

// Readable reports whether there is something to read, or is just about to be.
func (s *Stream) Readable() bool { return s.window == nil || s.window.readable() }

// OnReadable has wake called once the stream is readable, and reports true. If it is
// already, it does nothing and reports false. It is called by the reader; wake must
// not block.
func (s *Stream) OnReadable(wake func()) bool {
	return s.window != nil && s.session.windows.whenReadable(s.window, wake)
}

// consumed lets the peer send more, once enough has been read. If the Link has
// ended, the next Read says so.
func (s *Stream) consumed(n int) {
	if s.window == nil {
		return // the stream is over
	}
	if raise := s.session.windows.consumed(s.window, n, s.session.link.roundTrip()); raise > 0 {
		_ = s.session.link.write(windowUpdate(s.yam.StreamID(), raise))
	}
}

// Write writes p as one piece, and waits its turn for that if p is not small and
// the session is busy. A write that is larger than a chunk of the tunnel
// protocol makes everybody else wait, so don't.
func (s *Stream) Write(p []byte) (int, error) {
	if len(p) > smallWrite {
		if !s.session.link.waitTurn(s.interrupted) {
			return 0, os.ErrDeadlineExceeded
		}
		defer s.session.link.endTurn()
	}
	n, err := s.yam.Write(p)
	if err != nil {
		return n, s.explain(err)
	}
	return n, nil
}

// MaxWrite is how many bytes one Write should carry at most just now, so that
// others don't wait long: 16 KiB on a slow path, 128 KiB on a fast one.
func (s *Stream) MaxWrite() int { return int(s.session.link.chunk.Load()) }

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
	defer s.session.left()
	defer s.session.shrinker.forget(s)
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
		switch {
		case !free:
			s.giveUp = nil
		case s.giveUp != nil:
			close(s.giveUp)
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
	if s.giveUp == nil {
		s.giveUp = make(chan struct{})
		if s.freed {
			close(s.giveUp)
		}
	}
	return s.giveUp
}

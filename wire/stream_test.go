package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// memStream is a Stream in memory. As a stream of a session has, it has a window:
// a writer waits for a far end that reads nothing, also for one that is closed.
type memStream struct {
	in, out *flow
}

// flow is one direction of a pair of memStreams.
type flow struct {
	mu      sync.Mutex
	changed sync.Cond
	data    []byte
	window  int
	ended   error  // what the reader gets after the data: io.EOF, or why the stream was lost
	unread  bool   // the reader has closed its end
	wake    func() // called when there is something to read; or nil
	// Whether the deadlines of its reader and its writer are in the past.
	readLate, writeLate bool
}

var _ Stream = (*memStream)(nil)

func newFlow(window int) *flow {
	f := &flow{window: window}
	f.changed.L = &f.mu
	return f
}

// memPipe returns the two ends of a stream. A writer may be window bytes ahead.
func memPipe(window int) (a, b *memStream) {
	x, y := newFlow(window), newFlow(window)
	return &memStream{x, y}, &memStream{y, x}
}

// update changes a flow and wakes whoever waits for that.
func (f *flow) update(change func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.changed.Broadcast()
	f.wakeUp()
	return nil
}

func (f *flow) readable() bool { return len(f.data) > 0 || f.ended != nil || f.unread }

// wakeUp is called with mu held.
func (f *flow) wakeUp() {
	if f.wake != nil && f.readable() {
		go f.wake()
		f.wake = nil
	}
}

func (s *memStream) Read(p []byte) (int, error) {
	f := s.in
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.data) == 0 {
		switch {
		case f.unread:
			return 0, net.ErrClosed
		case f.ended != nil:
			return 0, f.ended
		case f.readLate:
			return 0, os.ErrDeadlineExceeded
		}
		f.changed.Wait()
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	f.changed.Broadcast()
	return n, nil
}

func (s *memStream) Write(p []byte) (n int, err error) {
	f := s.out
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if f.ended != nil {
			return n, net.ErrClosed
		}
		m := min(len(p)-n, f.window-len(f.data))
		f.data = append(f.data, p[n:n+m]...)
		n += m
		f.changed.Broadcast()
		f.wakeUp()
		if n == len(p) {
			return n, nil
		}
		if f.writeLate {
			return n, os.ErrDeadlineExceeded
		}
		f.changed.Wait()
	}
}

// chunkSize is what the tests' streams carry at a time.
const chunkSize = 64 << 10

func (s *memStream) MaxWrite() int { return chunkSize }

func (s *memStream) Readable() bool {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return s.in.readable()
}

func (s *memStream) OnReadable(wake func()) bool {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.readable() {
		return false
	}
	s.in.wake = wake
	return true
}

func (s *memStream) Close() error {
	_ = s.in.update(func() { s.in.unread = true })
	return s.lose(io.EOF)
}

// lose ends the stream; the far end reads what is on its way, and then err.
func (s *memStream) lose(err error) error {
	return s.out.update(func() {
		if s.out.ended == nil {
			s.out.ended = err
		}
	})
}

func (s *memStream) SetReadDeadline(t time.Time) error {
	return s.in.update(func() { s.in.readLate = !t.IsZero() })
}

func (s *memStream) SetWriteDeadline(t time.Time) error {
	return s.out.update(func() { s.out.writeLate = !t.IsZero() })
}

// The windows that matter: larger than a chunk, smaller than one (so that writing
// stops in the middle of it), and so small that it stops inside a header.
var windows = map[string]int{"large": 4 * chunkSize, "small": 1000, "tiny": 3}

func TestConformanceOnStreamsWithAWindow(t *testing.T) {
	for name, window := range windows {
		if window < 1000 {
			continue // an echo that writes before it has read all needs some room
		}
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b := memPipe(window)
				near, far := handshake(t, a, b)
				return near, far, func() {
					_ = near.Abort(AbortCanceled, "")
					_ = far.Abort(AbortCanceled, "")
					_ = a.Close() // a Conn that was closed lingers on its stream
					_ = b.Close()
				}, nil
			})
		})
	}
}

// opened returns a tunnel that has been opened, and confirmed by a far end that
// the test plays by hand. The near end may be window bytes ahead of it.
func opened(t *testing.T, window int) (near *Conn, far *memStream, fromNear *decoder) {
	t.Helper()
	near, far, fromNear = asked(t)
	_ = far.in.update(func() { far.in.window = window })
	put(t, far, controlChunk(connectedChunk()))
	if err := near.Handshake(t.Context()); err != nil {
		t.Fatalf("Handshake: %v; want nil, Connected was sent", err)
	}
	return near, far, fromNear
}

// asked returns a tunnel that has been opened and not yet answered.
func asked(t *testing.T) (near *Conn, far *memStream, fromNear *decoder) {
	t.Helper()
	a, far := memPipe(chunkSize)
	near, err := Open(a, example)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		_ = near.Abort(AbortCanceled, "the test is over")
		_ = far.Close()
	})
	fromNear = &decoder{src: far}
	if chunk := wantControl(t, fromNear); chunk.GetConnect().GetHost() != example.Host || chunk.GetConnect().GetPort() != uint32(example.Port) {
		t.Fatalf("the first chunk is %v; want Connect to %v", chunk, example)
	}
	return near, far, fromNear
}

// put writes to a stream by hand.
func put(t *testing.T, s *memStream, chunks ...[]byte) {
	t.Helper()
	for _, b := range chunks {
		if _, err := s.Write(b); err != nil {
			t.Fatalf("writing to the stream: %v", err)
		}
	}
}

func wantAbort(t *testing.T, what string, err error, want AbortError) {
	t.Helper()
	var got *AbortError
	if !errors.As(err, &got) {
		t.Errorf("%s: %v; want an *AbortError with the code %v", what, err, want.Code)
		return
	}
	if got.Code != want.Code || got.Remote != want.Remote || want.Detail != "" && got.Detail != want.Detail {
		t.Errorf("%s: code %v, remote %v, detail %q; want %v, %v, %q", what, got.Code, got.Remote, got.Detail, want.Code, want.Remote, want.Detail)
	}
}

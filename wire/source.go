package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// source is what a flow is read from. Where it can, it waits with empty hands:
// a buffer is borrowed only once there is something to read.
type source struct {
	reader io.Reader
	raw    syscall.RawConn // of a TCP connection; nil for anything else
	grain  grain
	// patience is how long read waits for a TCP connection; 0: for as long as it
	// takes. Its deadline is the source's then.
	patience time.Duration

	// The outcome of try, which raw calls. It is stored here once, since a func
	// made for each read would be an allocation for each read.
	try  func(fd uintptr) bool
	wait bool // try may be called again when there is something to read
	size int
	b    *buffer
	n    int
	err  error
}

// errIdle says that nothing has come for a while, and nothing was lost.
var errIdle = errors.New("wire: nothing to do")

func newSource(r io.Reader) *source {
	s := &source{reader: r}
	s.watch()
	return s
}

// read reads once, at most so many bytes. The buffer is to be given back; it is
// nil if nothing was read. It returns errIdle when its patience has ended.
func (s *source) read(most int) (b *buffer, n int, err error) {
	s.size = s.grain.size(most)
	s.b, s.n, s.err = nil, 0, nil
	switch {
	case s.raw == nil:
		s.b = borrow(s.size)
		s.n, s.err = s.reader.Read(s.b.payload()[:s.size])
	case s.patience == 0:
		s.attempt(true)
	default:
		s.readPatiently()
	}
	s.grain.adapt(s.n, s.size)
	return s.b, s.n, s.err
}

// readPatiently sets a deadline only if it has to wait.
func (s *source) readPatiently() {
	s.attempt(false)
	if s.err != errIdle {
		return
	}
	s.err = nil
	tcp := s.reader.(*net.TCPConn)
	_ = tcp.SetReadDeadline(time.Now().Add(s.patience))
	s.attempt(true)
	_ = tcp.SetReadDeadline(time.Time{})
	if errors.Is(s.err, os.ErrDeadlineExceeded) {
		s.err = errIdle
	}
}

// attempt reads what is there, and waits for it if it may.
func (s *source) attempt(wait bool) {
	s.wait = wait
	if err := s.raw.Read(s.try); err != nil {
		s.err = err // a deadline, or the connection was closed
	}
}

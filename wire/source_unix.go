//go:build unix

package wire

import (
	"io"
	"net"
	"os"
	"syscall"
)

// watch makes the source wait for a TCP connection to become readable, instead of
// waiting in its Read.
func (s *source) watch() {
	if tcp, ok := s.reader.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.tryFD
		}
	}
}

// tryFD reads from a socket that does not block. It reports whether the read is
// over; if not, it is called again when there is something to read.
func (s *source) tryFD(fd uintptr) bool {
	b := borrow(s.size)
	n, err := readFD(fd, b.payload()[:s.size])
	switch {
	case err == syscall.EAGAIN:
		giveBack(b)
		if s.wait {
			return false
		}
		s.err = errIdle
	case err != nil:
		giveBack(b)
		s.err = s.opError(err)
	case n == 0:
		giveBack(b)
		s.err = io.EOF
	default:
		s.b, s.n = b, n
	}
	return true
}

// readFD is read(2), again if a signal came in between.
func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// opError is what the net package would have made of an error.
func (s *source) opError(err error) error {
	conn := s.reader.(*net.TCPConn)
	return &net.OpError{Op: "read", Net: "tcp", Source: conn.LocalAddr(), Addr: conn.RemoteAddr(),
		Err: os.NewSyscallError("read", err)}
}

// lost returns an error if a connection that was read to its end has been reset. It
// may also do so if both ends are closed in good order.
func (s *source) lost() error {
	var err error
	if s.raw != nil {
		_ = s.raw.Control(func(fd uintptr) { _, err = syscall.Getpeername(int(fd)) })
	}
	if err == syscall.ENOTCONN {
		return s.opError(syscall.ECONNRESET)
	}
	return nil
}

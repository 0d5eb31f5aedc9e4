package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Half is a connection whose two directions end separately: a [*Conn], a
// [*net.TCPConn].
type Half interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Outcome is what became of two joined connections.
type Outcome struct {
	FromA, FromB int64 // bytes that were read from a and written to b, and back
	Err          error // nil if both directions ended, each with an EOF of its own
}

// Join copies between a and b until both directions have ended, and closes both.
// An EOF on one side is a half-close of the other and leaves the other direction
// alone. An error on either side is a reset of both: a [*Conn] is aborted with
// the matching code, a TCP connection closed with linger 0. The first error is
// the cause in the Outcome.
func Join(a, b Half) Outcome {
	j := joint{a: a, b: b}
	var out Outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.pump(a, b, &out.FromB)
	}()
	j.pump(b, a, &out.FromA)
	<-done
	out.Err = j.err
	return out
}

// joint is two connections that share one fate.
type joint struct {
	a, b Half

	mu    sync.Mutex
	ended int   // directions that have ended with an EOF
	err   error // the first failure; it has reset both
}

// pump copies one direction and half-closes its end.
func (j *joint) pump(dst, src Half, n *int64) {
	var err error
	*n, err = copyHalf(dst, src)
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		j.fail(err)
		return
	}
	if j.end() {
		return
	}
	// The other direction is still open, and a tunnel can be aborted after End.
	if tunnel, ok := src.(*Conn); ok {
		if err := tunnel.awaitAbort(); err != nil {
			j.fail(err)
		}
	}
}

// copyHalf lets the tunnel do the copying, whichever side it is.
func copyHalf(dst, src Half) (int64, error) {
	if tunnel, ok := dst.(*Conn); ok {
		return tunnel.ReadFrom(src)
	}
	return io.Copy(dst, src)
}

// end counts a direction that has ended. After the second it closes both sides
// and reports true.
func (j *joint) end() bool {
	j.mu.Lock()
	j.ended++
	both := j.ended == 2 && j.err == nil
	j.mu.Unlock()
	if both {
		_ = j.a.Close()
		_ = j.b.Close()
	}
	return both
}

// fail resets both sides, once: a later error is a by-product of the reset
// itself, so only the first is the cause.
func (j *joint) fail(err error) {
	j.mu.Lock()
	first := j.err == nil && j.ended < 2
	if first {
		j.err = err
	}
	j.mu.Unlock()
	if first {
		reset(j.a, err)
		reset(j.b, err)
	}
}

// reset gives a connection up so that its peer sees a reset, not an EOF.
func reset(h Half, cause error) {
	switch c := h.(type) {
	case *Conn:
		code, detail := abortReason(cause)
		_ = c.Abort(code, detail)
	case interface{ SetLinger(sec int) error }:
		_ = c.SetLinger(0)
		_ = h.Close()
	default:
		_ = h.Close()
	}
}

// abortReason chooses what the far end is told about a failure on this side.
// The text of the error stays here: it may name internal addresses.
func abortReason(cause error) (AbortCode, string) {
	var abort *AbortError
	switch {
	case errors.As(cause, &abort) && abort.Code != AbortCut:
		return abort.Code, abort.Detail
	case abort != nil:
		return AbortInternalError, "the connection was cut"
	case errors.Is(cause, syscall.ECONNRESET), errors.Is(cause, syscall.EPIPE):
		return AbortReset, "the connection was reset"
	case errors.Is(cause, os.ErrDeadlineExceeded), errors.Is(cause, syscall.ETIMEDOUT):
		return AbortTimeout, "the connection timed out"
	case errors.Is(cause, net.ErrClosed):
		return AbortCanceled, "the connection was closed"
	}
	return AbortInternalError, "the connection failed"
}

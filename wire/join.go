package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// idleTime is how long a tunnel's TCP connection is read from in vain before it is
// left to the poller.
const idleTime = time.Second

// Half is a connection whose two directions end separately: a [*Conn], a
// [*net.TCPConn].
type Half interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Outcome is what became of a tunnel that was joined to a connection.
type Outcome struct {
	ToTunnel, FromTunnel int64 // bytes that were read from the connection, and written to it
	Err                  error // nil if both directions ended, each with an EOF of its own
}

// Join copies between a tunnel and a connection until both directions have ended,
// closes both, and calls done. It returns when the tunnel has ended, or when nothing
// has come from the connection for a second: then the rest goes on without it.
//
// An EOF on one side is a half-close of the other and leaves the other direction
// alone. An error on either side is a reset of both: a [*Conn] is aborted with
// the matching code, a TCP connection closed with linger 0. The first error is
// the cause in the Outcome.
func (j *Joiner) Join(tunnel *Conn, outside Half, done func(Outcome)) {
	one := &joint{joiner: j, tunnel: tunnel, outside: outside, done: done, running: 1}
	one.source = newSource(outside)
	if one.source.raw != nil && j.poller != nil {
		one.source.patience = idleTime
	}
	if !tunnel.onReadable(one.wake(one.outward)) {
		one.wake(one.outward)()
	}
	one.inward()
}

// joint is a tunnel and a connection that share one fate. Each direction has a
// goroutine while it has something to do: inward, from the connection into the
// tunnel, and outward.
type joint struct {
	joiner  *Joiner
	tunnel  *Conn
	outside Half
	done    func(Outcome)
	source  *source // inward's

	mu         sync.Mutex
	running    int     // directions that have a goroutine
	ended      int     // directions that have ended with an EOF
	halfClosed bool    // outside has been told of the tunnel's End, or is about to be
	over       bool    // both have ended, or there was an error, which has reset both
	watched    *idler  // the poller's; inward's
	out        Outcome // the counts are each its direction's goroutine's
}

// inward copies from the connection to the tunnel, and waits while there is
// nothing.
func (j *joint) inward() {
	for {
		n, err := j.tunnel.readFrom(j.source)
		j.out.ToTunnel += n
		if err == errIdle {
			if j.park(j.watch, j.inward) {
				return
			}
			continue
		}
		if err == nil {
			err = j.endTunnel()
		}
		j.finish(err)
		j.leave()
		return
	}
}

// endTunnel passes the connection's end on. The system reports a reset once: if it was
// outward that learned of it, inward only sees an end, which nobody may take for one.
func (j *joint) endTunnel() error {
	reset := j.source.lost() // before looking at halfClosed: that explains it
	j.mu.Lock()
	halfClosed := j.halfClosed
	j.mu.Unlock()
	if reset != nil && !halfClosed {
		return reset
	}
	return j.tunnel.CloseWrite()
}

// outward copies from the tunnel to the connection. After the tunnel's End it
// looks out for an Abort, which may still come while the other direction is open.
func (j *joint) outward() {
	for {
		n, err := j.tunnel.writePending(j.outside)
		j.out.FromTunnel += n
		switch err {
		case errIdle:
			if j.park(j.tunnel.onReadable, j.outward) {
				return
			}
			continue
		case io.EOF:
			if err = j.endOutside(); err == nil {
				j.finish(nil)
				j.lookOut()
				return
			}
		}
		j.finish(err)
		j.leave()
		return
	}
}

// endOutside passes the tunnel's End on, unless closing the connection is about to.
func (j *joint) endOutside() error {
	j.mu.Lock()
	last := j.ended == 1
	j.halfClosed = true
	j.mu.Unlock()
	if last {
		return nil
	}
	return j.outside.CloseWrite()
}

// lookOut is what is left of outward when it has ended.
func (j *joint) lookOut() {
	for {
		err := j.tunnel.awaitAbort()
		if err == errIdle {
			if j.park(j.tunnel.onReadable, j.lookOut) {
				return
			}
			continue
		}
		if err != nil {
			j.finish(err)
		}
		j.leave()
		return
	}
}

// park ends the calling direction's goroutine until there is something to do for
// run, and reports true. If there is something already, it reports false.
func (j *joint) park(wait func(wake func()) bool, run func()) bool {
	j.leave()
	return wait(j.wake(run)) || !j.enter()
}

// wake returns what starts a direction's goroutine, unless all is over.
func (j *joint) wake(run func()) func() {
	return func() {
		if j.enter() {
			j.joiner.do(run)
		}
	}
}

// watch calls wake once the connection can be read from.
func (j *joint) watch(wake func()) bool {
	idle := j.joiner.poller.idler(j.source.raw, wake)
	j.mu.Lock()
	j.watched = idle
	j.mu.Unlock()
	if !j.joiner.poller.add(idle) {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		j.joiner.poller.remove(idle) // finish may have come too early to do it
	}
	return true
}

// enter counts a direction's goroutine in, if there is still something to do.
func (j *joint) enter() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return false
	}
	j.running++
	return true
}

// leave counts it out. The last one is told to say what became of the tunnel.
func (j *joint) leave() {
	j.mu.Lock()
	j.running--
	last := j.over && j.running == 0
	j.mu.Unlock()
	if last {
		j.done(j.out)
	}
}

// finish notes that a direction has ended, well or with an error. After both, or
// an error, it closes both sides. A later error is a by-product of that, so only
// the first is the cause.
func (j *joint) finish(err error) {
	j.mu.Lock()
	if j.over {
		j.mu.Unlock()
		return
	}
	if err == nil {
		j.ended++
	}
	j.over = err != nil || j.ended == 2
	j.out.Err = err
	over, watched := j.over, j.watched
	j.mu.Unlock()
	switch {
	case !over:
		return
	case err != nil:
		reset(j.tunnel, err)
		reset(j.outside, err)
	default:
		_ = j.tunnel.Close()
		_ = j.outside.Close()
	}
	j.joiner.poller.remove(watched)
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

package wire

import (
	"os"
	"sync"
	"time"
)

// deadline keeps the deadline of one direction of a Conn. The stream below is
// never given the deadline itself, only a call that has to stop is interrupted:
// so whatever the Conn does on its own account (finishing a chunk, an Abort) is
// not bound by the user's deadline.
type deadline struct {
	interrupt func(time.Time) error // the stream's deadline setter; called with mu held

	mu      sync.Mutex
	timer   *time.Timer
	past    bool          // the time has passed, or stop was called
	expired chan struct{} // closed when that is so; nil as long as nobody waits for it
	stopped error         // set once by stop: no call may begin any more
	call    call          // the call on the stream that is under way
	freed   bool          // that call was interrupted; the stream's deadline is in the past
}

// call tells what may interrupt a call on the stream.
type call int

const (
	noCall    call = iota
	userCall       // the deadline, and stop
	innerCall      // stop only: the user's call has returned already
)

func (d *deadline) init(interrupt func(time.Time) error) { d.interrupt = interrupt }

// set changes the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.stopped != nil {
		return
	}
	if d.past {
		d.expired, d.past = nil, false
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expire()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer { // not replaced meanwhile
			d.expire()
		}
	})
	d.timer = timer
}

// expire is called with mu held.
func (d *deadline) expire() {
	if !d.past {
		d.past = true
		if d.expired != nil {
			close(d.expired)
		}
	}
	d.free()
}

// free interrupts the call under way. It is called with mu held.
func (d *deadline) free() {
	if d.freed || d.call == noCall || d.call == innerCall && d.stopped == nil {
		return
	}
	d.freed = true
	_ = d.interrupt(longAgo)
}

// stop interrupts the call under way and lets none begin any more: they return
// err. The first call decides; it reports whether this was it.
func (d *deadline) stop(err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped != nil {
		return false
	}
	d.stopped = err
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.expire()
	return true
}

// err returns why no call may begin now, or nil.
func (d *deadline) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reason()
}

// reason is called with mu held.
func (d *deadline) reason() error {
	if d.stopped != nil {
		return d.stopped
	}
	if d.past {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// done is closed when a call that waits has to give up.
func (d *deadline) done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.expired == nil {
		d.expired = make(chan struct{})
		if d.past {
			close(d.expired)
		}
	}
	return d.expired
}

// begin says that a call on the stream starts, unless it may not.
func (d *deadline) begin(kind call) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind == innerCall && d.stopped == nil {
		d.call = kind
		return nil
	}
	if err := d.reason(); err != nil {
		return err
	}
	d.call = kind
	return nil
}

// end says that the call is over. If it was interrupted, end takes that back
// and returns the reason.
func (d *deadline) end() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.call = noCall
	if !d.freed {
		return nil
	}
	d.freed = false
	_ = d.interrupt(time.Time{})
	return d.reasonOr(os.ErrDeadlineExceeded)
}

// waited returns why a call that waited for done has to give up.
func (d *deadline) waited() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reasonOr(os.ErrDeadlineExceeded)
}

// reasonOr is for calls that were told to stop: the deadline may have been moved
// since, and then they stop all the same. It is called with mu held.
func (d *deadline) reasonOr(err error) error {
	if reason := d.reason(); reason != nil {
		return reason
	}
	return err
}

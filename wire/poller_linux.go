package wire

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller waits for idle TCP connections to become readable. Go's own poller takes
// a goroutine for each, with 4 KiB of stack at least; this one takes one for all,
// which ends with close.
type poller struct {
	epoll *os.File
	raw   syscall.RawConn
	done  chan struct{}

	last atomic.Uint64 // the last idler's id

	mu      sync.Mutex // guards what follows
	waiting map[uint64]*idler
}

// idler is a connection that is waited for.
type idler struct {
	id   uint64
	raw  syscall.RawConn
	wake func()
}

// newPoller returns nil if the system has none to give: then connections wait as
// Go has it.
func newPoller() *poller {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	_ = unix.SetNonblock(fd, true) // so that Go's poller can wait for this one
	p := &poller{epoll: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), waiting: make(map[uint64]*idler)}
	if p.raw, err = p.epoll.SyscallConn(); err != nil {
		_ = p.epoll.Close()
		return nil
	}
	go p.run()
	return p
}

// close ends the poller's goroutine. It is called once.
func (p *poller) close() {
	if p != nil {
		_ = p.epoll.Close()
		<-p.done
	}
}

// idler returns what add and remove take: wake is called once, when the connection
// is readable or has failed.
func (p *poller) idler(raw syscall.RawConn, wake func()) *idler {
	return &idler{p.last.Add(1), raw, wake}
}

// add begins to wait for a connection. It reports false if that can't be done.
func (p *poller) add(one *idler) bool {
	p.mu.Lock()
	p.waiting[one.id] = one
	p.mu.Unlock()
	if p.control(one, unix.EPOLL_CTL_ADD) {
		return true
	}
	p.take(one.id)
	return false
}

// remove forgets a connection, if it is waited for. The system forgets it itself
// when it is closed.
func (p *poller) remove(one *idler) {
	if p != nil && one != nil {
		p.take(one.id)
	}
}

// take returns what is waited for under an id, and nil if that is nothing.
func (p *poller) take(id uint64) *idler {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.waiting[id]
	delete(p.waiting, id)
	return one
}

// control tells the system about a connection. It reports false if that has been
// closed.
func (p *poller) control(one *idler, operation int) bool {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(one.id), Pad: int32(one.id >> 32)}
	done := false
	_ = one.raw.Control(func(fd uintptr) {
		_ = p.raw.Control(func(epoll uintptr) {
			done = unix.EpollCtl(int(epoll), operation, int(fd), &event) == nil
		})
	})
	return done
}

// run is the poller's goroutine.
func (p *poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 128)
	for {
		var n int
		err := p.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return // closed
		}
		for _, event := range events[:n] {
			p.ready(uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32)
		}
	}
}

func (p *poller) ready(id uint64) {
	if one := p.take(id); one != nil {
		p.control(one, unix.EPOLL_CTL_DEL)
		one.wake()
	}
}

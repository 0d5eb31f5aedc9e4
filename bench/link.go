// Package bench measures ferry against baselines on the same machine in the same
// run. docs/performance.md explains the figures.
package bench

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// hiddenQueue is the socket buffer of a Link's own connections: a queue that the
// Link does not see, so it is small.
const hiddenQueue = 16 << 10

// Link is an emulated network link between two places: bytes of all connections
// share its rate, wait in one queue for each direction, and arrive after its
// delay. When the queue is full, senders wait.
type Link struct {
	Delay time.Duration // one way
	Rate  int64         // bits per second each way; 0: unlimited
	Queue int           // bytes that may wait to be sent each way; 0: 64 KiB

	up, down line
}

// line is one direction.
type line struct {
	mu      sync.Mutex // guards what follows
	drained sync.Cond  // waits for room in the queue
	queued  int        // bytes whose turn to be sent has not come
	free    time.Time  // when the line has sent all that it was given
	once    sync.Once
}

// parcel is what was read at once, and when it arrives.
type parcel struct {
	data    []byte
	arrives time.Time
}

// Listen forwards connections to an address over the Link, until ctx ends. It
// returns where it listens.
func (l *Link) Listen(ctx context.Context, to string) (string, error) {
	config := net.ListenConfig{Control: smallBuffers}
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go l.accept(ctx, listener, to)
	return listener.Addr().String(), nil
}

func (l *Link) accept(ctx context.Context, listener net.Listener, to string) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			dialer := net.Dialer{Control: smallBuffers}
			far, err := dialer.DialContext(ctx, "tcp", to)
			if err != nil {
				_ = near.Close()
				return
			}
			l.join(ctx, near, far)
		}()
	}
}

// smallBuffers keeps the kernel from holding a queue of its own.
func smallBuffers(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, hiddenQueue)
	}); cerr != nil {
		return cerr
	}
	return err
}

// join carries both directions until one fails, or ctx ends.
func (l *Link) join(ctx context.Context, near, far net.Conn) {
	stop := context.AfterFunc(ctx, func() {
		_ = near.Close()
		_ = far.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { l.carry(&l.up, far, near) })
	both.Go(func() { l.carry(&l.down, near, far) })
	both.Wait()
	_ = near.Close()
	_ = far.Close()
}

// carry moves one direction of a connection. An end is passed on as an end.
func (l *Link) carry(on *line, dst, src net.Conn) {
	arriving := make(chan parcel, 4096)
	var receiver sync.WaitGroup
	receiver.Go(func() {
		for p := range arriving {
			time.Sleep(time.Until(p.arrives))
			if _, err := dst.Write(p.data); err != nil {
				_ = src.Close()
			}
		}
		if half, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	})
	for {
		b := make([]byte, 4<<10)
		n, err := src.Read(b)
		if n > 0 {
			arriving <- parcel{b[:n], on.send(n, l.Rate, l.queue()).Add(l.Delay)}
		}
		if err != nil {
			break
		}
	}
	close(arriving)
	receiver.Wait()
}

func (l *Link) queue() int {
	if l.Queue == 0 {
		return 64 << 10
	}
	return l.Queue
}

// send puts n bytes into the queue once there is room, and returns when they
// leave it at the other end.
func (l *line) send(n int, rate int64, queue int) time.Time {
	if rate == 0 {
		return time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once.Do(func() { l.drained.L = &l.mu })
	for l.queued > 0 && l.queued+n > queue {
		l.drained.Wait()
	}
	l.queued += n
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(int64(n) * 8 * int64(time.Second) / rate))
	time.AfterFunc(time.Until(l.free), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queued -= n
		l.drained.Broadcast()
	})
	return l.free
}

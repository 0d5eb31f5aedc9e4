package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Link is an emulated network link between two places: bytes of all connections
// share its rate, wait in one queue for each direction, first come, first served,
// and arrive after its delay. When the queue is full, senders wait.
type Link struct {
	Delay time.Duration // one way
	Rate  int64         // bits per second each way; 0: unlimited
	Queue int           // bytes that may wait to be sent each way; 0: 64 KiB

	up, down line
}

// line is one direction.
type line struct {
	once sync.Once
	turn chan struct{} // holds a token while somebody enters the queue; waiters are served in order
	free time.Time     // when the line has sent all that it was given; whose turn it is may use it
}

// packet is the least that is worth a turn on the line: what Ethernet takes.
const packet = 1500

// parcel is what was read at once, and when it arrives.
type parcel struct {
	data    []byte
	arrives time.Time
}

func linkHalf(h *halfCommand) (string, error) {
	l := &Link{Delay: h.Delay, Rate: h.Rate, Queue: h.Queue}
	return l.Listen(context.Background(), h.Server)
}

// flags are what makes a process this link.
func (l *Link) flags() []string {
	return []string{"--delay", l.Delay.String(), "--rate", fmt.Sprint(l.Rate), "--queue", fmt.Sprint(l.Queue)}
}

// trip is the round trip of a byte that meets no others.
func (l *Link) trip() time.Duration { return 2 * l.Delay }

// Listen forwards connections to an address over the Link, until ctx ends. It
// returns where it listens.
func (l *Link) Listen(ctx context.Context, to string) (string, error) {
	config := net.ListenConfig{Control: l.smallBuffer}
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go l.accept(ctx, listener, to)
	return listener.Addr().String(), nil
}

// accept lets the first byte of each connection wait for the round trip that TCP's
// handshake takes: the kernel has made that already, and in no time.
func (l *Link) accept(ctx context.Context, listener net.Listener, to string) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			time.Sleep(l.trip())
			dialer := net.Dialer{Control: l.smallBuffer}
			far, err := dialer.DialContext(ctx, "tcp", to)
			if err != nil {
				_ = near.Close()
				return
			}
			l.join(ctx, near, far)
		}()
	}
}

// smallBuffer keeps the kernel from holding much of a queue of its own, which the
// Link does not see. On a fast link it must be large enough for the time until
// the reader is scheduled.
func (l *Link) smallBuffer(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, l.queue()/4)
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
	for b := make([]byte, l.parcel()); ; {
		n, err := src.Read(b)
		if n > 0 {
			arriving <- parcel{bytes.Clone(b[:n]), on.send(l.lasts(n), l.lasts(l.queue())).Add(l.Delay)}
		}
		if err != nil {
			break
		}
	}
	close(arriving)
	receiver.Wait()
}

// parcel is how much is read at once: about what is sent in a millisecond, so
// that connections take turns, and a fast link is not all work.
func (l *Link) parcel() int {
	if l.Rate == 0 {
		return 64 << 10
	}
	return int(min(max(l.Rate/8/1000, packet), 64<<10))
}

func (l *Link) queue() int {
	if l.Queue == 0 {
		return 64 << 10
	}
	return l.Queue
}

// lasts is how long it takes to send n bytes.
func (l *Link) lasts(n int) time.Duration {
	if l.Rate == 0 {
		return 0
	}
	return time.Duration(int64(n) * 8 * int64(time.Second) / l.Rate)
}

// send puts something that takes a time to send into the queue once there is room,
// and returns when it leaves the line at the other end. The queue is full when it
// takes that long to send what is in it.
func (l *line) send(takes, full time.Duration) time.Time {
	l.once.Do(func() { l.turn = make(chan struct{}, 1) })
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(takes)
	time.Sleep(time.Until(l.free.Add(-full)))
	return l.free
}

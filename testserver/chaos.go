package testserver

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Faults are what Chaos does to connections. The zero value of each is not done.
type Faults struct {
	Drop       time.Duration // how long after its start a connection is reset
	FreezeEach time.Duration // how often nothing gets through for FreezeFor
	FreezeFor  time.Duration
	Latency    time.Duration // what is added to the round trip
	Rate       int64         // bits per second, each way, of a connection
}

// ParseFaults reads a list such as drop=5s,freeze=30s/3s,latency=40ms,rate=20mbit.
// An empty list means none.
func ParseFaults(list string) (f Faults, err error) {
	if list == "" {
		return f, nil
	}
	for _, item := range strings.Split(list, ",") {
		name, value, _ := strings.Cut(item, "=")
		switch name {
		case "drop":
			f.Drop, err = duration(value)
		case "freeze":
			each, long, _ := strings.Cut(value, "/")
			if f.FreezeEach, err = duration(each); err == nil {
				f.FreezeFor, err = duration(long)
			}
		case "latency":
			f.Latency, err = duration(value)
		case "rate":
			f.Rate, err = rate(value)
		default:
			err = fmt.Errorf("it must be drop, freeze, latency or rate")
		}
		if err != nil {
			return Faults{}, fmt.Errorf("bad fault %q: %w", item, err)
		}
	}
	return f, nil
}

func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time such as 5s", s)
	}
	return d, nil
}

// rate reads bits per second: 500kbit, 20mbit, 1gbit.
func rate(s string) (int64, error) {
	number, found := strings.CutSuffix(s, "bit")
	factor := int64(1)
	for unit, f := range map[string]int64{"k": 1e3, "m": 1e6, "g": 1e9} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number, factor = n, f
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || !found || n <= 0 {
		return 0, fmt.Errorf("%q is not a rate such as 20mbit", s)
	}
	return n * factor, nil
}

// Chaos wraps a listener, so that its connections suffer the faults: a path for
// users to watch their own tools survive.
func Chaos(l net.Listener, f Faults) net.Listener {
	if f == (Faults{}) {
		return l
	}
	return chaosListener{l, f, time.Now()}
}

type chaosListener struct {
	net.Listener
	faults Faults
	began  time.Time // freezes strike all connections at once
}

func (l chaosListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	c := &chaos{listener: l, real: conn, near: far}
	go c.run()
	return &chaosConn{Conn: near, real: conn}, nil
}

// chaosConn is what the server sees: one end of a pipe, with the addresses of the
// real connection.
type chaosConn struct {
	net.Conn
	real net.Conn
}

func (c *chaosConn) LocalAddr() net.Addr  { return c.real.LocalAddr() }
func (c *chaosConn) RemoteAddr() net.Addr { return c.real.RemoteAddr() }

// chaos is one connection's path: bytes travel between the real connection and
// the pipe, late and at a rate, unless they are frozen.
type chaos struct {
	listener chaosListener
	real     net.Conn
	near     net.Conn
}

// run carries both directions until one fails, or until the drop.
func (c *chaos) run() {
	if c.listener.faults.Drop > 0 {
		drop := time.AfterFunc(c.listener.faults.Drop, c.cut)
		defer drop.Stop()
	}
	var both sync.WaitGroup
	both.Go(func() { c.carry(c.near, c.real) })
	both.Go(func() { c.carry(c.real, c.near) })
	both.Wait()
}

// cut resets the connection.
func (c *chaos) cut() {
	if tcp, ok := c.real.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.closeBoth()
}

// parcel is some bytes, and when they arrive.
type parcel struct {
	data []byte
	due  time.Time
}

// carry moves one direction. At most 64 parcels are under way; more waits with
// the sender.
func (c *chaos) carry(dst io.Writer, src io.Reader) {
	way := make(chan parcel, 64)
	var receiver sync.WaitGroup
	receiver.Go(func() {
		defer c.closeBoth()
		for p := range way {
			time.Sleep(time.Until(p.due))
			c.awaitThaw()
			if _, err := dst.Write(p.data); err != nil {
				break
			}
		}
		for range way { // free the sender
		}
	})
	free := time.Now() // when the line has sent all it was given
	for {
		b := make([]byte, 16<<10)
		n, err := src.Read(b)
		if n > 0 {
			if now := time.Now(); free.Before(now) {
				free = now
			}
			if rate := c.listener.faults.Rate; rate > 0 {
				free = free.Add(time.Duration(int64(n) * 8 * int64(time.Second) / rate))
			}
			way <- parcel{b[:n], free.Add(c.listener.faults.Latency / 2)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	receiver.Wait()
}

func (c *chaos) closeBoth() {
	_ = c.real.Close()
	_ = c.near.Close()
}

// awaitThaw waits for the end of a freeze.
func (c *chaos) awaitThaw() {
	each, long := c.listener.faults.FreezeEach, c.listener.faults.FreezeFor
	if each == 0 {
		return
	}
	since := time.Since(c.listener.began) % (each + long)
	if since > each {
		time.Sleep(each + long - since)
	}
}

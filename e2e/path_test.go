package e2e

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"ferry/client"
	"ferry/testserver"
)

// path is the network between the client and the endpoint: a forwarder that can
// be cut and frozen, with a delay each way.
type path struct {
	listener net.Listener
	to       string
	delay    time.Duration
	all      sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]struct{}
	frozen chan struct{} // not nil while frozen; closed at the thaw
	closed bool
}

// newPath starts a path to an address; it ends with the test.
func newPath(t *testing.T, to string, delay time.Duration) *path {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &path{listener: l, to: to, delay: delay, conns: make(map[net.Conn]struct{})}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.thaw()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *path) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() {
			far, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = near.Close()
				return
			}
			if p.add(near, far) {
				p.all.Go(func() { p.carry(near, far) })
				p.all.Go(func() { p.carry(far, near) })
			}
		})
	}
}

func (p *path) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
		} else {
			p.conns[c] = struct{}{}
		}
	}
	return !p.closed
}

// parcel is what was read at once, and when it arrives.
type parcel struct {
	data []byte
	due  time.Time
}

// carry moves one direction, and ends both connections when one fails.
func (p *path) carry(dst, src net.Conn) {
	way := make(chan parcel, 1024)
	p.all.Go(func() {
		for one := range way {
			time.Sleep(time.Until(one.due)) // the delay under test
			p.awaitThaw()
			if _, err := dst.Write(one.data); err != nil {
				break
			}
		}
		p.drop(dst, src)
		for range way { // free the reader
		}
	})
	for {
		b := make([]byte, 32<<10)
		n, err := src.Read(b)
		if n > 0 {
			way <- parcel{b[:n], time.Now().Add(p.delay)}
		}
		if err != nil {
			close(way)
			return
		}
	}
}

func (p *path) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
		_ = c.Close()
	}
}

// cut resets whatever is connected, and loses what is under way.
func (p *path) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c.(*net.TCPConn))
		delete(p.conns, c)
	}
}

// freeze makes the path a black hole until thaw.
func (p *path) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = make(chan struct{})
}

func (p *path) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

func (p *path) awaitThaw() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// pairOver starts a pair with a path between its halves.
func pairOver(t *testing.T, delay time.Duration, changes ...func(*testserver.Config, *client.Config)) (*pair, *path) {
	t.Helper()
	var between *path
	p := newPairWith(t, func(endpoint *testserver.Endpoint, c *client.Config) {
		u, err := url.Parse(endpoint.URL)
		if err != nil {
			t.Fatal(err)
		}
		between = newPath(t, u.Host, delay)
		c.URL = "ws://" + between.listener.Addr().String()
	}, changes...)
	return p, between
}

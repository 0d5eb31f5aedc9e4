package wire

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

func testPoller(t *testing.T) *poller {
	t.Helper()
	p := newPoller()
	if p == nil {
		t.Fatal("no poller; want one, this is Linux")
	}
	t.Cleanup(p.close)
	return p
}

// stillWaiting returns for how many connections a poller waits.
func stillWaiting(p *poller) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

func init() { waitingIn = stillWaiting }

// watched is a connection that a poller waits for.
type watched struct {
	*idler
	wakes *atomic.Int32
	woken chan struct{} // gets one at every wake
}

func idle(t *testing.T, p *poller, c *net.TCPConn) watched {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	w := watched{wakes: new(atomic.Int32), woken: make(chan struct{}, 10)}
	w.idler = p.idler(raw, func() {
		w.wakes.Add(1)
		w.woken <- struct{}{}
	})
	return w
}

func waitFor(t *testing.T, p *poller, c *net.TCPConn) watched {
	t.Helper()
	w := idle(t, p, c)
	if !p.add(w.idler) {
		t.Fatal("add of an open connection reported false; want it to be waited for")
	}
	return w
}

// allSeen returns when the poller has seen whatever happened before.
func allSeen(t *testing.T, p *poller) {
	t.Helper()
	a, b := tcpPair(t)
	w := waitFor(t, p, a)
	_, _ = b.Write([]byte("x"))
	<-w.woken
}

func wantNoneWaiting(t *testing.T, p *poller) {
	t.Helper()
	if n := stillWaiting(p); n != 0 {
		t.Errorf("%d connections are still waited for; want none, they would never be freed", n)
	}
}

// happenings are what makes a connection readable.
var happenings = map[string]func(peer *net.TCPConn){
	"data":         func(peer *net.TCPConn) { _, _ = peer.Write([]byte("x")) },
	"a half-close": func(peer *net.TCPConn) { _ = peer.CloseWrite() },
	"a close":      func(peer *net.TCPConn) { _ = peer.Close() },
	"a reset":      sendReset,
}

func TestPollerWakesOnce(t *testing.T) {
	for name, happen := range happenings {
		t.Run(name, func(t *testing.T) {
			p := testPoller(t)
			conn, peer := tcpPair(t)
			w := waitFor(t, p, conn)
			allSeen(t, p)
			if n := w.wakes.Load(); n != 0 {
				t.Errorf("woken %d times before anything happened; want that it waits", n)
			}
			happen(peer)
			<-w.woken
			_, _ = peer.Write([]byte("and more"))
			_ = peer.Close()
			allSeen(t, p)
			if n := w.wakes.Load(); n != 1 {
				t.Errorf("woken %d times; want once, although more happened", n)
			}
			wantNoneWaiting(t, p)
		})
	}
}

// What comes between the last read and add must not be missed.
func TestPollerWakesForWhatWasThereBefore(t *testing.T) {
	for name, happen := range happenings {
		t.Run(name, func(t *testing.T) {
			p := testPoller(t)
			conn, peer := tcpPair(t)
			happen(peer)
			w := waitFor(t, p, conn)
			<-w.woken
			allSeen(t, p)
			if n := w.wakes.Load(); n != 1 {
				t.Errorf("woken %d times; want once", n)
			}
			wantNoneWaiting(t, p)
		})
	}
}

func TestPollerWaitsForTheSameConnectionAgainAndAgain(t *testing.T) {
	p := testPoller(t)
	conn, peer := tcpPair(t)
	for i := range 100 {
		w := waitFor(t, p, conn)
		if i%10 == 0 {
			allSeen(t, p)
			if n := w.wakes.Load(); n != 0 {
				t.Fatalf("woken %d times in round %d, before data came; want that it waits", n, i)
			}
		}
		_, _ = peer.Write([]byte("x"))
		<-w.woken
		_, _ = conn.Read(make([]byte, 1))
	}
	wantNoneWaiting(t, p)
}

func TestPollerDoesNotWakeWhatWasRemoved(t *testing.T) {
	p := testPoller(t)
	conn, peer := tcpPair(t)
	w := waitFor(t, p, conn)
	for range 2 {
		p.remove(w.idler) // the second time it does nothing
	}
	_, _ = peer.Write([]byte("x"))
	allSeen(t, p)
	if n := w.wakes.Load(); n != 0 {
		t.Errorf("woken %d times after remove; want never", n)
	}
	wantNoneWaiting(t, p)
}

func TestPollerRemovesNothing(t *testing.T) {
	p := testPoller(t)
	p.remove(nil)
	var none *poller // where the system has none to give
	none.remove(nil)
	none.close()
	conn, _ := tcpPair(t)
	p.remove(idle(t, p, conn).idler) // was never added
	allSeen(t, p)
	wantNoneWaiting(t, p)
}

func TestPollerWakesManyConnectionsOnceEach(t *testing.T) {
	p := testPoller(t)
	const many = 200
	var all [many]watched
	var peers [many]*net.TCPConn
	for i := range all {
		var conn *net.TCPConn
		conn, peers[i] = tcpPair(t)
		all[i] = waitFor(t, p, conn)
	}
	if n := stillWaiting(p); n != many {
		t.Errorf("%d connections are waited for; want %d", n, many)
	}
	// First the even ones: the odd ones must not be taken for them.
	for first := range 2 {
		var writers sync.WaitGroup
		for i := first; i < many; i += 2 {
			writers.Go(func() { _, _ = peers[i].Write([]byte("x")) })
		}
		writers.Wait()
		for i := first; i < many; i += 2 {
			<-all[i].woken
		}
		allSeen(t, p)
		for i, w := range all {
			want := int32(1)
			if i%2 > first {
				want = 0
			}
			if n := w.wakes.Load(); n != want {
				t.Errorf("connection %d was woken %d times; want %d, only those with data", i, n, want)
			}
		}
	}
	wantNoneWaiting(t, p)
}

func TestPollerIsUsedByManyAtOnce(t *testing.T) {
	p := testPoller(t)
	var all sync.WaitGroup
	for range 20 {
		conn, peer := tcpPair(t)
		all.Go(func() {
			for range 50 {
				w := idle(t, p, conn)
				go func() { _, _ = peer.Write([]byte("x")) }()
				if !p.add(w.idler) {
					t.Errorf("add reported false; want the connection to be waited for again")
					return
				}
				<-w.woken
				_, _ = conn.Read(make([]byte, 1))
			}
		})
	}
	all.Wait()
	wantNoneWaiting(t, p)
}

// The id travels through the system in two halves, which are signed there.
func TestPollerTellsConnectionsApartByLargeIDs(t *testing.T) {
	p := testPoller(t)
	for _, last := range []uint64{1<<31 - 2, 1<<32 - 2, 1<<63 - 2, 1<<33 + 1} {
		p.last.Store(last)
		for range 3 {
			conn, peer := tcpPair(t)
			w := waitFor(t, p, conn)
			_, _ = peer.Write([]byte("x"))
			<-w.woken
		}
	}
	wantNoneWaiting(t, p)
}

func TestPollerCannotAddAClosedConnection(t *testing.T) {
	p := testPoller(t)
	conn, _ := tcpPair(t)
	w := idle(t, p, conn)
	_ = conn.Close()
	if p.add(w.idler) {
		t.Errorf("add of a closed connection reported true; want false, nothing would ever wake it")
	}
	allSeen(t, p)
	if n := w.wakes.Load(); n != 0 {
		t.Errorf("woken %d times; want never, it was not added", n)
	}
	wantNoneWaiting(t, p)
}

// The system may give the number of a closed connection to the next one.
func TestPollerForgetsAConnectionThatIsClosed(t *testing.T) {
	p := testPoller(t)
	var closed []watched
	for range 20 {
		conn, _ := tcpPair(t)
		w := waitFor(t, p, conn)
		_ = conn.Close()
		p.remove(w.idler)
		closed = append(closed, w)
		other, peer := tcpPair(t)
		v := waitFor(t, p, other)
		_, _ = peer.Write([]byte("x"))
		<-v.woken
	}
	for _, w := range closed {
		if n := w.wakes.Load(); n != 0 {
			t.Errorf("a connection that was closed was woken %d times; want never", n)
		}
	}
	wantNoneWaiting(t, p)
}

func TestClosingThePollerEndsItsGoroutine(t *testing.T) {
	const run = "wire.(*poller).run("
	for _, waiting := range []int{0, 1, 10} {
		t.Run(fmt.Sprint(waiting, " waiting"), func(t *testing.T) {
			before := goroutinesIn(run)
			p := newPoller()
			var all []watched
			for range waiting {
				conn, _ := tcpPair(t)
				all = append(all, waitFor(t, p, conn))
			}
			if n := goroutinesIn(run) - before; n > 1 {
				t.Errorf("the poller has %d goroutines; want one for all connections", n)
			}
			p.close()
			soon(t, "the poller's goroutine has ended behind close", func() bool { return goroutinesIn(run) == before })
			for _, w := range all {
				if n := w.wakes.Load(); n != 0 {
					t.Errorf("close woke a connection %d times; want never, nothing came", n)
				}
			}
			conn, _ := tcpPair(t)
			if p.add(idle(t, p, conn).idler) {
				t.Errorf("add after close reported true; want false, nothing would ever wake it")
			}
		})
	}
}

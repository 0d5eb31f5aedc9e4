package e2e

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// held returns the bytes of heap and stacks that are in use.
func held() int64 {
	runtime.GC()
	runtime.GC() // what pools hold goes at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// narrow is the kernel's buffer of those who never read: what it holds is not ferry's.
const narrow = 16 << 10

// atOnce calls f n times, and returns when all calls have.
func atOnce(n int, f func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(f)
	}
	all.Wait()
}

// pinnedAtLast waits until both halves hold no more than they did a second ago, and
// returns how much that is.
func pinnedAtLast(t *testing.T) int64 {
	t.Helper()
	last := held()
	for range 60 {
		time.Sleep(time.Second) // there is no condition for what does not happen any more
		now := held()
		if now <= last+1<<20 {
			return now
		}
		last = now
	}
	t.Fatal("what the halves hold grows on and on")
	return 0
}

// 256 readers at a round trip of 80 ms that stall, some of them after they were fast
// and have got a wide window, pin no more than 256 MiB in both halves together.
func TestStalledReadersPinLittle(t *testing.T) {
	for name, dir := range map[string]struct {
		fast, stalled func(p *pair) net.Conn
	}{
		"of downloads": {
			fast: func(p *pair) net.Conn {
				one := p.connect(target(p.t, flood))
				_, _ = io.CopyN(io.Discard, one, 8<<20)
				return one
			},
			stalled: func(p *pair) net.Conn {
				one := p.connect(target(p.t, flood))
				_ = one.SetReadBuffer(narrow)
				return one
			},
		},
		"of uploads": {
			fast: func(p *pair) net.Conn {
				one := p.connect(target(p.t, func(c *net.TCPConn) {
					_, _ = io.CopyN(io.Discard, c, 8<<20)
					<-p.t.Context().Done()
				}))
				go flood(one.TCPConn)
				return one
			},
			stalled: func(p *pair) net.Conn {
				one := p.connect(target(p.t, func(c *net.TCPConn) {
					_ = c.SetReadBuffer(narrow)
					<-p.t.Context().Done()
				}))
				go flood(one.TCPConn)
				return one
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := pairOver(t, 40*time.Millisecond)
			_ = p.connect(target(t, echo))
			before := held()
			atOnce(16, func() { dir.fast(p) })
			atOnce(240, func() { dir.stalled(p) })
			pinned := pinnedAtLast(t) - before
			t.Logf("256 stalled readers pin %d MiB", pinned>>20)
			if pinned > 256<<20 {
				t.Errorf("256 stalled readers pin %d MiB; want 256 at most", pinned>>20)
			}
			if pinned < 256*(128<<10) {
				t.Errorf("256 stalled readers pin %d MiB; that is so little that this test tests nothing", pinned>>20)
			}
		})
	}
}

// An idle tunnel has no goroutine in either half, and works on.
func TestIdleTunnelsHaveNoGoroutine(t *testing.T) {
	p := newPair(t)
	address := target(t, echo)
	_ = p.connect(address)
	before := runtime.NumGoroutine()
	var tools []*tool
	for range 200 {
		one := p.connect(address)
		_, _ = io.WriteString(one, "x")
		mustRead(t, one, []byte("x"))
		tools = append(tools, one)
	}
	// The target has one for each tunnel; that is the test's own.
	eventually(t, "without goroutines for idle tunnels", func() bool {
		return runtime.NumGoroutine() < before+200+50
	})
	for _, one := range tools {
		_, _ = io.WriteString(one, "y")
		mustRead(t, one, []byte("y"))
		_ = one.CloseWrite()
		mustEnd(t, one)
	}
}
